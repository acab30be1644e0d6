from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Sticky

cdef void sticky_add(Sticky* sticky, Text token, unsigned int server) noexcept nogil
cdef unsigned int sticky_find(const Sticky* sticky, Text token) noexcept nogil
