# Networks of clients and of proxies, and which addresses are in them.
from libc.stdint cimport uint8_t

from fastlb._core.base.enums cimport EXCHANGE_TRUSTED
from fastlb._core.base.head cimport Text
from fastlb._core.base.networks cimport network_of
from fastlb._core.base.parts cimport Address
from fastlb._core.base.ranges cimport NetworkList
from fastlb._core.base.text cimport equal, text_of
from fastlb._core.base.types cimport Exchange
from fastlb._core.ext.atomic cimport likely
from fastlb._core.ext.linux cimport AF_INET, AF_INET6
from fastlb._core.proto.addresses cimport parse_address


cdef bint is_believed(const NetworkList* proxies, const Address* peer) noexcept nogil:
    """Whether a client is a proxy whose word counts; one of a unix socket is, if any is."""
    if likely(proxies.n == 0):
        return False
    if peer.family != AF_INET and peer.family != AF_INET6:
        return True
    return network_of(proxies, peer) != NULL


cdef bint text_is_in(const NetworkList* networks, Text text) noexcept nogil:
    cdef Address address
    return parse_address(text, &address) and network_of(networks, &address) != NULL


cdef bint client_address(const Exchange* x, Address* address) noexcept nogil:
    """The client's address, as trusted proxies saw it. False: a proxy hides it behind a word."""
    if not x.flags & EXCHANGE_TRUSTED or equal(
            <const uint8_t*> x.client_ip, x.client_ip_size,
            <const uint8_t*> x.peer_ip, x.peer_ip_size):
        address[0] = x.peer             # (it speaks for itself)
        return True
    return parse_address(text_of(<const uint8_t*> x.client_ip, x.client_ip_size), address)
