# UDP sessions: how they begin, move to another server, and end. A session is an exchange whose
# client has no socket of its own: what the client sends comes to the listener's, and its answers
# leave by that. Towards its server it has a socket that is connected, so that nobody else is heard.
from libc.errno cimport EMFILE, ENFILE, ENOBUFS, ENOMEM
from libc.stdint cimport uint16_t, uint32_t, uint8_t
from libc.stdlib cimport calloc

from fastlb._core.base.address cimport address_plain
from fastlb._core.base.batch cimport batch_client, batch_count
from fastlb._core.base.enums cimport (
    CONDITION_DOWN, TRY_HOLDS_SERVER, EXCHANGE_HOLDS_SNAPSHOT, REASON_CONNECT_REFUSED, REASON_DONE,
    REASON_NO_DESCRIPTOR, REASON_NO_MEMORY, REASON_TIMEOUT, ROLE_SESSION, SERVER_UP, STAGE_DEAD,
    STAGE_SESSION,
)
from fastlb._core.base.limits cimport SLAB_EXCHANGES, TRIES_MAX
from fastlb._core.base.mem cimport chunk_bytes, give_exchange, give_input, take_exchange
from fastlb._core.base.net cimport (
    address_port, net_connect_datagrams, net_deepen, net_local, net_write_datagram,
    net_write_parts,
)
from fastlb._core.base.parts cimport Address
from fastlb._core.base.poller cimport poller_add_level
from fastlb._core.base.sessions cimport (
    DROP_NO_SERVER, DROP_POLICY, DROP_SESSIONS, DROP_TO_SERVER, DatagramEntry, Datagrams,
    SESSION_ANSWERED, SESSION_APART, SESSION_CLIENT, SESSION_GATHERS, SESSION_QUERY,
    SESSION_SERVER, SESSION_TRIAL, Session, forget_port, same_address, session_heard, session_key,
    session_list, session_unlist, session_wait,
)
from fastlb._core.base.stream cimport close_stream
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport Acceptor, Core, Exchange, PoolEntry, Slab, Snapshot
from fastlb._core.exchange.lifecycle cimport finish, let_server_go, let_snapshot_go
from fastlb._core.ext.atomic cimport fl_add32, fl_count, fl_load32, fl_store32, likely, unlikely
from fastlb._core.failing.outliers cimport server_did_well
from fastlb._core.http.upstream cimport make_room
from fastlb._core.stages.balance cimport pick_now
from fastlb._core.stages.connect cimport connect_failed
from fastlb._core.stages.record cimport note_down
from fastlb._core.tables.live cimport live_notify
from fastlb._core.udp.admission cimport counts_sources, give_places, port_mark, take_places
from fastlb._core.udp.drops cimport drop
from fastlb._core.udp.policy cimport (
    CONSULTED_GO, CONSULTED_NO, CONSULTED_WAIT, consult_session, go_by_policy,
)
from fastlb._core.udp.proxy_header cimport introduce_session, keep_told


# --- its server ---

cdef bint choose_server(Core* core, Exchange* x) noexcept nogil:
    """Pick one of x.pool; False: none can be had, as x.reason says."""
    x.n_tried = 0
    if pick_now(core, x):
        return True
    note_down(core, x)
    return False


cdef int _open(Core* core, Exchange* x) noexcept nogil:
    cdef int fd = net_connect_datagrams(&x.attempt.entry.address, x.attempt.entry.address_size)
    cdef Address local
    if unlikely(fd < 0):
        return fd
    fl_count(&core.counters.descriptors, 1)
    x.server.fd = fd
    x.server.role = ROLE_SESSION
    x.server.ready = 0
    if x.session.kind != SESSION_QUERY:
        net_deepen(fd, x.bind.udp.receive_buffer)
    if poller_add_level(&core.poller, &x.server, False) < 0:
        return -ENOMEM
    net_local(fd, &local)
    x.session.own_port = address_port(&local)
    x.session.own_mark = port_mark(&local)
    fl_store32(&core.live.own_ports[x.session.own_port], x.session.own_mark)
    return fd


