from fastlb._core.base.types cimport Acceptor, Core


cdef void accept_some(Core* core, Acceptor* acceptor) noexcept nogil
cdef void resume_acceptors(Core* core) noexcept nogil
cdef void adopt(Core* core) noexcept nogil
cdef void free_dropped(Core* core) noexcept nogil
