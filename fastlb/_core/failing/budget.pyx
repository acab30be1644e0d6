# Budgets: retries and hedges are a share of the requests of the last seconds. Each engine counts
# its own.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.limits cimport BUDGET_SECONDS
from fastlb._core.base.parts cimport Budget


cdef void _forget(Budget* budget, uint64_t second) noexcept nogil:
    """Make room for a new second, and let go of those that are too long ago."""
    cdef uint32_t place
    cdef uint64_t first = budget.second + 1
    if second >= budget.second + BUDGET_SECONDS:
        first = second + 1 - BUDGET_SECONDS
    while first <= second:
        place = <uint32_t> (first % BUDGET_SECONDS)
        budget.n_requests -= budget.requests[place]
        budget.n_retries -= budget.retries[place]
        budget.requests[place] = budget.retries[place] = 0
        first += 1
    budget.second = second


cdef void budget_count(Budget* budget, uint64_t now_ms) noexcept nogil:
    """One more request."""
    cdef uint64_t second = now_ms // 1000
    if budget.second != second:
        _forget(budget, second)
    budget.requests[second % BUDGET_SECONDS] += 1
    budget.n_requests += 1


cdef bint budget_take(Budget* budget, uint64_t now_ms, uint32_t share,
                      uint32_t reserve) noexcept nogil:
    """Pay for one: `share` of 1000 requests, and `reserve` more, may be."""
    cdef uint64_t second = now_ms // 1000
    if budget.second != second:
        _forget(budget, second)
    if budget.n_retries >= reserve + <uint64_t> budget.n_requests * share // 1000:
        return False
    budget.retries[second % BUDGET_SECONDS] += 1
    budget.n_retries += 1
    return True
