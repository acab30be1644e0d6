from libc.stdint cimport uint32_t, uint8_t


cdef uint32_t put_trailers(const uint8_t* section, uint32_t size, uint8_t* into) noexcept nogil
