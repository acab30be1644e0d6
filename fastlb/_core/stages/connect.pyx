# Connect to the server that was picked.
# Reads x.attempt.entry; writes x.to_server, and the server's live state: failing, or up again.
# Ends: NEXT (connected), AGAIN (under way), FAIL (REASON_CONNECT_REFUSED, REASON_NO_DESCRIPTOR,
# REASON_NO_MEMORY, REASON_SERVER_HANDSHAKE).
from libc.errno cimport ECONNREFUSED, ECONNRESET, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPIPE
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.balance.load cimport observe_latency
from fastlb._core.base.clock cimport engine_ns
from fastlb._core.base.enums cimport (
    AGAIN, ERROR, FAIL, HANGUP, LAYER_H2, NEXT, READABLE, REASON_CONNECT_REFUSED,
    REASON_NO_DESCRIPTOR, REASON_NO_MEMORY, REASON_SERVER_HANDSHAKE, SERVER_EJECTED,
    SERVER_FAILING, SERVER_UP, STREAM_CAUTIOUS, STREAM_OWN_NODELAY, STREAM_TUNED, TRY_RETRIED,
    TRY_REUSED, WRITABLE,
)
from fastlb._core.base.flow cimport count_write
from fastlb._core.base.head cimport Text
from fastlb._core.base.httpmem cimport take_upstream
from fastlb._core.base.limits cimport FAILING_PAUSE_MS, PROXY_WRITTEN_BYTES_MAX
from fastlb._core.base.net cimport (
    net_close, net_connect, net_error, net_is_quiet, net_local, net_write,
)
from fastlb._core.base.parts cimport Address, Proxied, ServerAddress
from fastlb._core.base.poller cimport poller_add
from fastlb._core.base.proxyfacts cimport proxied_of
from fastlb._core.base.stream cimport close_stream, stream_peek
from fastlb._core.base.text cimport text_of
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.tls cimport (
    tls_expect, tls_handshake, tls_is_resumed, tls_open, tls_server_failure,
)
from fastlb._core.base.tlsfacts cimport secured_stream
from fastlb._core.base.types cimport H2, Core, Exchange, PoolEntry, ServerLive, Stream, Upstream
from fastlb._core.ext.atomic cimport (
    fl_count, fl_exchange32, fl_load32, fl_store32, fl_store64, likely, unlikely,
)
from fastlb._core.ext.linux cimport AF_UNIX
from fastlb._core.failing.outliers cimport server_did_well, server_failed
from fastlb._core.failing.retry cimport repeatable
from fastlb._core.h2.pool cimport add_h2, find_h2, join_h2
from fastlb._core.http.upstream cimport (
    client_of, end_upstream, expires_at, make_room, take_idle, take_kept,
)
from fastlb._core.proto.proxyproto cimport write_proxy_v1, write_proxy_v2
from fastlb._core.tables.live cimport live_notify
from fastlb._core.tables.states cimport live_warm


cdef void connect_failed(Core* core, Exchange* x, int error) noexcept nogil:
    """The server's fault: leave it out for a while. Its first failure wakes the control plane."""
    cdef ServerLive* live = x.attempt.target
    fl_count(&x.attempt.counters.connect_failures, 1)
    fl_count(&core.counters.connect_failures, 1)
    fl_store32(&live.error, error)
    if fl_load32(&live.state) != SERVER_EJECTED:
        fl_store64(&live.retry_at_ms, core.now_ms + FAILING_PAUSE_MS)
        if fl_exchange32(&live.state, SERVER_FAILING) == SERVER_UP:
            live_notify(core.live)
    server_failed(core, x.pool, live)


cdef void connect_succeeded(Core* core, Exchange* x) noexcept nogil:
    if x.http == NULL and x.h2 == NULL:
        server_did_well(core, x.attempt.target)
    elif unlikely(fl_load32(&x.attempt.target.state) == SERVER_FAILING):
        fl_store32(&x.attempt.target.state, SERVER_UP)      # (what it answers is told apart)
        live_warm(x.attempt.target, core.now_ms)
        live_notify(core.live)
    if unlikely(fl_load32(&x.pool.live.down) != 0):
        fl_store32(&x.pool.live.down, 0)
        live_notify(core.live)


