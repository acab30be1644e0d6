from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Text


cdef void websocket_accept(Text key, uint8_t* into) noexcept nogil
cdef void sha1(const uint8_t* data, uint32_t size, uint8_t* digest) noexcept nogil
