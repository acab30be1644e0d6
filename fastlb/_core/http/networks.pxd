from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.ranges cimport NetworkList
from fastlb._core.base.types cimport Exchange


cdef bint is_believed(const NetworkList* proxies, const Address* peer) noexcept nogil
cdef bint text_is_in(const NetworkList* networks, Text text) noexcept nogil
cdef bint client_address(const Exchange* x, Address* address) noexcept nogil