cdef int _open(Core* core, const ServerAddress* address, uint32_t size) noexcept nogil:
    """A descriptor that is connecting, or -errno. Where there are no others, a connection that
    waits for its next request gives up its own; then the spare one steps in: a connection gets
    both of its descriptors, or isn't accepted."""
    cdef int fd = net_connect(address, size)
    while unlikely(fd < 0) and make_room(core, fd):
        fd = net_connect(address, size)
    if unlikely(fd == -EMFILE or fd == -ENFILE) and core.spare_fd >= 0:
        net_close(core.spare_fd)
        core.spare_fd = -1
        fd = net_connect(address, size)
    return fd


cdef int _open_either(Core* core, Exchange* x, bint again) noexcept nogil:
    """The same to a server with two addresses: the one that didn't refuse last, or `again` the
    other one, which those that come later begin with."""
    cdef int which = fl_load32(&x.attempt.target.uses_other)
    cdef int fd = -ECONNREFUSED
    if not again:
        fd = _open(core, x.attempt.entry.other, x.attempt.entry.other_size) if which \
            else _open(core, &x.attempt.entry.address, x.attempt.entry.address_size)
    if fd == -ECONNREFUSED:
        which = not which
        fl_store32(&x.attempt.target.uses_other, which)
        fd = _open(core, x.attempt.entry.other, x.attempt.entry.other_size) if which \
            else _open(core, &x.attempt.entry.address, x.attempt.entry.address_size)
        again = True
    x.to_server.second = again
    return fd


cdef inline uint32_t _tls_id(const PoolEntry* pool) noexcept nogil:
    return pool.tls.id if unlikely(pool.tls != NULL) else 0


cdef inline Upstream* _waiting(Core* core, Exchange* x) noexcept nogil:
    cdef Upstream* kept = NULL
    cdef bint introduced = x.pool.proxy_protocol != 0
    if unlikely(introduced or client_of(x).kept != NULL):
        kept = take_kept(core, x, introduced)
    return kept if kept != NULL or introduced else take_idle(core, x.attempt.target)


cdef bint _reuse(Core* core, Exchange* x) noexcept nogil:
    """Take a connection that waits for a request. One that mustn't be repeated gets one that is
    known to be alive: the server may have closed it, and we not have heard of that yet."""
    cdef Upstream* upstream = _waiting(core, x)
    while upstream != NULL:
        if likely(upstream.tls_id == _tls_id(x.pool)) and (
                likely(repeatable(x.http)) or net_is_quiet(upstream.stream.fd)):
            x.attempt.upstream = upstream
            x.to_server = &upstream.stream
            upstream.stream.exchange = x
            x.attempt.flags |= TRY_REUSED
            upstream.keep = False
            fl_count(&x.attempt.counters.reused, 1)
            return True
        upstream.stream.ready |= HANGUP
        upstream.keep = False
        x.attempt.upstream = upstream
        end_upstream(core, x, False)
        upstream = _waiting(core, x)
    return False


cdef bint _add_upstream(Core* core, Exchange* x) noexcept nogil:
    cdef PoolEntry* pool = x.pool
    cdef Upstream* upstream = take_upstream(core)
    if upstream == NULL:
        return False
    upstream.stream.exchange = x
    upstream.target = x.attempt.target
    upstream.tls_id = _tls_id(pool)
    upstream.is_introduced = pool.proxy_protocol != 0
    upstream.idle_max = pool.keys.max_idle_connections
    upstream.idle_timer = pool.keys.idle_connection_timeout_timer
    upstream.requests_max = pool.keys.max_connection_requests
    upstream.expires_ms = expires_at(core, pool)
    x.attempt.upstream = upstream
    x.to_server = &upstream.stream
    return True


