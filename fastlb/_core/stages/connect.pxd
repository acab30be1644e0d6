from fastlb._core.base.types cimport Core, Exchange


cdef int connect_step(Core* core, Exchange* x) noexcept nogil
cdef void connect_succeeded(Core* core, Exchange* x) noexcept nogil
cdef void connect_failed(Core* core, Exchange* x, int error) noexcept nogil
