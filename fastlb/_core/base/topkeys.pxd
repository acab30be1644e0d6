# The keys that are counted most, in constant space, for one writer and any reader.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlb._core.base.head cimport Text
from fastlb._core.base.rates cimport TopKeys

cdef void top_count(TopKeys* top, uint64_t hash, Text text, bint is_source) noexcept nogil
cdef bint top_copy(TopKeys* top, TopKeys* copy) noexcept nogil
