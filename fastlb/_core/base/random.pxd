# Random numbers for choices and ids; not for secrets.
from libc.stdint cimport uint64_t

from fastlb._core.base.types cimport Core


cdef inline uint64_t random64(Core* core) noexcept nogil:
    """xorshift64* (Vigna, 2016), of this engine."""
    core.random ^= core.random >> 12
    core.random ^= core.random << 25
    core.random ^= core.random >> 27
    return core.random * <uint64_t> 2685821657736338717u


cdef inline uint64_t random_below(Core* core, uint64_t n) noexcept nogil:
    """A number from 0 on, below n, which is at most 2^32."""
    return (random64(core) >> 32) * n >> 32
