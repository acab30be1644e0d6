from fastlb._core.base.types cimport Core, Exchange

cdef bint try_another(Core* core, Exchange* x) noexcept nogil
cdef bint ask_another(Core* core, Exchange* x) noexcept nogil
cdef void ask_elsewhere(Core* core, Exchange* x) noexcept nogil
cdef void connect_again(Core* core, Exchange* x) noexcept nogil
