from fastlb._core.base.types cimport Core, Exchange


cdef void record_step(Core* core, Exchange* x) noexcept nogil
cdef void record_handed(Core* core, Exchange* x) noexcept nogil
cdef void record_http(Core* core, Exchange* x, int reason) noexcept nogil
cdef void note_down(Core* core, Exchange* x) noexcept nogil
cdef void wake_reader(Core* core) noexcept nogil
