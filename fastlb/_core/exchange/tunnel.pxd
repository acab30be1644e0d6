from fastlb._core.base.types cimport Core, Exchange


cdef int open_tunnel(Core* core, Exchange* x) noexcept nogil
