# Whether a failed try is made again on another server, within a budget. Retries are a share of the
# requests of the last seconds, so that a pool in trouble isn't asked several times as often.
from libc.stdint cimport uint16_t, uint32_t

from fastlb._core.balance.candidates cimport was_tried
from fastlb._core.base.enums cimport (
    CONDITION_OUT, EXCHANGE_SHADOW, H2_REFUSED, HTTP_WHOLE, LAYER_H2, TRY_RETRIED, TRY_REUSED,
)
from fastlb._core.base.gate cimport gate_give, gate_take
from fastlb._core.base.head cimport (
    METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_PUT, METHOD_TRACE,
)
from fastlb._core.base.limits cimport TRIES_MAX
from fastlb._core.base.routing cimport RETRY_CONNECT, Retry
from fastlb._core.base.types cimport Core, Exchange, Http, PoolEntry, PoolLive, ServerEntry
from fastlb._core.ext.atomic cimport fl_count, fl_load32, likely, unlikely
from fastlb._core.failing.budget cimport budget_count, budget_take
from fastlb._core.failing.outliers cimport has_status


cdef bint is_at_hand(const Http* http) noexcept nogil:
    """Whether all of the request is with its head, so that it can be sent again."""
    return http.flags & HTTP_WHOLE


cdef bint repeatable(const Http* http) noexcept nogil:
    """Whether doing it twice is as doing it once (RFC 9110, 9.2.2), and all of it is at hand."""
    cdef int method = http.method
    if not is_at_hand(http):
        return False
    return (method == METHOD_GET or method == METHOD_HEAD or method == METHOD_OPTIONS
            or method == METHOD_TRACE or method == METHOD_PUT or method == METHOD_DELETE)


cdef bint was_refused(const Exchange* x) noexcept nogil:
    """Whether a server of HTTP/2 has said that it did nothing about the request, or never heard of
    it, and what was sent is at hand: a body that has gone on, or ended, beyond its head isn't."""
    return x.to_server.layer == LAYER_H2 and x.to_server.h2.flags & H2_REFUSED \
        and x.attempt.head != NULL and (is_at_hand(x.http) or not x.http.request.done)


cdef bint is_untouched(const Exchange* x) noexcept nogil:
    """Whether the server that doesn't answer has done nothing about the request, and it may be sent
    once more: it had closed a connection that waited, or of HTTP/2 says so (RFC 9113, 8.7)."""
    cdef const Http* http = x.http
    if x.attempt.flags & TRY_RETRIED:
        return False
    return was_refused(x) or x.attempt.flags & TRY_REUSED and repeatable(http)


cdef void count_request(Core* core, const PoolEntry* pool) noexcept nogil:
    """A request, or connection of tcp, is about to be sent to a pool for the first time."""
    if pool.retry.bounded:
        budget_count(&pool.live.budgets[core.id], core.now_ms)
    if unlikely(pool.hedge.budget != 0):
        budget_count(&pool.live.hedge_budgets[core.id], core.now_ms)


cdef bint _take_place(Exchange* x) noexcept nogil:
    """One of the pool's retries at a time; it is kept while the request lasts."""
    cdef PoolLive* live = x.pool.live
    if x.retrying == live or x.pool.retries_max == 0:
        return True
    end_retrying(x)
    if not gate_take(&live.retries, x.pool.retries_max):
        return False
    x.retrying = live
    return True


cdef void end_retrying(Exchange* x) noexcept nogil:
    if unlikely(x.retrying != NULL):
        gate_give(&x.retrying.retries)
        x.retrying = NULL


cdef bint _afford(Core* core, Exchange* x) noexcept nogil:
    cdef const PoolEntry* pool = x.pool
    if _take_place(x) and (not pool.retry.bounded or budget_take(
            &pool.live.budgets[core.id], core.now_ms, pool.retry.budget, pool.retry.reserve)):
        return True
    fl_count(&core.counters.retries_denied, 1)
    return False


cdef bint has_another(Exchange* x) noexcept nogil:
    """Whether there is a server that may be well and wasn't tried."""
    cdef const ServerEntry* entry
    cdef uint32_t i
    for i in range(x.pool.n_servers):
        entry = &x.pool.servers[i]
        if entry.weight and fl_load32(&entry.live.conditions) & CONDITION_OUT == 0 \
                and not was_tried(x, i):
            return x.n_tried < TRIES_MAX
    return False


cdef bint may_retry(Core* core, Exchange* x, int cause, int status) noexcept nogil:
    """Whether another server may be tried, after `cause` or a status of the answer; it is paid for
    then."""
    cdef const Retry* retry = &x.pool.retry
    note_tried(x)
    if x.http != NULL and x.http.route.retry != NULL:
        retry = x.http.route.retry
    if x.books.attempts >= retry.attempts:
        return False
    if likely(status == 0):
        if not retry.on & cause:
            return False
    elif not has_status(&retry.statuses, status):
        return False
    if cause != RETRY_CONNECT and (
            x.flags & EXCHANGE_SHADOW
            or not (repeatable(x.http) or (retry.non_idempotent and is_at_hand(x.http)))):
        return False
    if not has_another(x) or not _afford(core, x):
        return False
    fl_count(&core.counters.retries, 1)
    return True


cdef void note_tried(Exchange* x) noexcept nogil:
    """The server at hand isn't picked again for this request."""
    cdef uint32_t server = <uint32_t> (x.attempt.entry - x.pool.servers)
    if x.n_tried < TRIES_MAX and not was_tried(x, server):
        x.tried[x.n_tried] = <uint16_t> server
        x.n_tried += 1
