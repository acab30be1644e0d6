from fastlb._core.base.types cimport Core, Exchange


cdef int first_step(Core* core, Exchange* x) noexcept nogil
cdef void pass_on_first(Core* core, Exchange* x) noexcept nogil
