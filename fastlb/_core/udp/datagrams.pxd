from fastlb._core.base.types cimport Acceptor, Core, Stream

cdef bint begin_datagrams(Core* core) noexcept nogil
cdef void end_datagrams(Core* core) noexcept nogil
cdef int hear_clients(Core* core, Acceptor* acceptor) noexcept nogil
cdef void hear_and_rest(Core* core, Acceptor* acceptor) noexcept nogil
cdef void look_again(Core* core) noexcept nogil
cdef void hear_server(Core* core, Stream* s) noexcept nogil
cdef void send_answers(Core* core) noexcept nogil
