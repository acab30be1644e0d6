from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.types cimport Core, Exchange, ServerLive

cdef enum Pass:
    PASS_BOUNDED = 1        # leave out servers with more than their share of the load, and
    PASS_HEALTHY = 2        # those that failed a moment ago
    PASS_ANY = 3            # nobody else is left: try those too, rather than refuse

cdef enum Chance:
    CHANCE_NO = 0
    CHANCE_YES = 1
    CHANCE_TRIAL = 2        # it failed, and may be tried again by now

cdef bint was_tried(Exchange* x, uint32_t server) noexcept nogil
cdef int chance_of(Core* core, Exchange* x, uint32_t server) noexcept nogil
cdef bint take(Core* core, Exchange* x, uint32_t server, int which, bint* full) noexcept nogil
cdef bint take_in_turn(Core* core, Exchange* x, int which, uint64_t turn, bint* full) noexcept nogil
