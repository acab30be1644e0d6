# The acceptors of one engine, and the snapshot that they accept for.
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport calloc, free

from fastlb._core.base.enums cimport (
    AGAIN, END, NEXT, REASON_NO_DESCRIPTOR, ROLE_ACCEPTOR, ROLE_DATAGRAMS,
)
from fastlb._core.base.limits cimport ACCEPTS_MAX, EVENTS_MAX, HEARD_MAX, RESUME_MS
from fastlb._core.base.listeners cimport listening_add, listening_remove
from fastlb._core.base.net cimport net_close, net_copy
from fastlb._core.base.poller cimport poller_add, poller_add_level, poller_remove
from fastlb._core.base.sys cimport spare_open
from fastlb._core.base.types cimport Acceptor, BindEntry, Core, Exchange, Snapshot
from fastlb._core.exchange.lifecycle cimport finish
from fastlb._core.ext.atomic cimport (
    fl_add32, fl_load32, fl_load_pointer, fl_store_pointer, unlikely,
)
from fastlb._core.http.upstream cimport drop_all_idle
from fastlb._core.loop.conveyor cimport advance
from fastlb._core.loop.sweep cimport close_idle_clients, keep_for_crossing
from fastlb._core.policy.kept cimport drop_kept
from fastlb._core.stages.accept cimport accept_step
from fastlb._core.stages.tarpit cimport hold
from fastlb._core.tables.live cimport live_notify
from fastlb._core.udp.datagrams cimport begin_datagrams, hear_clients
from fastlb._core.udp.sessions cimport quieten


cdef void _pause_acceptor(Core* core, Acceptor* acceptor) noexcept nogil:
    if not acceptor.paused and acceptor.stream.role == ROLE_ACCEPTOR:
        acceptor.paused = True
        poller_remove(&core.poller, &acceptor.stream)


cdef void _out_of_descriptors(Core* core) noexcept nogil:
    """Stop accepting until a descriptor comes free; those who wait stay in the kernel's queue."""
    cdef Acceptor* acceptor = core.acceptors
    while acceptor != NULL:
        _pause_acceptor(core, acceptor)
        acceptor = acceptor.next
    if core.resume_ms == 0:
        fl_add32(&core.live.descriptors_out, 1)
        live_notify(core.live)
    core.resume_ms = core.now_ms + RESUME_MS


cdef void resume_acceptors(Core* core) noexcept nogil:
    cdef Acceptor* acceptor = core.acceptors
    if core.resume_ms:
        if core.spare_fd < 0:
            core.spare_fd = spare_open()
        if core.spare_fd < 0:
            core.resume_ms = core.now_ms + RESUME_MS
            return
        core.resume_ms = 0
        fl_add32(&core.live.descriptors_out, -1)
        live_notify(core.live)
    while acceptor != NULL:
        if acceptor.paused and acceptor.look_ns == 0 and poller_add_level(
                &core.poller, &acceptor.stream, acceptor.bind.shared) == 0:
            acceptor.paused = False
        acceptor = acceptor.next


cdef void accept_some(Core* core, Acceptor* acceptor) noexcept nogil:
    """Accept a few. How many adapts, so that few calls are made only to be told EAGAIN."""
    cdef Exchange* x
    cdef int i, verdict
    for i in range(acceptor.batch):
        verdict = accept_step(core, acceptor, &x)
        if verdict == NEXT:
            if unlikely(x.reason != 0) and not hold(core, x):       # (it isn't let in)
                finish(core, x)
                continue
            if unlikely(poller_add(&core.poller, &x.client) < 0):
                x.reason = REASON_NO_DESCRIPTOR
                finish(core, x)
                continue
            advance(core, x)
        elif verdict == AGAIN:
            acceptor.batch = <uint8_t> (i if i > 1 else 1)
            return
        elif verdict == END:
            _pause_acceptor(core, acceptor)
            return
        else:
            _out_of_descriptors(core)
            return
    if acceptor.last_turn + 1 == core.counters.turns and acceptor.batch < ACCEPTS_MAX:
        acceptor.batch += 1
    acceptor.last_turn = core.counters.turns


cdef Acceptor* _find_acceptor(Core* core, uint32_t id) noexcept nogil:
    cdef Acceptor* acceptor = core.acceptors
    while acceptor != NULL and acceptor.id != id:
        acceptor = acceptor.next
    return acceptor


cdef BindEntry* _find_bind(Core* core, Snapshot* snapshot, uint32_t id) noexcept nogil:
    cdef uint32_t i
    for i in range(snapshot.n_binds):
        if snapshot.binds[i].id == id and snapshot.binds[i].fds[core.id] >= 0:
            return &snapshot.binds[i]
    return NULL


cdef void _forget_acceptor(Core* core, Acceptor* acceptor) noexcept nogil:
    """It hears of its socket no more."""
    cdef Acceptor** place = &core.acceptors
    if not acceptor.paused:
        poller_remove(&core.poller, &acceptor.stream)
    while place[0] != acceptor:
        place = &place[0].next
    place[0] = acceptor.next