cdef bint connect_session(Core* core, Exchange* x) noexcept nogil:
    """To the server that was picked, or one after it that there is a way to; False: x.reason."""
    cdef int fd
    while True:
        fd = _open(core, x)
        if likely(fd >= 0):
            break
        if make_room(core, fd):
            continue
        if fd == -EMFILE or fd == -ENFILE or fd == -ENOBUFS or fd == -ENOMEM:
            x.reason = REASON_NO_DESCRIPTOR
            return False
        connect_failed(core, x, -fd)
        if x.n_tried < TRIES_MAX:
            x.tried[x.n_tried] = <uint16_t> (x.attempt.entry - x.pool.servers)
            x.n_tried += 1
        let_server_go(core, x)
        x.reason = REASON_CONNECT_REFUSED
        if not pick_now(core, x):
            return False
    fl_count(&x.attempt.counters.connections, 1)
    x.books.pool_name = x.pool.live.name
    if unlikely(x.pool.proxy_protocol != 0 or x.session.header != NULL) \
            and not introduce_session(x, (<Acceptor*> x.session.acceptor).stream.fd):
        x.reason = REASON_NO_MEMORY
        return False
    x.session.flags &= <uint8_t> ~SESSION_TRIAL
    if unlikely(fl_load32(&x.attempt.target.state) != SERVER_UP):
        x.session.flags |= SESSION_TRIAL
    let_snapshot_go(core, x)
    return True


cdef void _hold(Core* core, Acceptor* acceptor, Exchange* x) noexcept nogil:
    x.bind = acceptor.bind
    x.bind_id = acceptor.id
    x.pool = acceptor.bind.pool
    x.snapshot = <Snapshot*> core.snapshot
    x.flags |= EXCHANGE_HOLDS_SNAPSHOT
    fl_add32(&x.snapshot.users[core.id], 1)


cdef Exchange* _make(Core* core, Acceptor* acceptor, const Address* peer) noexcept nogil:
    """Without a server yet. NULL: memory is gone."""
    cdef Exchange* x = take_exchange(core)
    cdef Session* session
    if unlikely(x == NULL):
        return NULL
    session = <Session*> calloc(1, sizeof(Session))
    if unlikely(session == NULL):
        x.stage = STAGE_DEAD
        give_exchange(core, x)
        return NULL
    fl_count(&core.counters.sessions, 1)
    fl_count(&core.counters.accepted, 1)
    fl_count(&acceptor.bind.listener.counters[core.id].accepted, 1)
    session.exchange = x
    session.acceptor = acceptor
    acceptor.sessions += 1
    x.session = session
    x.stage = STAGE_SESSION
    x.books.begin_ns = x.attempt.picked_ns = core.now_ns
    x.peer = peer[0]
    address_plain(&x.peer)
    x.listener = acceptor.bind.listener
    x.idle_timer = acceptor.bind.idle_timer
    _hold(core, acceptor, x)
    return x


cdef void _take_over(Exchange* x, const Exchange* chosen) noexcept nogil:
    """A server that was picked before there was a session."""
    x.pool = chosen.pool
    x.attempt.entry = chosen.attempt.entry
    x.attempt.target = chosen.attempt.target
    x.attempt.counters = chosen.attempt.counters
    x.attempt.loaded = chosen.attempt.loaded
    x.books.attempts = chosen.books.attempts
    x.attempt.flags |= chosen.attempt.flags & TRY_HOLDS_SERVER


cdef void _list(Core* core, Acceptor* acceptor, Exchange* x) noexcept nogil:
    """So that it is found by what comes next."""
    cdef Session* session = x.session
    cdef const Address* sender = NULL
    cdef const Address* client = NULL
    cdef Address plain
    if session.kind == SESSION_QUERY:
        return
    session.towards = x.attempt.target if session.kind != SESSION_CLIENT else NULL
    if session.kind != SESSION_SERVER:
        sender = client = &session.sender
        plain = session.sender
        address_plain(&plain)
        if not same_address(&plain, &x.peer):
            client = &x.peer            # (a proxy told it)
    session.key = session_key(core.datagrams, acceptor.id, sender, client, session.towards)
    session_list(core.datagrams, session)


