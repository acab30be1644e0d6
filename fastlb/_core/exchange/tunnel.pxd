from fastlb._core.base.types cimport Core, Exchange


cdef bint open_tunnel(Core* core, Exchange* x) noexcept nogil
