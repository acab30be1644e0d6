# Read a PROXY protocol header, before anything else on a connection.
# Reads the bind, and what the client's socket begins with; writes x.peer and x.proxied.
# Ends: NEXT (the client is known), AGAIN, FAIL (REASON_PROXY_HEADER, REASON_CLIENT_RESET, ...).
from libc.errno cimport EAGAIN
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.enums cimport (
    AGAIN, ERROR, FAIL, NEXT, PEER_SHUT, POLLER_EPOLL, READABLE, REASON_CLIENT_RESET,
    REASON_NO_MEMORY, REASON_PROXY_HEADER, STREAM_CAUTIOUS,
)
from fastlb._core.base.limits cimport PROXY_V2_BYTES_MAX
from fastlb._core.base.net cimport net_hold, net_peek, net_read
from fastlb._core.base.parts cimport ProxyHeader
from fastlb._core.base.proxyfacts cimport make_proxied
from fastlb._core.base.types cimport Core, Exchange, Stream
from fastlb._core.ext.atomic cimport fl_count, unlikely
from fastlb._core.http.networks cimport is_believed
from fastlb._core.proto.proxyproto cimport (
    PROXY_BAD, PROXY_MAYBE, PROXY_MORE, PROXY_NONE, parse_proxy,
)

cdef inline void _want(Core* core, Exchange* x, int size) noexcept nogil:
    """What has been looked at and was left is no news; epoll knows that by itself."""
    if unlikely(core.poller.kind != POLLER_EPOLL):
        net_hold(x.client.fd, size)


cdef inline int _refuse(Exchange* x) noexcept nogil:
    x.reason = REASON_PROXY_HEADER
    return FAIL


cdef int proxied_late(Core* core, Exchange* x) noexcept nogil:
    """No more comes in time, or at all: NEXT if one may do without a header, and none has begun."""
    _want(core, x, 1)
    x.client.ready |= READABLE              # (what could have become one)
    if x.bind.proxy.required or x.opening.header_begun:
        return _refuse(x)
    return NEXT


cdef int _wait(Core* core, Exchange* x, int size) noexcept nogil:
    """For more than the `size` bytes that are here, and stay where they are."""
    if x.client.ready & PEER_SHUT:
        return proxied_late(core, x)
    x.client.ready &= <uint8_t> ~READABLE
    _want(core, x, size + 1)
    return AGAIN


cdef int _believe(Core* core, Exchange* x, uint8_t* room, int size, int there,
                  const ProxyHeader* header) noexcept nogil:
    """Take the header, and nothing behind it, off the socket."""
    if net_read(x.client.fd, room, size) != size:
        x.reason = REASON_CLIENT_RESET
        return FAIL
    if there == size and there < PROXY_V2_BYTES_MAX and not x.client.ready & PEER_SHUT \
            and not x.client.flags & STREAM_CAUTIOUS:
        x.client.ready &= <uint8_t> ~READABLE
    fl_count(&core.counters.proxy_headers, 1)
    if header.is_local:
        return NEXT
    if header.source.family:
        x.peer = header.source
    if header.source.family or header.tlvs.size:
        x.proxied = make_proxied(core, header)
        if unlikely(x.proxied == NULL):
            x.reason = REASON_NO_MEMORY
            return FAIL
    return NEXT


cdef int proxied_step(Core* core, Exchange* x) noexcept nogil:
    cdef Stream* s = &x.client
    cdef bint trusted = is_believed(&x.bind.proxy.trusted, &x.peer)
    cdef uint8_t[PROXY_V2_BYTES_MAX] room
    cdef ProxyHeader header
    cdef ssize_t n
    cdef int used
    if unlikely(s.ready & ERROR):
        x.reason = REASON_CLIENT_RESET
        return FAIL
    if x.bind.proxy.required and not trusted:
        return _refuse(x)
    if not s.ready & READABLE:
        return AGAIN
    n = net_peek(s.fd, room, PROXY_V2_BYTES_MAX)
    if unlikely(n < 0):
        s.ready &= <uint8_t> ~READABLE
        x.reason = REASON_CLIENT_RESET
        return AGAIN if n == -EAGAIN else FAIL
    if n == 0:
        return proxied_late(core, x)        # (the end is met again by whoever reads next)
    used = parse_proxy(room, <uint32_t> n, False, &header)
    if used == PROXY_MAYBE:
        return _wait(core, x, <int> n)
    if used == PROXY_NONE:
        return proxied_late(core, x)
    if not trusted or used == PROXY_BAD:
        return _refuse(x)
    if used == PROXY_MORE:
        x.opening.header_begun = True
        return _wait(core, x, <int> n)
    _want(core, x, 1)
    x.opening.header_begun = False
    return _believe(core, x, room, used, <int> n, &header)
