# What clients of some protocols always begin with. Each returns the bytes that tell it, 0 (more is
# wanted), or -1: it is another one.
from libc.stdint cimport uint32_t, uint8_t


cdef int parse_preface(const uint8_t* data, uint32_t size) noexcept nogil
cdef int parse_banner(const uint8_t* data, uint32_t size) noexcept nogil
cdef int parse_startup(const uint8_t* data, uint32_t size) noexcept nogil
cdef int parse_chunk0(const uint8_t* data, uint32_t size) noexcept nogil
