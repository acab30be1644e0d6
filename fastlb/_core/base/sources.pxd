# How many sessions or connections each source has (see base/source). Exact over all engines, so
# behind a lock, taken when they begin and end.
from libc.stdint cimport int32_t, uint32_t, uint64_t

from fastlb._core.base.parts cimport Address

cdef struct Source:
    uint64_t address
    int32_t count               # 0: the place is free

cdef struct Sources:            # a hash table with linear probing
    int32_t lock
    uint32_t mask
    uint32_t n
    uint64_t seed
    Source* places


cdef bint sources_open(Sources* sources, uint64_t seed) noexcept nogil
cdef bint source_take(Sources* sources, const Address* address, int32_t most) noexcept nogil
cdef void source_give(Sources* sources, const Address* address) noexcept nogil
