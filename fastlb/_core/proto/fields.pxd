from libc.stdint cimport uint32_t, uint8_t


cdef int field_kind(const uint8_t* name, uint32_t size) noexcept nogil
cdef bint shadows(const uint8_t* name, uint32_t size) noexcept nogil
