from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.types cimport Core, Exchange, Group, ServerEntry

cdef enum Chance:
    CHANCE_NO = 0
    CHANCE_YES = 1
    CHANCE_TRIAL = 2        # it failed, and may be tried again by now

cdef bint was_tried(Exchange* x, uint32_t server) noexcept nogil
cdef int chance_of(Core* core, Exchange* x, ServerEntry* entry, int which) noexcept nogil
cdef bint take(Core* core, Exchange* x, const Group* group, uint32_t server, int which,
               bint* full) noexcept nogil
cdef bint take_place(Core* core, Exchange* x, const Group* group, ServerEntry* entry, int which,
                     bint* full) noexcept nogil
cdef bint take_in_turn(Core* core, Exchange* x, const Group* group, int which, uint64_t turn,
                       bint* full) noexcept nogil
