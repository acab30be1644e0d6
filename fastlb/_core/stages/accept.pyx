# Take a waiting connection from a listening socket.
# Reads the acceptor's bind; writes a new exchange with its client's socket and address.
# Ends: NEXT (accepted, or not let in: REASON_DENIED, REASON_SOURCE_RATE, REASON_SOURCE_FULL,
# REASON_HANDSHAKES_FULL), AGAIN (nobody waits), END (a gate is full), FAIL (no descriptor or
# memory).
from libc.errno cimport EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM
from libc.stdint cimport int32_t

from fastlb._core.base.access cimport Access
from fastlb._core.base.enums cimport (
    AGAIN, END, EXCHANGE_HOLDS_SNAPSHOT, EXCHANGE_HTTP, FAIL, NEXT, REASON_DENIED,
    REASON_HANDSHAKES_FULL, REASON_SOURCE_FULL, REASON_SOURCE_RATE, ROLE_CLIENT, ROLE_SERVER,
    STAGE_BALANCE, STAGE_DEAD, STAGE_FIRST, STAGE_HANDSHAKE, STAGE_PROXIED, STAGE_REQUEST,
    STAGE_SNIFF, STREAM_CAUTIOUS, STREAM_TUNED, WRITABLE,
)
from fastlb._core.base.gate cimport Gate, gate_give, gate_take, gate_wait
from fastlb._core.base.limits cimport HTTP_OUTPUT_CLASS, HTTP_SCRATCH_CLASS, SNIFF_CLASS
from fastlb._core.base.mem cimport give_exchange, take_chunk, take_exchange
from fastlb._core.base.net cimport net_accept
from fastlb._core.base.sources cimport source_take
from fastlb._core.base.sys cimport spare_open
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport Acceptor, BindEntry, Core, Exchange, Snapshot
from fastlb._core.ext.atomic cimport fl_add32, fl_count, fl_exchange32, fl_load32, likely, unlikely
from fastlb._core.ext.linux cimport AF_INET, AF_INET6, AF_UNIX
from fastlb._core.http.networks cimport is_believed
from fastlb._core.http.sources cimport is_on_list, is_too_fast, take_handshake
from fastlb._core.http.upstream cimport make_room
from fastlb._core.tables.live cimport live_notify, live_wake_engines


cdef bint _take_gate(Gate* gate, int limit) noexcept nogil:
    """Take a place, or leave word that one is wanted. A limit of 0 is none."""
    while not gate_take(gate, limit):
        if gate_wait(gate, limit):
            return False
    return True


cdef void _note_full(Core* core, BindEntry* bind, int32_t* full) noexcept nogil:
    """All places are taken. The first time since the control plane looked, it is told."""
    fl_count(&bind.listener.counters[core.id].full, 1)
    if fl_load32(full) == 0 and fl_exchange32(full, 1) == 0:
        live_notify(core.live)


cdef inline bint _have_scratch(Core* core, int klass) noexcept nogil:
    if unlikely(core.scratch[klass] == NULL):
        core.scratch[klass] = take_chunk(core, klass)
    return core.scratch[klass] != NULL


cdef bint _have_http(Core* core) noexcept nogil:
    if core.http.scratch == NULL:
        core.http.scratch = take_chunk(core, HTTP_SCRATCH_CLASS)
    if core.http.output == NULL:
        core.http.output = take_chunk(core, HTTP_OUTPUT_CLASS)
    return core.http.scratch != NULL and core.http.output != NULL


cdef bint have_scratch(Core* core, BindEntry* bind) noexcept nogil:
    """What exchanges of a bind read into is there."""
    return _have_scratch(core, bind.chunk_class) and _have_scratch(core, bind.bulk_class) \
        and (bind.http == NULL or _have_http(core)) \
        and (likely(bind.sniff == NULL) or _have_scratch(core, SNIFF_CLASS))


cdef void begin_first(Core* core, Exchange* x) noexcept nogil:
    """x.policy decides, once it has seen the first bytes that it wants."""
    x.stage = STAGE_FIRST
    x.opening.all_seen = x.policy.body_max == 0
    if not x.opening.all_seen:
        timer_start(core, &x.timer, x.policy.first_timer)


cdef void begin(Core* core, Exchange* x) noexcept nogil:
    """What comes first on a connection, once it is secured where it is to be."""
    cdef BindEntry* bind = x.bind
    if bind.http != NULL:
        x.stage = STAGE_REQUEST
        timer_start(core, &x.timer, bind.http.header_timer)
    elif unlikely(bind.sniff != NULL):
        x.stage = STAGE_SNIFF
        timer_start(core, &x.timer, bind.sniff.silence_timer)
    elif unlikely(bind.policy != NULL):
        x.policy = bind.policy
        begin_first(core, x)
    else:
        x.stage = STAGE_BALANCE


