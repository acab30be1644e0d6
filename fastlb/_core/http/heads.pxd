from libc.stdint cimport uint32_t

from fastlb._core.base.types cimport Chunk, Core, Exchange
from fastlb._core.http.body cimport Region


cdef bint switches_protocol(Core* core, Exchange* x) noexcept nogil
cdef bint put_head(Core* core, Exchange* x, uint32_t* size) noexcept nogil
cdef bint place_head(Core* core, Chunk* chunk, Region* out, uint32_t size) noexcept nogil
cdef int pass_interim(Core* core, Exchange* x, uint32_t at) noexcept nogil
cdef int refuse_large(Core* core, Exchange* x, uint32_t size) noexcept nogil
