from libc.stdint cimport uint8_t

from fastlb._core.base.head cimport Text
from fastlb._core.base.text cimport Writer


cdef bint uri_is_plain(Text path) noexcept nogil
cdef int uri_normalise(Text path, bint merge_slashes, uint8_t* into) noexcept nogil
cdef int uri_rewritten(Text path, uint8_t* into) noexcept nogil
cdef void put_escaped(Writer* w, Text text, bint escapes_too) noexcept nogil
cdef int uri_query(Text query, uint8_t* into) noexcept nogil
cdef bint query_find(Text query, Text name, Text* value) noexcept nogil
cdef bint cookie_find(Text cookies, Text name, Text* value) noexcept nogil
