from fastlb._core.base.types cimport Acceptor, Core, Exchange


cdef int accept_step(Core* core, Acceptor* acceptor, Exchange** accepted) noexcept nogil
cdef void begin_secured(Core* core, Exchange* x) noexcept nogil
cdef void begin(Core* core, Exchange* x) noexcept nogil
