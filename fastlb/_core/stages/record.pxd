from fastlb._core.base.types cimport Core, Exchange


cdef void record_step(Core* core, Exchange* x) noexcept nogil
