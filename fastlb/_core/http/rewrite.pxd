from libc.stdint cimport uint32_t

from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core, Exchange


cdef int write_request(Core* core, Exchange* x, uint32_t available) noexcept nogil
cdef bint write_response(Core* core, Exchange* x, Writer* w) noexcept nogil