cdef Exchange* begin_session(Core* core, Acceptor* acceptor, uint32_t slot,
                             Exchange* chosen) noexcept nogil:
    """For who sent what is in a slot. `chosen`: NULL, or who has its server already, which isn't
    its any more. NULL: it can't be, and what it sent is counted as dropped."""
    cdef Datagrams* datagrams = core.datagrams
    cdef const Address* client = batch_client(&datagrams.incoming, slot)
    cdef DatagramEntry* udp = acceptor.bind.udp
    cdef uint32_t n = batch_count(&datagrams.incoming, slot)
    cdef Exchange* x
    cdef int said, why = take_places(core, acceptor, client)
    if likely(why < 0):
        x = _make(core, acceptor, client)
        if unlikely(x == NULL):
            give_places(core, acceptor, client)
            why = DROP_SESSIONS
    if unlikely(why >= 0):
        if chosen != NULL:
            let_server_go(core, chosen)
        drop(core, acceptor, why, n)
        return NULL
    if chosen != NULL:
        _take_over(x, chosen)
    if counts_sources(acceptor.bind):
        x.sources = &x.listener.sources
    x.session.kind = udp.kind
    x.session.local = datagrams.incoming.locals[slot]
    x.session.sender = datagrams.incoming.peers[slot]
    if unlikely(datagrams.incoming.headers[slot] != 0) and not keep_told(core, x, slot):
        drop(core, acceptor, DROP_SESSIONS, n)
        x.reason = REASON_NO_MEMORY
        finish(core, x)
        return NULL
    if chosen == NULL and unlikely(acceptor.bind.policy != NULL):
        said = consult_session(core, acceptor, x, slot)
        if said == CONSULTED_WAIT:
            _list(core, acceptor, x)
            return NULL
        if said == CONSULTED_NO:
            drop(core, acceptor, DROP_POLICY, n)
            finish(core, x)
            return NULL
    if not (chosen != NULL or choose_server(core, x)) or not connect_session(core, x):
        drop(core, acceptor, DROP_NO_SERVER, n)
        finish(core, x)
        return NULL
    _list(core, acceptor, x)
    timer_start(core, &x.timer, x.idle_timer)
    await_answer(core, x)
    return x


cdef void await_answer(Core* core, Exchange* x) noexcept nogil:
    """Until there is one, it makes room for newer sessions where there is none."""
    if x.session.kind != SESSION_SERVER:
        session_wait(core.datagrams, &(<Acceptor*> x.session.acceptor).waiting, x.session)


# --- while it lasts ---

cdef PoolEntry* _pool_of(Core* core, const Exchange* x) noexcept nogil:
    """Where its server was found, as the latest snapshot has it: the pool's name lasts, and what is
    known of it may be gone. NULL: it is no more."""
    cdef Snapshot* snapshot = <Snapshot*> core.snapshot
    cdef uint32_t i
    for i in range(snapshot.n_pools):
        if snapshot.pools[i].live.name == x.books.pool_name:
            return &snapshot.pools[i]
    return NULL


cdef bint hold_session(Core* core, Exchange* x) noexcept nogil:
    """Go by the latest snapshot; False where its listener is no more."""
    cdef Acceptor* acceptor = <Acceptor*> x.session.acceptor
    cdef PoolEntry* pool
    if acceptor.is_dropped:
        return False
    # (one that waited for its policy has held an older one)
    let_snapshot_go(core, x)
    _hold(core, acceptor, x)
    pool = _pool_of(core, x)
    if pool != NULL:
        x.pool = pool
    return True


