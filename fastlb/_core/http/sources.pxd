from fastlb._core.base.access cimport Access
from fastlb._core.base.parts cimport Address
from fastlb._core.base.types cimport BindEntry, Core, Exchange

cdef bint is_on_list(Core* core, const BindEntry* bind, const Access* access,
                     const Address* client) noexcept nogil
cdef bint is_too_fast(Core* core, const BindEntry* bind, const Address* client) noexcept nogil
cdef void note_denial(Core* core, const BindEntry* bind, const Address* client) noexcept nogil
cdef bint take_handshake(Core* core, Exchange* x) noexcept nogil
cdef void give_handshake(Exchange* x) noexcept nogil
