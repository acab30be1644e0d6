from fastlb._core.base.types cimport Core, Exchange, Group

cdef bint take_from_ring(Core* core, Exchange* x, const Group* group, int which,
                         bint* full) noexcept nogil
cdef bint take_by_table(Core* core, Exchange* x, const Group* group, int which,
                        bint* full) noexcept nogil
