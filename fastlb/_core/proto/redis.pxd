from libc.stdint cimport uint32_t, uint8_t


cdef int parse_command(const uint8_t* data, uint32_t size) noexcept nogil
