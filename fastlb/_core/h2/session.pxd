from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.types cimport H2, Core, Exchange, H2Stream, Stream


cdef H2* h2_take(Core* core, Exchange* x, Stream* socket) noexcept nogil
cdef bint h2_begin(H2* h2) noexcept nogil
cdef void h2_end(Exchange* x, bint reset) noexcept nogil
cdef bint h2_receive(H2* h2, const uint8_t* data, uint32_t size) noexcept nogil
cdef void h2_hear(Core* core, H2* h2) noexcept nogil
cdef void h2_end_early(Core* core, H2* h2) noexcept nogil
cdef void h2_take_back(H2* h2, H2Stream* st) noexcept nogil
cdef void h2_end_stalled(H2* h2) noexcept nogil
cdef void h2_terminate(H2* h2) noexcept nogil
cdef uint32_t h2_gather(H2* h2, uint8_t* into, uint32_t room) noexcept nogil
cdef bint h2_is_over(H2* h2) noexcept nogil