cdef void _drop_acceptor(Core* core, Acceptor* acceptor) noexcept nogil:
    """Take in who is already connected and waits in the queue, then listen no more."""
    cdef int i
    if acceptor.stream.role == ROLE_DATAGRAMS:
        _drop_datagrams(core, acceptor)
        return
    for i in range(EVENTS_MAX):     # bounded: someone may be connecting without end
        acceptor.batch = ACCEPTS_MAX
        if acceptor.paused:
            break
        accept_some(core, acceptor)
        if acceptor.batch < ACCEPTS_MAX:
            break
    _forget_acceptor(core, acceptor)
    free(acceptor)


cdef void _drop_datagrams(Core* core, Acceptor* acceptor) noexcept nogil:
    """The same of udp: its sessions still get their answers, and only those, by a copy of the
    socket."""
    cdef int closing_timer = acceptor.bind.udp.closing_timer
    cdef int i
    for i in range(EVENTS_MAX):     # bounded: somebody may be sending without end
        if hear_clients(core, acceptor) < HEARD_MAX:
            break
    _forget_acceptor(core, acceptor)
    acceptor.stream.fd = net_copy(acceptor.stream.fd)
    acceptor.is_dropped = True
    acceptor.bind = NULL
    acceptor.next = core.dropped
    core.dropped = acceptor
    quieten(core, acceptor, closing_timer)


cdef void free_dropped(Core* core) noexcept nogil:
    """Those whose last session has ended."""
    cdef Acceptor** place = &core.dropped
    cdef Acceptor* acceptor
    while place[0] != NULL:
        acceptor = place[0]
        if acceptor.sessions:
            place = &acceptor.next
            continue
        place[0] = acceptor.next
        listening_remove(core.datagrams, acceptor)
        if acceptor.stream.fd >= 0:
            net_close(acceptor.stream.fd)
        free(acceptor)


cdef void _add_acceptor(Core* core, BindEntry* bind) noexcept nogil:
    cdef Acceptor* acceptor
    if bind.udp != NULL and not begin_datagrams(core):
        return
    acceptor = <Acceptor*> calloc(1, sizeof(Acceptor))
    if acceptor == NULL:
        return
    acceptor.stream.fd = bind.fds[core.id]
    acceptor.stream.role = ROLE_DATAGRAMS if bind.udp != NULL else ROLE_ACCEPTOR
    acceptor.bind = bind
    acceptor.listener = bind.listener
    acceptor.id = bind.id
    acceptor.batch = 1
    acceptor.next = core.acceptors
    core.acceptors = acceptor
    acceptor.waiting.prev = acceptor.waiting.next = &acceptor.waiting
    if bind.udp != NULL:
        listening_add(core.datagrams, acceptor)
    if (core.resume_ms and bind.udp == NULL) \
            or poller_add_level(&core.poller, &acceptor.stream, bind.shared) < 0:
        acceptor.paused = True


cdef void _mark_servers(Core* core, Snapshot* snapshot) noexcept nogil:
    """Idle connections to servers that it doesn't name are to be closed."""
    cdef uint32_t i, k
    core.http.epoch += 1
    drop_kept(core)
    for i in range(snapshot.n_pools):
        for k in range(snapshot.pools[i].n_servers):
            snapshot.pools[i].servers[k].live.idle_lists[core.id].epoch = core.http.epoch


cdef void adopt(Core* core) noexcept nogil:
    """Make new exchanges with the published snapshot; those under way keep theirs."""
    cdef Snapshot* snapshot
    cdef Acceptor* acceptor
    cdef Acceptor* following
    cdef BindEntry* bind
    cdef uint32_t i
    cdef int slot
    while True:                     # a hazard pointer: announced first, then looked at again
        snapshot = <Snapshot*> fl_load_pointer(&core.live.published)
        fl_store_pointer(&core.next_snapshot, snapshot)
        if fl_load_pointer(&core.live.published) == snapshot:
            break
    core.n_timers = fl_load32(&core.live.n_timers)
    for slot in range(1, core.n_timers):        # (what is in use has the length that it had)
        core.timers[slot].length_ms = core.live.timer_ms[slot]
    keep_for_crossing(core, snapshot)
    acceptor = core.acceptors
    while acceptor != NULL:
        following = acceptor.next
        if _find_bind(core, snapshot, acceptor.id) == NULL:
            _drop_acceptor(core, acceptor)
        acceptor = following
    fl_store_pointer(&core.snapshot, snapshot)
    _mark_servers(core, snapshot)
    fl_store_pointer(&core.next_snapshot, NULL)
    for i in range(snapshot.n_binds):
        bind = &snapshot.binds[i]
        if bind.fds[core.id] < 0:
            continue
        acceptor = _find_acceptor(core, bind.id)
        if acceptor == NULL:
            _add_acceptor(core, bind)
        else:
            acceptor.bind = bind
            acceptor.listener = bind.listener
    close_idle_clients(core, True)
    drop_all_idle(core, True)
    resume_acceptors(core)         # a limit may have been raised
    live_notify(core.live)          # sockets and tables that nobody uses now can be given back
