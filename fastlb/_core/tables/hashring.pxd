from libc.stdint cimport uint32_t

from fastlb._core.base.parts cimport Address, RingPoint


cdef uint32_t crc32(const unsigned char* data, size_t size) noexcept nogil
cdef uint32_t crc32_nocase(const unsigned char* data, size_t size) noexcept nogil
cdef uint32_t hash_client(const Address* peer, bint with_port) noexcept nogil
cdef uint32_t ring_find(const RingPoint* ring, uint32_t n, uint32_t hash) noexcept nogil