cdef int _begin(Core* core, Exchange* x) noexcept nogil:
    cdef PoolEntry* pool = x.pool
    x.attempt.keepalive = pool.keepalive
    if x.http != NULL:
        if not x.attempt.flags & TRY_RETRIED and _reuse(core, x):
            return NEXT
        if not _add_upstream(core, x):
            x.reason = REASON_NO_MEMORY
            return FAIL
    x.attempt.measured_ns = 0
    if pool.is_measured and x.http == NULL and x.h2 == NULL:
        x.attempt.measured_ns = engine_ns(core)
    return _connect(core, x, False)


cdef int _connect(Core* core, Exchange* x, bint again) noexcept nogil:
    """`again`: the first of the server's two addresses has refused."""
    cdef PoolEntry* pool = x.pool
    cdef Stream* server = x.to_server
    cdef int fd
    if likely(x.attempt.entry.other == NULL):
        fd = _open(core, &x.attempt.entry.address, x.attempt.entry.address_size)
    else:
        fd = _open_either(core, x, again)
    if unlikely(fd < 0):
        if fd == -EMFILE or fd == -ENFILE or fd == -ENOBUFS or fd == -ENOMEM:
            x.reason = REASON_NO_DESCRIPTOR
        else:
            connect_failed(core, x, -fd)
            x.reason = REASON_CONNECT_REFUSED
        return FAIL
    fl_count(&core.counters.descriptors, 1)
    server.fd = fd
    server.ready = 0
    server.writes = 0
    server.flags = 0
    if x.attempt.entry.address.family == AF_UNIX:
        server.flags = STREAM_CAUTIOUS | STREAM_TUNED
    elif pool.nodelay:
        server.flags = STREAM_OWN_NODELAY
    elif pool.keepalive.idle_s == 0:
        server.flags = STREAM_TUNED
    if unlikely(poller_add(&core.poller, server) < 0):
        x.reason = REASON_NO_DESCRIPTOR
        return FAIL
    timer_start(core, &x.timer, pool.keys.connect_timeout_timer)
    return AGAIN


cdef bint _has_more(Exchange* x) noexcept nogil:
    """Whether more follows at once that the server is to get, so that it may have one segment."""
    cdef uint8_t byte
    if x.http != NULL or x.pool.tls != NULL or x.input != NULL:
        return True
    return x.client.ready & READABLE and stream_peek(&x.client, &byte, 1) > 0


cdef bint _introduce(Core* core, Exchange* x, Stream* server) noexcept nogil:
    """The PROXY protocol's header, before all else: who the client is, and where it connected to.
    A fresh socket has room for it. False: x.reason."""
    cdef uint8_t[PROXY_WRITTEN_BYTES_MAX] header
    cdef const Proxied* proxied = proxied_of(x)
    cdef const Stream* client = secured_stream(x)
    cdef Address destination
    cdef Text local = text_of(NULL, 0)
    cdef Text tlvs = text_of(NULL, 0)
    cdef bint more = _has_more(x)
    cdef ssize_t n
    cdef uint32_t size
    destination.family = 0
    if proxied != NULL:
        tlvs = proxied.tlvs
        destination = proxied.destination
        if x.peer.family == AF_UNIX:
            local = proxied.local
    if destination.family == 0 and client.fd >= 0:
        net_local(client.fd, &destination)
    if x.pool.proxy_protocol == 1:
        size = write_proxy_v1(header, &x.peer, &destination)
    else:
        size = write_proxy_v2(header, &x.peer, &destination, local, tlvs, False)
    n = net_write(server.fd, header, size, more)
    if unlikely(n != <ssize_t> size):
        connect_failed(core, x, <int> -n if n < 0 else EPIPE)
        x.reason = REASON_CONNECT_REFUSED
        return False
    if not more:
        count_write(x, server)
    return True


