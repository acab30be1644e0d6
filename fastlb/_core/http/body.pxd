from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.enums cimport FAIL
from fastlb._core.base.head cimport Body
from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core, Exchange, Stream

cdef struct Region:             # of the scratch chunk
    uint32_t at
    uint32_t end


cdef inline int fail(Exchange* x, int reason) noexcept nogil:
    x.reason = <uint8_t> reason
    return FAIL


cdef int reframe(Core* core, Body* body, Region* data, Region* out, bint framed,
                 Writer* trailers) noexcept nogil
cdef void end_chunks(Core* core, Region* out) noexcept nogil
cdef uint32_t read_bytes(const Core* core, Exchange* x, const Stream* source) noexcept nogil
