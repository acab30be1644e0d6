from fastlb._core.base.types cimport Core, Exchange


cdef int sniff_step(Core* core, Exchange* x) noexcept nogil
