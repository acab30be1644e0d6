# The pool of a split, by its weights: the index that a share has in the snapshot. `n` is not 0.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.random cimport random_below
from fastlb._core.base.routing cimport Share
from fastlb._core.base.types cimport Core


cdef uint32_t _at(const Share* shares, uint32_t n, uint32_t place) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if place < shares[i].upto:
            return shares[i].pool
    return shares[n - 1].pool


cdef uint32_t share_by_chance(Core* core, const Share* shares, uint32_t n) noexcept nogil:
    return _at(shares, n, <uint32_t> random_below(core, shares[n - 1].upto))


cdef uint32_t share_of_key(const Share* shares, uint32_t n, uint32_t hash) noexcept nogil:
    """So that a key stays. It isn't the hash that pools use: keys of one share would all be alike
    in it."""
    cdef uint32_t place = hash * <uint32_t> 2654435761u
    return _at(shares, n, <uint32_t> (<uint64_t> place * shares[n - 1].upto >> 32))
