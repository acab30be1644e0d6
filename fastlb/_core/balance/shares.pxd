from libc.stdint cimport uint32_t

from fastlb._core.base.routing cimport Share
from fastlb._core.base.types cimport Core


cdef uint32_t share_by_chance(Core* core, const Share* shares, uint32_t n) noexcept nogil
cdef uint32_t share_of_key(const Share* shares, uint32_t n, uint32_t hash) noexcept nogil
