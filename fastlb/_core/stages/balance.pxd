from fastlb._core.base.types cimport Core, Exchange


cdef int balance_step(Core* core, Exchange* x) noexcept nogil
cdef bint pick_now(Core* core, Exchange* x) noexcept nogil