cdef int _secure(Core* core, Exchange* x, Stream* server) noexcept nogil:
    """TLS with a server that has accepted, in the time that it has for accepting. NEXT, AGAIN, or
    FAIL (x.reason)."""
    cdef int verdict
    if server.tls == NULL:
        if not tls_open(core, server, x.pool.tls, False):
            x.reason = REASON_NO_MEMORY
            return FAIL
        if not tls_expect(server, <const char*> x.attempt.entry.tls_name.at, x.pool.tls.verifies):
            x.reason = REASON_NO_MEMORY
            return FAIL
    verdict = tls_handshake(server)
    if verdict == NEXT:
        fl_count(&core.counters.server_handshakes, 1)
        if tls_is_resumed(server):
            fl_count(&core.counters.server_resumed, 1)
    elif verdict == FAIL:
        fl_count(&core.counters.server_handshakes_failed, 1)
        connect_failed(core, x, tls_server_failure(server))
        x.reason = REASON_SERVER_HANDSHAKE
    return verdict


cdef int _join(Core* core, Exchange* x) noexcept nogil:
    """Get a stream of a connection of HTTP/2, and wait until it is made. Its own exchange sees to
    that, and has counted it if it failed. Who finds that the server allows fewer goes elsewhere."""
    cdef H2* h2
    cdef bint again = False
    while True:
        if x.to_server.layer != LAYER_H2:
            h2 = find_h2(core, x)
            if h2 == NULL:
                h2 = add_h2(core, x)
            if unlikely(h2 == NULL or not join_h2(core, x, h2)):
                x.reason = REASON_NO_MEMORY
                return FAIL
            if not h2.is_ready and not again:
                timer_start(core, &x.timer, x.pool.keys.connect_timeout_timer)
        h2 = x.to_server.h2.h2
        if unlikely(h2 == NULL):
            x.reason = <uint8_t> x.to_server.h2.why
            return FAIL
        if not h2.is_ready:
            return AGAIN
        if likely(h2.n_streams <= h2.streams_max):
            x.attempt.connect_ns = core.now_ns - x.attempt.picked_ns + 1
            return NEXT
        if h2.streams_max == 0:
            x.reason = REASON_CONNECT_REFUSED
            return FAIL
        end_upstream(core, x, True)
        x.to_server = &x.server
        again = True


cdef int connect_step(Core* core, Exchange* x) noexcept nogil:
    cdef Stream* server = x.to_server
    cdef int error, verdict
    if unlikely(x.pool.speaks_h2) and x.http != NULL:
        return _join(core, x)
    if server.fd < 0:
        return _begin(core, x)
    if server.ready & (ERROR | HANGUP):
        error = net_error(server.fd)
        if unlikely(x.attempt.entry.other != NULL) and error == ECONNREFUSED \
                and not server.second:
            timer_cancel(&x.timer)
            close_stream(core, server, False)
            return _connect(core, x, True)
        # ECONNRESET and EPIPE come after a connect that succeeded: the relay reads what there is,
        # and then meets the reset.
        if error != ECONNRESET and error != EPIPE:
            connect_failed(core, x, error if error else ECONNREFUSED)
            x.reason = REASON_CONNECT_REFUSED
            return FAIL
    if not server.ready & WRITABLE and server.tls == NULL:
        return AGAIN
    if unlikely(x.pool.proxy_protocol) and server.tls == NULL \
            and not _introduce(core, x, server):
        return FAIL
    if unlikely(x.pool.tls != NULL):
        verdict = _secure(core, x, server)
        if verdict != NEXT:
            return verdict
    fl_count(&x.attempt.counters.connections, 1)
    x.attempt.connect_ns = core.now_ns - x.attempt.picked_ns + 1    # (0 is none)
    if likely(x.h2 == NULL):            # (which still has to say what it allows)
        connect_succeeded(core, x)
    if unlikely(x.attempt.measured_ns != 0):    # (of TCP, how long it took to connect is all)
        observe_latency(x.pool, x.attempt.target, core.now_ms,
                        <double> (engine_ns(core) - x.attempt.measured_ns) / 1000)
    return NEXT
