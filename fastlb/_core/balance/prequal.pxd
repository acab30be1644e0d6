from fastlb._core.base.types cimport Core, Exchange, Group

cdef bint take_prequal(Core* core, Exchange* x, const Group* group, int which,
                       bint* full) noexcept nogil
