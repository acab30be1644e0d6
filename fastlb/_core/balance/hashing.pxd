from libc.stdint cimport uint32_t

from fastlb._core.base.routing cimport HashKey
from fastlb._core.base.types cimport Core, Exchange, Group

cdef uint32_t session_hash(Core* core, const Exchange* x, const HashKey* key) noexcept nogil
cdef bint take_from_ring(Core* core, Exchange* x, const Group* group, int which,
                         bint* full) noexcept nogil
cdef bint take_by_table(Core* core, Exchange* x, const Group* group, int which,
                        bint* full) noexcept nogil
