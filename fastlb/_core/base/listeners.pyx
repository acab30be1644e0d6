# The addresses of this engine's UDP listeners, found by port. Every engine has all listeners, so no
# other engine is asked. A listener of all addresses answers from any address of this machine. The
# kernel knows those, and is asked only about a source whose port is that of such a listener.
from libc.string cimport memcmp, memset

from fastlb._core.base.limits cimport LISTENING_BUCKETS
from fastlb._core.base.net cimport address_port, net_close, net_connect_datagrams, net_local
from fastlb._core.base.parts cimport Address, ServerAddress
from fastlb._core.base.sessions cimport Datagrams, same_address
from fastlb._core.base.types cimport Acceptor
from fastlb._core.ext.linux cimport AF_INET, in6_addr, sockaddr_in, sockaddr_in6


cdef inline Acceptor** _bucket(Datagrams* datagrams, const Address* address) noexcept nogil:
    return <Acceptor**> &datagrams.listening[address_port(address) % LISTENING_BUCKETS]


cdef void listening_add(Datagrams* datagrams, Acceptor* acceptor) noexcept nogil:
    cdef Acceptor** first
    net_local(acceptor.stream.fd, &acceptor.local)
    first = _bucket(datagrams, &acceptor.local)
    acceptor.same_port = first[0]
    first[0] = acceptor


cdef void listening_remove(Datagrams* datagrams, Acceptor* acceptor) noexcept nogil:
    cdef Acceptor** place = _bucket(datagrams, &acceptor.local)
    while place[0] != NULL:
        if place[0] == acceptor:
            place[0] = acceptor.same_port
            return
        place = &place[0].same_port


cdef bint _is_any(const Address* address) noexcept nogil:
    cdef in6_addr none
    if address.family == AF_INET:
        return address.v4.sin_addr.s_addr == 0
    memset(&none, 0, sizeof(none))
    return memcmp(&address.v6.sin6_addr, &none, sizeof(none)) == 0


cdef bint _is_local(const Address* address) noexcept nogil:
    """Whether an address is of this machine: what is sent to it then leaves from it. Without a
    descriptor to ask with, it counts as local: a session would have none either."""
    cdef const unsigned char* first = <const unsigned char*> &address.v4.sin_addr
    cdef Address own
    cdef int fd
    if address.family == AF_INET and first[0] == 127:      # (RFC 1122, 3.2.1.3)
        return True
    fd = net_connect_datagrams(
        <const ServerAddress*> address,
        sizeof(sockaddr_in) if address.family == AF_INET else sizeof(sockaddr_in6))
    if fd < 0:
        return True
    net_local(fd, &own)
    net_close(fd)
    if own.family != address.family:
        return False
    if own.family == AF_INET:
        return own.v4.sin_addr.s_addr == address.v4.sin_addr.s_addr
    return memcmp(&own.v6.sin6_addr, &address.v6.sin6_addr, 16) == 0


cdef bint is_listening(const Datagrams* datagrams, const Address* address) noexcept nogil:
    """Whether what comes from an address comes from a listener of this engine."""
    cdef const Acceptor* acceptor = <const Acceptor*> datagrams.listening[
        address_port(address) % LISTENING_BUCKETS]
    cdef bint any = False
    while acceptor != NULL:
        if address_port(&acceptor.local) == address_port(address) \
                and acceptor.local.family == address.family:
            if same_address(&acceptor.local, address):
                return True
            any = any or _is_any(&acceptor.local)
        acceptor = acceptor.same_port
    return any and _is_local(address)
