from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.ranges cimport NetworkList


cdef bint is_believed(const NetworkList* proxies, const Address* peer) noexcept nogil
cdef bint text_is_in(const NetworkList* networks, Text text) noexcept nogil
