from fastlb._core.base.types cimport Core, Exchange


cdef int upload(Core* core, Exchange* x) noexcept nogil
