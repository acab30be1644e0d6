from fastlb._core.base.types cimport Core, Exchange, Http

cdef void begin_hedge(Core* core, Http* http) noexcept nogil
cdef Exchange* hear_hedge(Core* core, Exchange* hedge) noexcept nogil
cdef bint take_over(Core* core, Exchange* x) noexcept nogil
