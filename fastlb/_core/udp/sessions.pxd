from libc.stdint cimport uint32_t

from fastlb._core.base.types cimport Acceptor, Core, Exchange

cdef bint choose_server(Core* core, Exchange* x) noexcept nogil
cdef Exchange* begin_session(Core* core, Acceptor* acceptor, uint32_t slot,
                             Exchange* chosen) noexcept nogil
cdef void resume_session(Core* core, Exchange* x) noexcept nogil
cdef bint server_has_left(const Exchange* x) noexcept nogil
cdef bint move_session(Core* core, Exchange* x) noexcept nogil
cdef void server_is_gone(Core* core, Exchange* x, int error) noexcept nogil
cdef void server_answered(Core* core, Exchange* x) noexcept nogil
cdef void expire_session(Core* core, Exchange* x) noexcept nogil
cdef void quieten(Core* core, Acceptor* acceptor, int closing_timer) noexcept nogil
