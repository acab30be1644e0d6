# The PROXY protocol header (version 2) of datagrams, read and written.
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastlb._core.base.batch cimport Batch, batch_bytes, is_gone
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport PROXY_WRITTEN_BYTES_MAX
from fastlb._core.base.net cimport net_local, net_write_parts
from fastlb._core.base.parts cimport Address, ProxyHeader
from fastlb._core.base.proxyfacts cimport make_proxied
from fastlb._core.base.sessions cimport DROP_PROXY
from fastlb._core.base.text cimport text_of
from fastlb._core.base.types cimport Acceptor, Core, Exchange
from fastlb._core.ext.atomic cimport fl_count
from fastlb._core.http.networks cimport is_believed
from fastlb._core.proto.proxyproto cimport PROXY_NONE, parse_proxy, write_proxy_v2
from fastlb._core.udp.drops cimport drop


cdef bint unwrap(Core* core, Acceptor* acceptor, uint32_t slot) noexcept nogil:
    """Take the header off what is in a slot; False: it goes nowhere, which is counted."""
    cdef Batch* incoming = &core.datagrams.incoming
    cdef bint trusted = is_believed(&acceptor.bind.proxy.trusted, &incoming.peers[slot])
    cdef ProxyHeader header
    cdef int used = parse_proxy(batch_bytes(incoming, slot), incoming.sizes[slot], True, &header)
    if used > 0 and trusted and header.version == 2:
        fl_count(&core.counters.proxy_headers, 1)
        incoming.places[slot].iov_base = batch_bytes(incoming, slot) + used
        incoming.sizes[slot] -= <uint32_t> used
        incoming.headers[slot] = <uint32_t> used
        if not header.is_local and header.source.family:
            incoming.is_told[slot] = True
            incoming.clients[slot] = header.source
        return True
    if used == PROXY_NONE and not acceptor.bind.proxy.required:
        return True
    drop(core, acceptor, DROP_PROXY, 1)
    return False


cdef bint keep_told(Core* core, Exchange* x, uint32_t slot) noexcept nogil:
    """What its first datagram's header said, for keys and servers; False: memory is gone."""
    cdef Batch* incoming = &core.datagrams.incoming
    cdef ProxyHeader header
    cdef uint32_t size = incoming.headers[slot]
    if size == 0 or parse_proxy(batch_bytes(incoming, slot) - size, size, True, &header) <= 0:
        return True
    if header.is_local or not (header.source.family or header.tlvs.size):
        return True
    x.proxied = make_proxied(core, &header)
    return x.proxied != NULL


cdef bint introduce_session(Exchange* x, int listener_fd) noexcept nogil:
    """Make the header that its datagrams to the server have; False: memory is gone."""
    cdef uint8_t[PROXY_WRITTEN_BYTES_MAX] header
    cdef Text nothing = text_of(NULL, 0)
    cdef Text tlvs = nothing
    cdef Address destination
    cdef uint32_t size
    free(x.session.header)
    x.session.header = NULL
    x.session.header_size = 0
    if x.pool.proxy_protocol == 0:
        return True
    destination.family = 0
    if x.proxied != NULL:
        tlvs = x.proxied.tlvs
        destination = x.proxied.destination
    if destination.family == 0:
        net_local(listener_fd, &destination)
    size = write_proxy_v2(header, &x.peer, &destination, nothing, tlvs, True)
    x.session.header = <uint8_t*> malloc(size)
    if x.session.header == NULL:
        return False
    memcpy(x.session.header, header, size)
    x.session.header_size = size
    return True


cdef int send_introduced(Core* core, Exchange* x, uint32_t first, uint32_t* lost) noexcept nogil:
    """Each datagram of a session behind its header: 0, or the -errno that says that the server is
    gone."""
    cdef Batch* incoming = &core.datagrams.incoming
    cdef uint32_t slot = first, at, part, size
    cdef long n
    while slot:
        at = 0
        size = incoming.sizes[slot - 1]
        while True:
            part = size - at
            if incoming.segments[slot - 1] and part > incoming.segments[slot - 1]:
                part = incoming.segments[slot - 1]
            n = net_write_parts(x.server.fd, x.session.header, x.session.header_size,
                                batch_bytes(incoming, slot - 1) + at, part)
            if is_gone(n):
                return <int> n
            if n < 0:
                lost[0] += 1
            at += part
            if at >= size:
                break
        slot = incoming.next[slot - 1]
    return 0
