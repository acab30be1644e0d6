from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Field, Head, Text

cdef enum HeadLimits:
    HEAD_INCOMPLETE = 0

cdef bint valid_host(Text host, Text* name) noexcept nogil
cdef int parse_request(Head* head, const uint8_t* data, size_t size, uint32_t fields_max,
                       uint32_t uri_max) noexcept nogil
cdef int parse_response(Head* head, const uint8_t* data, size_t size,
                        bint no_body) noexcept nogil


cdef inline Text field_name(Head* head, Field* field) noexcept nogil:
    cdef Text text
    text.at = head.bytes + field.name_at
    text.size = field.name_size
    return text


cdef inline Text field_value(Head* head, Field* field) noexcept nogil:
    cdef Text text
    text.at = head.bytes + field.value_at
    text.size = field.value_size
    return text
