from fastlb._core.base.types cimport Core, Exchange

cdef bint hold(Core* core, Exchange* x) noexcept nogil
cdef int tarpit_step(Core* core, Exchange* x) noexcept nogil
