from fastlb._core.base.routing cimport Condition
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.proto.protocols cimport Spoken


cdef int sniff_step(Core* core, Exchange* x) noexcept nogil
cdef int sniff_told(Core* core, Exchange* x, Spoken* spoken) noexcept nogil
cdef bint sniff_meets(Core* core, Exchange* x, const Condition* c,
                      const Spoken* spoken) noexcept nogil
