from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Text


cdef int field_kind(const uint8_t* name, uint32_t size) noexcept nogil
cdef bint shadows(const uint8_t* name, uint32_t size) noexcept nogil
cdef bint binds_connection(Text value) noexcept nogil
cdef Text cut(Text* rest, uint8_t mark) noexcept nogil
cdef int weight_of(Text parameters) noexcept nogil
cdef bint accepts_json(Text value) noexcept nogil
