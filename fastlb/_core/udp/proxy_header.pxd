from libc.stdint cimport uint32_t

from fastlb._core.base.types cimport Acceptor, Core, Exchange

cdef bint unwrap(Core* core, Acceptor* acceptor, uint32_t slot) noexcept nogil
cdef bint keep_told(Core* core, Exchange* x, uint32_t slot) noexcept nogil
cdef bint introduce_session(Exchange* x, int listener_fd) noexcept nogil
cdef int send_introduced(Core* core, Exchange* x, uint32_t first, uint32_t* lost) noexcept nogil
