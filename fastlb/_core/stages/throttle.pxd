from fastlb._core.base.types cimport Core, Exchange


cdef bint begin_throttle(Exchange* x) noexcept nogil
cdef int throttle_step(Core* core, Exchange* x) noexcept nogil
