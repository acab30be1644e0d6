from fastlb._core.base.types cimport Core, Exchange


cdef int websocket_step(Core* core, Exchange* x) noexcept nogil
cdef void part_websocket(Core* core, Exchange* x) noexcept nogil
