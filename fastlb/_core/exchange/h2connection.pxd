from fastlb._core.base.types cimport H2, Core, Exchange


cdef bint begin_carrier(Core* core, Exchange* x) noexcept nogil
cdef bint begin_server_carrier(Core* core, Exchange* x) noexcept nogil
cdef int expire_carrier(Core* core, Exchange* x) noexcept nogil
cdef void look_for_stalled(Core* core, H2* h2) noexcept nogil
cdef int carrier_step(Core* core, Exchange* x) noexcept nogil