cdef void resume_session(Core* core, Exchange* x) noexcept nogil:
    """Its policy has decided, or its time is over: send the datagram that waited."""
    cdef Acceptor* acceptor = <Acceptor*> x.session.acceptor
    cdef long n
    x.stage = STAGE_SESSION
    if not hold_session(core, x) or go_by_policy(core, x) != CONSULTED_GO:
        drop(core, acceptor, DROP_POLICY, 1)
        finish(core, x)
        return
    if not choose_server(core, x) or not connect_session(core, x):
        drop(core, acceptor, DROP_NO_SERVER, 1)
        finish(core, x)
        return
    if x.session.header != NULL:
        n = net_write_parts(x.server.fd, x.session.header, x.session.header_size,
                            chunk_bytes(x.input), x.input.end)
    else:
        n = net_write_datagram(x.server.fd, chunk_bytes(x.input), x.input.end)
    if n < 0:
        drop(core, acceptor, DROP_TO_SERVER, 1)
    else:
        x.books.bytes_in += x.input.end
        fl_count(&x.attempt.counters.bytes_to_server, x.input.end)
        fl_count(&x.listener.counters[core.id].datagrams_in, 1)
    give_input(core, x)
    timer_start(core, &x.timer, x.idle_timer)
    await_answer(core, x)


cdef void server_is_gone(Core* core, Exchange* x, int error) noexcept nogil:
    """Nobody is there, says the network."""
    if hold_session(core, x):
        connect_failed(core, x, -error)
        let_snapshot_go(core, x)


cdef bint move_session(Core* core, Exchange* x) noexcept nogil:
    """To another server of its pool. False: there is none, and the session has ended."""
    let_server_go(core, x)
    forget_port(core.live.own_ports, x.session)
    close_stream(core, &x.server, False)
    x.bound_to = 0
    x.session.flags &= <uint8_t> ~(SESSION_ANSWERED | SESSION_APART | SESSION_GATHERS)
    if hold_session(core, x) and choose_server(core, x) and connect_session(core, x):
        return True
    finish(core, x)
    return False


cdef bint server_has_left(const Exchange* x) noexcept nogil:
    """Whether its server is known to be down, so that it may move."""
    if fl_load32(&x.attempt.target.conditions) & CONDITION_DOWN:
        return True
    return fl_load32(&x.attempt.target.state) != SERVER_UP and not x.session.flags & SESSION_TRIAL


cdef void server_answered(Core* core, Exchange* x) noexcept nogil:
    """For the first time."""
    cdef PoolEntry* pool = _pool_of(core, x)
    x.session.flags |= SESSION_ANSWERED
    x.session.flags &= <uint8_t> ~SESSION_TRIAL
    session_heard(x.session)
    x.attempt.connect_ns = core.now_ns - x.attempt.picked_ns + 1
    server_did_well(core, x.attempt.target)
    if likely(pool != NULL) and unlikely(fl_load32(&pool.live.down) != 0):
        fl_store32(&pool.live.down, 0)
        live_notify(core.live)


# --- its end ---

cdef void expire_session(Core* core, Exchange* x) noexcept nogil:
    """Nothing was said for as long as it may be."""
    x.reason = REASON_DONE
    if x.session.kind == SESSION_QUERY and not x.session.flags & SESSION_ANSWERED:
        x.reason = REASON_TIMEOUT
    finish(core, x)


cdef void quieten(Core* core, Acceptor* acceptor, int closing_timer) noexcept nogil:
    """No datagrams are taken from its clients any more: its sessions wait for answers that are
    under way, and no longer."""
    cdef Datagrams* datagrams = core.datagrams
    cdef Slab* slab = core.slabs
    cdef Exchange* x
    cdef int i
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            x = &slab.exchanges[i]
            if x.stage == STAGE_SESSION and x.session.acceptor == acceptor:
                session_unlist(datagrams, x.session)
                x.idle_timer = <uint16_t> closing_timer
                timer_start(core, &x.timer, closing_timer)
        slab = slab.next
