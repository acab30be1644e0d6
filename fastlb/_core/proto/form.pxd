from libc.stdint cimport uint8_t

from fastlb._core.base.head cimport Members, Text

cdef int form_members(Text text, Members* members, uint8_t* room) noexcept nogil
