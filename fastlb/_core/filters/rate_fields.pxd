from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.rates cimport RateState, RateTable
from fastlb._core.base.types cimport Core


cdef uint64_t used_ns(Core* core, const RateState* state, uint32_t i) noexcept nogil
cdef uint64_t units_left(Core* core, const RateState* state, uint32_t i) noexcept nogil
cdef void tell_rates(Core* core, const RateTable* table, const RateState* state) noexcept nogil
cdef void tell_when(Core* core, const RateState* state, uint32_t refused_by) noexcept nogil
