from fastlb._core.base.head cimport Head, Text


cdef bint find_header(const Head* head, Text name, Text* value) noexcept nogil
cdef bint find_cookie(const Head* head, Text name, Text* value) noexcept nogil
