from fastlb._core.base.types cimport Core, Exchange


cdef bint begin_carrier(Core* core, Exchange* x) noexcept nogil
cdef bint begin_server_carrier(Core* core, Exchange* x) noexcept nogil
cdef int carrier_step(Core* core, Exchange* x) noexcept nogil
