from fastlb._core.base.parts cimport Address
from fastlb._core.base.types cimport Exchange


cdef bint client_address(const Exchange* x, Address* address) noexcept nogil
