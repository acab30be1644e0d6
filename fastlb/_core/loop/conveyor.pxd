from fastlb._core.base.types cimport Core, Exchange


cdef void advance(Core* core, Exchange* x) noexcept nogil
cdef void be_late(Core* core, Exchange* x) noexcept nogil
cdef void be_late_as_whole(Core* core, Exchange* x) noexcept nogil
cdef void be_late_as_sender(Core* core, Exchange* x) noexcept nogil
cdef int leave(Core* core, Exchange* x, int how) noexcept nogil
cdef void run_queue(Core* core) noexcept nogil
