from fastlb._core.base.types cimport Core, Exchange

cdef int stay(Core* core, Exchange* x, int how) noexcept nogil
cdef int never(Core* core, Exchange* x) noexcept nogil
cdef int late_idle(Core* core, Exchange* x) noexcept nogil
cdef int step_proxied(Core* core, Exchange* x) noexcept nogil
cdef int late_proxied(Core* core, Exchange* x) noexcept nogil
cdef int step_handshake(Core* core, Exchange* x) noexcept nogil
cdef int late_handshake(Core* core, Exchange* x) noexcept nogil
cdef int step_sniff(Core* core, Exchange* x) noexcept nogil
cdef int late_sniff(Core* core, Exchange* x) noexcept nogil
cdef int step_first(Core* core, Exchange* x) noexcept nogil
cdef int late_first(Core* core, Exchange* x) noexcept nogil
cdef int step_policy(Core* core, Exchange* x) noexcept nogil
cdef int late_policy(Core* core, Exchange* x) noexcept nogil
cdef int leave_tarpit(Core* core, Exchange* x, int how) noexcept nogil
cdef int late_tarpit(Core* core, Exchange* x) noexcept nogil
cdef int step_balance(Core* core, Exchange* x) noexcept nogil
cdef int late_balance(Core* core, Exchange* x) noexcept nogil
cdef int step_connect(Core* core, Exchange* x) noexcept nogil
cdef int late_connect(Core* core, Exchange* x) noexcept nogil
cdef int step_relay(Core* core, Exchange* x) noexcept nogil
cdef int step_throttle(Core* core, Exchange* x) noexcept nogil
cdef int leave_websocket(Core* core, Exchange* x, int how) noexcept nogil
cdef int late_carrier(Core* core, Exchange* x) noexcept nogil
cdef int leave_carrier(Core* core, Exchange* x, int how) noexcept nogil
cdef int late_session(Core* core, Exchange* x) noexcept nogil
