from fastlb._core.base.types cimport Core, Exchange


cdef int download(Core* core, Exchange* x) noexcept nogil
