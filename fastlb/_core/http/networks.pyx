# Networks of clients and of proxies, and which addresses are in them.
from fastlb._core.base.head cimport Text
from fastlb._core.base.networks cimport network_of
from fastlb._core.base.parts cimport Address
from fastlb._core.base.ranges cimport NetworkList
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
