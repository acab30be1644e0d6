from fastlb._core.base.types cimport Core, Exchange

cdef void begin_head(Core* core, Exchange* x) noexcept nogil
cdef int look_at_head(Core* core, Exchange* x) noexcept nogil
cdef void note_sent(Core* core, Exchange* x) noexcept nogil
cdef int look_at_body(Core* core, Exchange* x) noexcept nogil
