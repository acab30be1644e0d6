from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.parts cimport Budget

cdef void budget_count(Budget* budget, uint64_t now_ms) noexcept nogil
cdef bint budget_take(Budget* budget, uint64_t now_ms, uint32_t share,
                      uint32_t reserve) noexcept nogil
