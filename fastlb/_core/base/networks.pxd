# Sets of networks of any size: whether an address is in one of them. A set can be replaced at any
# time: what is read of it is not kept beyond the turn.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from fastlb._core.base.access cimport Access
from fastlb._core.base.address cimport is_mapped
from fastlb._core.base.enums cimport REHEARSES
from fastlb._core.base.parts cimport Address
from fastlb._core.base.ranges cimport NetworkList, NetworkLive, NetworkTable, range_value
from fastlb._core.base.types cimport Core
from fastlb._core.ext.atomic cimport fl_count, fl_load_pointer, likely
from fastlb._core.ext.linux cimport AF_INET, AF_INET6, AF_UNIX, ntohl


cdef inline uint64_t half(const uint8_t* at) noexcept nogil:
    """Eight bytes, the highest first."""
    cdef uint32_t upper, lower
    memcpy(&upper, at, 4)
    memcpy(&lower, at + 4, 4)
    return <uint64_t> ntohl(upper) << 32 | ntohl(lower)


cdef inline uint32_t network_value(const NetworkTable* table, const Address* peer) noexcept nogil:
    """The value that an address has in a table; 0: it is in none of its networks."""
    cdef const uint8_t* v6 = <const uint8_t*> &peer.v6.sin6_addr
    cdef uint32_t v4 = peer.v4.sin_addr.s_addr
    if peer.family == AF_INET6:
        if not is_mapped(v6):
            return range_value(&table.v6, half(v6), half(v6 + 8))
        memcpy(&v4, v6 + 12, 4)
    elif peer.family != AF_INET:
        return 0
    return range_value(&table.v4, <uint64_t> ntohl(v4) << 32, 0)


cdef inline NetworkLive* network_of(const NetworkList* networks,
                                    const Address* peer) noexcept nogil:
    """The first set that an address is in; NULL: none. Clients of unix sockets are in none."""
    cdef NetworkLive* live
    cdef const NetworkTable* table
    cdef uint32_t i
    for i in range(networks.n):
        live = networks.all[i]
        table = <const NetworkTable*> fl_load_pointer(<void**> &live.table)
        if table != NULL and network_value(table, peer):
            return live
        table = <const NetworkTable*> fl_load_pointer(<void**> &live.added)
        if table != NULL and network_value(table, peer):
            return live
    return NULL


cdef inline bint _count_denial(Core* core, NetworkLive* live, bint reports) noexcept nogil:
    """Count a client that a list denies; False if that is only reported."""
    if core.rehearses != REHEARSES:
        if live != NULL and live.counters != NULL:
            fl_count(&live.counters[core.id].reported if reports
                     else &live.counters[core.id].denied, 1)
        if reports:
            fl_count(&core.counters.denials_reported, 1)
    return not reports


cdef inline bint is_denied(Core* core, const Access* access, const Address* peer,
                           const NetworkLive** denying) noexcept nogil:
    """Whether a client is not served, which is counted; `denying` becomes the set that it is in, or
    NULL. A client of a unix socket has no address, so that no list denies it."""
    cdef NetworkLive* live = network_of(&access.deny, peer)
    denying[0] = live
    if live != NULL and _count_denial(core, live, access.deny_reports):
        return True
    denying[0] = NULL
    if likely(access.allow.n == 0) or peer.family == AF_UNIX \
            or network_of(&access.allow, peer) != NULL:
        return False
    return _count_denial(core, NULL, access.allow_reports)
