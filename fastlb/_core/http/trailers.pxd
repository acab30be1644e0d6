from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core, Exchange, Http


cdef uint32_t put_trailers(const uint8_t* section, uint32_t size, uint8_t* into) noexcept nogil
cdef void end_call(Exchange* x) noexcept nogil
cdef uint8_t* trailers_room(Core* core, Exchange* x, Writer* w) noexcept nogil
cdef bint keep_trailers(Core* core, Exchange* x, const uint8_t* section,
                        uint32_t size) noexcept nogil
cdef bint end_with_trailers(Exchange* x, const uint8_t* section, uint32_t size,
                            uint8_t* room) noexcept nogil
