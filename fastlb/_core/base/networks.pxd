# Sets of networks of any size: whether an address is in one of them.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from fastlb._core.base.address cimport is_mapped
from fastlb._core.base.parts cimport Address
from fastlb._core.base.ranges cimport Ranges, range_value
from fastlb._core.ext.linux cimport AF_INET, AF_INET6, ntohl

cdef struct NetworkTable:
    Ranges v4
    Ranges v6


cdef inline uint64_t _half(const uint8_t* at) noexcept nogil:
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
            return range_value(&table.v6, _half(v6), _half(v6 + 8))
        memcpy(&v4, v6 + 12, 4)
    elif peer.family != AF_INET:
        return 0
    return range_value(&table.v4, <uint64_t> ntohl(v4) << 32, 0)
