from fastlb._core.base.enums cimport EXCHANGE_SHADOW, HTTP_OVERRUN, REASON_CLIENT_GONE
from fastlb._core.base.types cimport Core, Exchange, PoolEntry
from fastlb._core.ext.atomic cimport unlikely


cdef inline bint is_overrun(Exchange* x) noexcept nogil:
    """Whether it is a copy that was too slow, or that nobody wants any more; then x.reason."""
    if unlikely(x.flags & EXCHANGE_SHADOW) and x.http.flags & HTTP_OVERRUN:
        x.reason = REASON_CLIENT_GONE
        return True
    return False


cdef Exchange* copy_request(Core* core, Exchange* x, PoolEntry* pool) noexcept nogil
cdef void part_from_mirror(Core* core, Exchange* x, bint is_whole) noexcept nogil
cdef void part_from_hedge(Core* core, Exchange* x) noexcept nogil
