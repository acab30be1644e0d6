from fastlb._core.base.types cimport Core, Exchange

cdef int step_request(Core* core, Exchange* x) noexcept nogil
cdef int late_request(Core* core, Exchange* x) noexcept nogil
cdef int leave_request(Core* core, Exchange* x, int how) noexcept nogil
cdef int step_forward(Core* core, Exchange* x) noexcept nogil
cdef int late_forward(Core* core, Exchange* x) noexcept nogil
cdef int late_pace(Core* core, Exchange* x) noexcept nogil
cdef int late_whole_request(Core* core, Exchange* x) noexcept nogil
cdef int step_answer(Core* core, Exchange* x) noexcept nogil
cdef void begin_answer(Core* core, Exchange* x) noexcept nogil
cdef int late_linger(Core* core, Exchange* x) noexcept nogil
