from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Text
from fastlb._core.base.text cimport Writer


cdef bint uri_is_plain(Text path) noexcept nogil
cdef bint uri_has_double_slash(Text path) noexcept nogil
cdef bint uri_has_parameters(Text path) noexcept nogil
cdef int uri_normalise(Text path, uint8_t* into) noexcept nogil
cdef uint32_t uri_merge_slashes(Text path, uint8_t* into) noexcept nogil
cdef Text uri_rest(Text path, uint32_t segments) noexcept nogil
cdef int uri_rewritten(Text path, uint8_t* into) noexcept nogil
cdef void put_escaped(Writer* w, Text text, bint escapes_too) noexcept nogil
cdef int uri_query(Text query, uint8_t* into) noexcept nogil
cdef Text query_decoded(Text text, uint8_t* room) noexcept nogil
cdef bint query_next(Text* rest, Text* name, Text* value) noexcept nogil
cdef bint cookie_next(Text* rest, Text* name, Text* value) noexcept nogil
cdef bint query_find(Text query, Text name, Text* value) noexcept nogil
cdef bint cookie_find(Text cookies, Text name, Text* value) noexcept nogil
