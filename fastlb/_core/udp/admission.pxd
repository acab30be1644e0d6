# Which sources may begin a session, and the places that a session takes.
from libc.stdint cimport int32_t

from fastlb._core.base.parts cimport Address
from fastlb._core.base.sessions cimport SESSION_SERVER, address_key
from fastlb._core.base.types cimport Acceptor, BindEntry, Core


cdef inline int32_t port_mark(const Address* address) noexcept nogil:
    """Return the number that stands for one of our addresses in own_ports; never 0."""
    return <int32_t> (address_key(address, 0) | 1)


cdef inline bint counts_sources(const BindEntry* bind) noexcept nogil:
    """Whether each source of this listener may have so many sessions and no more."""
    return bind.udp.source_max > 0 and bind.udp.kind != SESSION_SERVER


cdef int is_refused(Core* core, Acceptor* acceptor, const Address* peer) noexcept nogil
cdef int take_places(Core* core, Acceptor* acceptor, const Address* peer) noexcept nogil
cdef void give_places(Core* core, Acceptor* acceptor, const Address* peer) noexcept nogil
