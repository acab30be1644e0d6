from fastlb._core.base.types cimport Core, Exchange


cdef int linger_step(Core* core, Exchange* x) noexcept nogil
