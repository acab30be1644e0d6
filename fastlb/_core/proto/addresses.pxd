from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Address


cdef bint parse_address(Text text, Address* into) noexcept nogil
