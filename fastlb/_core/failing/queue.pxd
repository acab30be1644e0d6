from fastlb._core.base.types cimport Core, Exchange, PoolLive

cdef bint may_wait(Exchange* x) noexcept nogil
cdef void wait_for_place(Core* core, Exchange* x) noexcept nogil
cdef void stop_waiting(Exchange* x) noexcept nogil
cdef bint is_next(const Exchange* x) noexcept nogil
cdef void wake_pending(Core* core, PoolLive* live) noexcept nogil
cdef void wake_own_pending(Core* core) noexcept nogil
