from fastlb._core.base.types cimport Core, Exchange


cdef bint hand_over(Core* core, Exchange* x) noexcept nogil
