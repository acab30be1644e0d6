from fastlb._core.base.types cimport Core, Exchange


cdef void advance(Core* core, Exchange* x) noexcept nogil
cdef void run_queue(Core* core) noexcept nogil
cdef void hear_answers(Core* core) noexcept nogil
cdef void expire(Core* core) noexcept nogil
