# Networks of clients and of proxies, and which addresses are in them.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcmp

from fastlb._core.base.address cimport is_mapped
from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.routing cimport HttpEntry, Network
from fastlb._core.ext.atomic cimport likely
from fastlb._core.ext.linux cimport AF_INET, AF_INET6
from fastlb._core.proto.addresses cimport parse_address


cdef bint _in_network(const Network* network, const uint8_t* address) noexcept nogil:
    cdef uint32_t whole = network.bits >> 3, rest = network.bits & 7
    if memcmp(network.address, address, whole) != 0:
        return False
    return rest == 0 or (network.address[whole] ^ address[whole]) >> (8 - rest) == 0


cdef bint _is_in(const Network* networks, uint32_t n, uint8_t family,
                 const uint8_t* address) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if networks[i].family == family and _in_network(&networks[i], address):
            return True
    return False


cdef bint is_in_networks(const Network* networks, uint32_t n, const Address* peer) noexcept nogil:
    """Whether a client is a proxy whose word counts; one of a unix socket is, if any is."""
    cdef const uint8_t* address
    if likely(n == 0):
        return False
    if peer.family == AF_INET:
        return _is_in(networks, n, 4, <const uint8_t*> &peer.v4.sin_addr)
    if peer.family == AF_INET6:
        address = <const uint8_t*> &peer.v6.sin6_addr
        if is_mapped(address):          # (of a datagram's sender)
            return _is_in(networks, n, 4, address + 12)
        return _is_in(networks, n, 6, address)
    return True


cdef bint is_trusted(HttpEntry* entry, const Address* peer) noexcept nogil:
    """Whether forwarded headers of this peer are believed."""
    return is_in_networks(entry.trusted, entry.n_trusted, peer)


cdef bint text_is_in(const Network* networks, uint32_t n, Text text) noexcept nogil:
    cdef Address address
    return parse_address(text, &address) and is_in_networks(networks, n, &address)
