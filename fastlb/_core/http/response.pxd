from libc.stdint cimport uint32_t

from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.http.body cimport Region


cdef bint save_partial(Core* core, Exchange* x, Region* data) noexcept nogil
cdef int read_head(Core* core, Exchange* x, Region* data, uint32_t* head_size) noexcept nogil
