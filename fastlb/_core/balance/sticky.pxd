from fastlb._core.base.types cimport Core, Exchange

cdef bint take_bound(Core* core, Exchange* x, bint* full) noexcept nogil