cdef void belong(Exchange* x, BindEntry* bind) noexcept nogil:
    """Let it be one of a bind's connections."""
    x.pool = bind.pool
    x.listener = bind.listener
    x.bind = bind
    x.chunk_class = bind.chunk_class
    x.bulk_class = bind.bulk_class
    x.idle_timer = bind.idle_timer
    if bind.http != NULL:
        x.flags |= EXCHANGE_HTTP
        x.bind_id = bind.id


cdef bint is_let_in(Core* core, Exchange* x) noexcept nogil:
    """Whether the lists and limits of its listener let the client in, once it is known who that
    is; if they don't, x.reason."""
    cdef const Access* access = x.bind.access
    if likely(access == NULL):
        return True
    if is_on_list(core, x.bind, access, &x.peer):
        x.reason = REASON_DENIED
        return False
    if is_too_fast(core, x.bind, &x.peer):
        x.reason = REASON_SOURCE_RATE
        return False
    if access.source_max and x.peer.family != AF_UNIX:
        if not source_take(&x.listener.sources, &x.peer, access.source_max):
            x.reason = REASON_SOURCE_FULL
            return False
        x.sources = &x.listener.sources
    return True


cdef bint secure_or_begin(Core* core, Exchange* x) noexcept nogil:
    """Go on once the client is let in; False: x.reason."""
    if unlikely(x.bind.tls != NULL):
        if unlikely(x.bind.access != NULL) and not take_handshake(core, x):
            x.reason = REASON_HANDSHAKES_FULL
            return False
        x.stage = STAGE_HANDSHAKE       # (give_handshake goes by it)
        timer_start(core, &x.timer, x.bind.handshake_timer)
    else:
        begin(core, x)
    return True


cdef int accept_step(Core* core, Acceptor* acceptor, Exchange** accepted) noexcept nogil:
    cdef BindEntry* bind = acceptor.bind
    cdef Snapshot* snapshot = <Snapshot*> core.snapshot
    cdef Exchange* x
    cdef int fd
    accepted[0] = NULL
    if unlikely(core.spare_fd < 0):
        core.spare_fd = spare_open()
        if core.spare_fd < 0:
            return AGAIN if make_room(core, -EMFILE) else FAIL
    if not have_scratch(core, bind):
        return FAIL
    if not _take_gate(&core.live.connections, snapshot.max_connections):
        _note_full(core, bind, &core.live.full)
        return END
    if not _take_gate(&bind.listener.connections, bind.max_connections):
        _note_full(core, bind, &bind.listener.full)
        if gate_give(&core.live.connections):
            live_wake_engines(core.live)
        return END
    x = take_exchange(core)
    if unlikely(x == NULL):
        fd = -ENOMEM
    else:
        fd = net_accept(acceptor.stream.fd, &x.peer)
    if fd < 0:
        if gate_give(&core.live.connections) | gate_give(&bind.listener.connections):
            live_wake_engines(core.live)
        if x != NULL:
            x.stage = STAGE_DEAD
            give_exchange(core, x)
        if make_room(core, fd):
            return AGAIN                # (who waits in the queue is told of again)
        if fd == -EMFILE or fd == -ENFILE or fd == -ENOBUFS or fd == -ENOMEM:
            return FAIL
        if fd != -EAGAIN:           # the client left the queue, or a firewall refused it
            fl_count(&core.counters.accept_errors, 1)
        return AGAIN
    fl_count(&core.counters.accepted, 1)
    fl_count(&core.counters.descriptors, 1)
    fl_count(&bind.listener.counters[core.id].accepted, 1)
    x.books.begin_ns = core.now_ns if bind.http == NULL else 0
    x.snapshot = snapshot
    x.flags = EXCHANGE_HOLDS_SNAPSHOT
    fl_add32(&snapshot.users[core.id], 1)
    belong(x, bind)
    x.client.fd = fd
    x.client.role = ROLE_CLIENT
    x.client.flags = STREAM_TUNED   # accepted sockets inherit their options from the listening one
    # No urgent data and no short read that lies with TCP; unix sockets break reads at passed files.
    if x.peer.family != AF_INET and x.peer.family != AF_INET6:
        x.client.flags |= STREAM_CAUTIOUS
    x.client.ready = WRITABLE       # a write is tried before it is waited for
    x.server.role = ROLE_SERVER
    if unlikely(bind.proxy != NULL):
        # (who isn't trusted can't say to be somebody else)
        x.opening.is_let_in = not is_believed(&bind.proxy.trusted, &x.peer)
        if not x.opening.is_let_in or is_let_in(core, x):
            x.stage = STAGE_PROXIED
            timer_start(core, &x.timer, bind.proxy.timer)
    elif likely(is_let_in(core, x)):
        secure_or_begin(core, x)
    accepted[0] = x
    return NEXT
