# Where a client comes from, as limits count it: one IPv4 address, or one /64 of IPv6, the least
# that one site gets (RFC 6177).
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from fastlb._core.base.address cimport is_mapped
from fastlb._core.base.parts cimport Address
from fastlb._core.ext.linux cimport AF_INET, AF_INET6


cdef inline uint64_t source_of(const Address* address) noexcept nogil:
    """A number for it; an IPv4 address that is written as IPv6 is the former. All clients of unix
    sockets are one source."""
    cdef const uint8_t* v6 = <const uint8_t*> &address.v6.sin6_addr
    cdef uint64_t prefix
    cdef uint32_t v4 = address.v4.sin_addr.s_addr
    if address.family == AF_INET6:
        if not is_mapped(v6):
            memcpy(&prefix, v6, 8)
            return prefix
        memcpy(&v4, v6 + 12, 4)
    elif address.family != AF_INET:
        return 0
    return <uint64_t> 0xFFFF << 32 | v4             # (as ::ffff:0:0/96 has it)
