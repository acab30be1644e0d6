from fastlb._core.base.types cimport Core, Exchange

cdef int proxied_step(Core* core, Exchange* x) noexcept nogil
cdef int proxied_late(Core* core, Exchange* x) noexcept nogil
