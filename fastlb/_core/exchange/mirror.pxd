from fastlb._core.base.types cimport Core, Exchange

cdef void begin_mirror(Core* core, Exchange* x) noexcept nogil
