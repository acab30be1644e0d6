from fastlb._core.base.types cimport Core, Exchange


cdef int relay_step(Core* core, Exchange* x) noexcept nogil
