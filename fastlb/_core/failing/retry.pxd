from fastlb._core.base.types cimport Core, Exchange, Http, PoolEntry

cdef bint is_at_hand(const Http* http) noexcept nogil
cdef bint was_refused(const Exchange* x) noexcept nogil
cdef bint is_untouched(const Exchange* x) noexcept nogil
cdef bint repeatable(const Http* http) noexcept nogil
cdef void count_request(Core* core, const PoolEntry* pool) noexcept nogil
cdef void end_retrying(Exchange* x) noexcept nogil
cdef bint may_retry(Core* core, Exchange* x, int cause, int status) noexcept nogil
cdef bint has_another(Exchange* x) noexcept nogil
cdef void note_tried(Exchange* x) noexcept nogil
