from libc.stdint cimport uint32_t

from fastlb._core.base.types cimport BindEntry, Core, Exchange

cdef void let_server_go(Core* core, Exchange* x) noexcept nogil
cdef void let_snapshot_go(Core* core, Exchange* x) noexcept nogil
cdef BindEntry* find_bind(Core* core, uint32_t id) noexcept nogil
cdef bint hold_snapshot(Core* core, Exchange* x) noexcept nogil
cdef void end_request(Core* core, Exchange* x, bint reset) noexcept nogil
cdef void finish(Core* core, Exchange* x) noexcept nogil
cdef bint may_answer(Core* core, Exchange* x) noexcept nogil
cdef void leave_source(Exchange* x) noexcept nogil
cdef void drop_server(Core* core, Exchange* x) noexcept nogil
cdef void give_back(Core* core) noexcept nogil
cdef void leave_server(Core* core, Exchange* x, int outcome) noexcept nogil
