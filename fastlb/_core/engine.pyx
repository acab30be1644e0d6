# The conveyor: which stage follows which, and the loop that feeds it.
from libc.errno cimport EMFILE, ETIMEDOUT
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastlb._core.base.gate cimport gate_give
from fastlb._core.base.limits cimport (
    ACCEPTS_MAX, ENGINES_MAX, EVENTS_MAX, RESUME_MS, SLAB_EXCHANGES, STEPS_MAX, TIMER_SLOTS_MAX,
)
from fastlb._core.base.mem cimport free_all, give_exchange, give_pending
from fastlb._core.base.net cimport net_reset_on_close, net_shut_both
from fastlb._core.base.poller cimport (
    poller_add, poller_add_level, poller_close, poller_event, poller_forget, poller_open,
    poller_remove, poller_wait,
)
from fastlb._core.base.sys cimport (
    clock_ms, event_clear, event_open, event_set, spare_open, timer_open, timer_set,
)
from fastlb._core.base.timers cimport (
    timer_cancel, timer_expired, timer_start, timer_touch, timers_next_ms,
)
from fastlb._core.base.types cimport (
    AGAIN, END, ERROR, EXCHANGE_HAS_MORE, EXCHANGE_HOLDS_SERVER, EXCHANGE_HOLDS_SNAPSHOT,
    EXCHANGE_QUEUED, FAIL, NEXT, POLLER_EPOLL, POLLER_POLL, REASON_CLIENT_RESET,
    REASON_CONNECT_REFUSED, REASON_CONNECT_TIMEOUT, REASON_DONE, REASON_IDLE, REASON_NO_DESCRIPTOR,
    REASON_NO_MEMORY, REASON_NO_SERVER, REASON_SERVER_RESET, REASON_SERVERS_FULL, REASON_STOPPED,
    ROLE_ACCEPTOR, ROLE_CLIENT, ROLE_SERVER, ROLE_TIMER, ROLE_WAKE, STAGE_BALANCE, STAGE_CONNECT,
    STAGE_DEAD, STAGE_FREE, STAGE_RELAY, STOP_DRAIN, STOP_NO, STOP_NOW, Acceptor, BindEntry, Core,
    Exchange, Slab, Stream,
)
from fastlb._core.base.types cimport Snapshot as SnapshotTable
from fastlb._core.ext.atomic cimport (
    FASTLB_BUILD_MODE, fl_add32, fl_assert, fl_count, fl_fence, fl_load32, fl_load_pointer,
    fl_read, fl_store32, fl_store_pointer, likely, unlikely,
)
from fastlb._core.ext.linux cimport close, sched_yield
from fastlb._core.stages.accept cimport accept_step
from fastlb._core.stages.balance cimport balance_step
from fastlb._core.stages.connect cimport connect_failed, connect_step
from fastlb._core.stages.record cimport record_step
from fastlb._core.stages.relay cimport relay_step
from fastlb._core.tables.live cimport Live, live_notify, live_wake_engines
from fastlb._core.tables.snapshot cimport Snapshot

import os


# --- ending an exchange ---


cdef void _close_stream(Core* core, Stream* s, bint reset) noexcept nogil:
    if s.pending != NULL:
        give_pending(core, s)
    if s.fd < 0:
        return
    if reset:
        net_reset_on_close(s.fd)
    if unlikely(core.forked):
        # A child may hold a copy of the socket, so that closing ours would end nothing.
        poller_remove(&core.poller, s)
        if not reset:
            net_shut_both(s.fd)
    else:
        poller_forget(&core.poller, s)
    close(s.fd)
    s.fd = -1
    fl_count(&core.counters.descriptors, <uint64_t> -1)


cdef void _let_server_go(Core* core, Exchange* x) noexcept nogil:
    if x.flags & EXCHANGE_HOLDS_SERVER:
        x.flags &= <uint8_t> ~EXCHANGE_HOLDS_SERVER
        gate_give(&x.target.connections)


cdef void _let_snapshot_go(Core* core, Exchange* x) noexcept nogil:
    if x.flags & EXCHANGE_HOLDS_SNAPSHOT:
        x.flags &= <uint8_t> ~EXCHANGE_HOLDS_SNAPSHOT
        x.bind = NULL
        x.entry = NULL
        fl_add32(&x.snapshot.users[core.id], -1)
        x.snapshot = NULL


cdef void _finish(Core* core, Exchange* x) noexcept nogil:
    """Close both sides as x.reason wants it; the struct is given back at the end of the turn."""
    # Bytes that never arrived must not look as if they had: an end that we force is a reset.
    cdef bint forced = (x.reason == REASON_IDLE or x.reason == REASON_STOPPED
                        or x.reason == REASON_NO_MEMORY)
    timer_cancel(x)
    record_step(core, x)
    _close_stream(core, &x.server, forced or x.reason == REASON_CLIENT_RESET)
    _close_stream(core, &x.client, forced or x.reason == REASON_SERVER_RESET)
    _let_server_go(core, x)
    _let_snapshot_go(core, x)
    x.stage = STAGE_DEAD
    if not x.flags & EXCHANGE_QUEUED:
        x.next_free = core.dead
        core.dead = x
    if gate_give(&core.live.connections) | gate_give(&x.listener.connections):
        live_wake_engines(core.live)
    if unlikely(core.resume_ms):
        core.resume_ms = core.now_ms        # descriptors came free


# --- the conveyor ---


cdef void _queue(Core* core, Exchange* x) noexcept nogil:
    """Let it go on in this turn's second half or the next, after others had theirs."""
    if x.flags & EXCHANGE_QUEUED:
        return
    x.flags |= EXCHANGE_QUEUED
    x.next_run = NULL
    if core.run_last == NULL:
        core.run_first = x
    else:
        core.run_last.next_run = x
    core.run_last = x


cdef bint _try_another(Core* core, Exchange* x) noexcept nogil:
    """A connect failed. The client hasn't noticed: go back to balancing."""
    cdef int i = x.n_tried
    if x.reason == REASON_NO_DESCRIPTOR:
        return False
    timer_cancel(x)
    _close_stream(core, &x.server, False)
    x.tried[i] = <uint16_t> (x.entry - x.bind.pool.servers)
    x.n_tried += 1
    _let_server_go(core, x)
    x.stage = STAGE_BALANCE
    return True


cdef void _advance(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict, steps
    for steps in range(STEPS_MAX):
        if likely(x.stage == STAGE_RELAY):
            verdict = relay_step(core, x)
            if likely(verdict == AGAIN):
                timer_touch(core, x)
                if x.flags & EXCHANGE_HAS_MORE:
                    x.flags &= <uint8_t> ~EXCHANGE_HAS_MORE
                    _queue(core, x)
                return
        elif x.stage == STAGE_BALANCE:
            verdict = balance_step(core, x)
            if verdict == NEXT:
                x.stage = STAGE_CONNECT
                continue
        else:
            if x.client.ready & ERROR:
                x.reason = REASON_CLIENT_RESET
                break
            verdict = connect_step(core, x)
            if verdict == NEXT:
                x.stage = STAGE_RELAY
                timer_start(core, x, x.idle_timer)
                _let_snapshot_go(core, x)
                continue
            if verdict == FAIL and _try_another(core, x):
                continue
        if verdict == AGAIN:
            return
        break
    _finish(core, x)


# --- accepting ---


cdef void _pause_acceptor(Core* core, Acceptor* acceptor) noexcept nogil:
    if not acceptor.paused:
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


cdef void _resume_acceptors(Core* core) noexcept nogil:
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
        if acceptor.paused and poller_add_level(
                &core.poller, &acceptor.stream, acceptor.bind.shared) == 0:
            acceptor.paused = False
        acceptor = acceptor.next


cdef void _accept(Core* core, Acceptor* acceptor) noexcept nogil:
    """Accept a few. How many adapts, so that few calls are made only to be told EAGAIN."""
    cdef Exchange* x
    cdef int i, verdict
    for i in range(acceptor.batch):
        verdict = accept_step(core, acceptor, &x)
        if verdict == NEXT:
            if unlikely(poller_add(&core.poller, &x.client) < 0):
                x.reason = REASON_NO_DESCRIPTOR
                _finish(core, x)
                continue
            _advance(core, x)
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


# --- adopting a snapshot ---


cdef Acceptor* _find_acceptor(Core* core, uint32_t id) noexcept nogil:
    cdef Acceptor* acceptor = core.acceptors
    while acceptor != NULL and acceptor.id != id:
        acceptor = acceptor.next
    return acceptor


cdef BindEntry* _find_bind(Core* core, SnapshotTable* snapshot, uint32_t id) noexcept nogil:
    cdef uint32_t i
    for i in range(snapshot.n_binds):
        if snapshot.binds[i].id == id and snapshot.binds[i].fds[core.id] >= 0:
            return &snapshot.binds[i]
    return NULL


cdef void _drop_acceptor(Core* core, Acceptor* acceptor) noexcept nogil:
    """Take in who is already connected and waits in the queue, then listen no more."""
    cdef Acceptor** place = &core.acceptors
    cdef int i
    for i in range(EVENTS_MAX):     # bounded: someone may be connecting without end
        acceptor.batch = ACCEPTS_MAX
        if acceptor.paused:
            break
        _accept(core, acceptor)
        if acceptor.batch < ACCEPTS_MAX:
            break
    if not acceptor.paused:
        poller_remove(&core.poller, &acceptor.stream)
    while place[0] != acceptor:
        place = &place[0].next
    place[0] = acceptor.next
    free(acceptor)


cdef void _add_acceptor(Core* core, BindEntry* bind) noexcept nogil:
    cdef Acceptor* acceptor = <Acceptor*> calloc(1, sizeof(Acceptor))
    if acceptor == NULL:
        return
    acceptor.stream.fd = bind.fds[core.id]
    acceptor.stream.role = ROLE_ACCEPTOR
    acceptor.bind = bind
    acceptor.id = bind.id
    acceptor.batch = 1
    acceptor.next = core.acceptors
    core.acceptors = acceptor
    if core.resume_ms or poller_add_level(&core.poller, &acceptor.stream, bind.shared) < 0:
        acceptor.paused = True


cdef void _adopt(Core* core) noexcept nogil:
    """Make new exchanges with the published snapshot; those under way keep theirs."""
    cdef SnapshotTable* snapshot
    cdef Acceptor* acceptor
    cdef Acceptor* following
    cdef BindEntry* bind
    cdef uint32_t i
    while True:                     # a hazard pointer: announced first, then looked at again
        snapshot = <SnapshotTable*> fl_load_pointer(&core.live.published)
        fl_store_pointer(&core.next_snapshot, snapshot)
        if fl_load_pointer(&core.live.published) == snapshot:
            break
    while core.n_timers < fl_load32(&core.live.n_timers):
        core.timers[core.n_timers].length_ms = core.live.timer_ms[core.n_timers]
        core.n_timers += 1
    acceptor = core.acceptors
    while acceptor != NULL:
        following = acceptor.next
        if _find_bind(core, snapshot, acceptor.id) == NULL:
            _drop_acceptor(core, acceptor)
        acceptor = following
    fl_store_pointer(&core.snapshot, snapshot)
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
    _resume_acceptors(core)         # a limit may have been raised
    live_notify(core.live)          # sockets and tables that nobody uses now can be given back


# --- the loop ---


cdef void _expire(Core* core) noexcept nogil:
    cdef Exchange* x
    cdef int slot
    for slot in range(1, core.n_timers):
        while True:
            x = timer_expired(core, slot)
            if x == NULL:
                break
            if x.stage == STAGE_CONNECT:
                connect_failed(core, x, ETIMEDOUT)
                x.reason = REASON_CONNECT_TIMEOUT
                if _try_another(core, x):
                    _advance(core, x)
                    continue
            x.reason = REASON_IDLE
            _finish(core, x)


cdef void _run_queue(Core* core) noexcept nogil:
    """Go on with those that stopped for others' sake; who stops again waits for the next turn."""
    cdef Exchange* x = core.run_first
    cdef Exchange* following
    core.run_first = core.run_last = NULL
    while x != NULL:
        following = x.next_run
        x.flags &= <uint8_t> ~EXCHANGE_QUEUED
        if x.stage == STAGE_DEAD:
            x.next_free = core.dead
            core.dead = x
        else:
            _advance(core, x)
        x = following


cdef void _end_all(Core* core) noexcept nogil:
    cdef Slab* slab = core.slabs
    cdef Exchange* x
    cdef int i
    core.run_first = core.run_last = NULL
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            x = &slab.exchanges[i]
            if x.stage == STAGE_DEAD and x.flags & EXCHANGE_QUEUED:
                x.next_free = core.dead
                core.dead = x
            elif x.stage != STAGE_FREE and x.stage != STAGE_DEAD:
                x.flags &= <uint8_t> ~EXCHANGE_QUEUED
                x.reason = REASON_STOPPED
                _finish(core, x)
        slab = slab.next


cdef void _give_back(Core* core) noexcept nogil:
    cdef Exchange* x
    while core.dead != NULL:
        x = core.dead
        core.dead = x.next_free
        give_exchange(core, x)


cdef int _timeout_ms(Core* core) noexcept nogil:
    cdef uint64_t due = timers_next_ms(core)
    if core.run_first != NULL:
        return 0
    if core.resume_ms and (due == 0 or core.resume_ms < due):
        due = core.resume_ms
    if due == 0:
        return -1
    if due <= core.now_ms:
        return 0
    return <int> (due - core.now_ms if due - core.now_ms < 3600000 else 3600000)


cdef void _enter(Core* core) noexcept nogil:
    """A fork in another thread waits until no engine is inside a turn, and keeps them out."""
    while True:
        fl_store32(&core.busy, 1)
        fl_fence()
        if likely(fl_load32(&core.pause) == 0):
            return
        fl_store32(&core.busy, 0)
        while fl_load32(&core.pause):
            sched_yield()


cdef bint _turn(Core* core, int timeout_ms) noexcept nogil:
    """Wait for events and handle them. False when the engine is to end."""
    cdef int n = poller_wait(&core.poller, timeout_ms)
    cdef int i
    cdef uint8_t ready = 0
    cdef Stream* s
    _enter(core)
    core.now_ms = clock_ms()
    fl_count(&core.counters.turns, 1)
    for i in range(n):
        s = poller_event(&core.poller, i, &ready)
        if likely(s.role <= ROLE_SERVER):
            if s.exchange.stage != STAGE_DEAD:
                s.ready |= ready
                _advance(core, s.exchange)
        elif s.role == ROLE_ACCEPTOR:
            _accept(core, <Acceptor*> s)
        elif s.role == ROLE_WAKE:
            event_clear(s.fd)
            _resume_acceptors(core)
        else:
            event_clear(s.fd)
            core.armed_ms = 0
    if core.run_first != NULL:
        _run_queue(core)
    _expire(core)
    if unlikely(core.resume_ms) and core.resume_ms <= core.now_ms:
        _resume_acceptors(core)
    if unlikely(fl_load_pointer(&core.live.published) != core.snapshot):
        _adopt(core)
    if unlikely(fl_load32(&core.stop) != STOP_NO):
        if core.stop == STOP_NOW:
            _end_all(core)
    _give_back(core)
    fl_store32(&core.busy, 0)
    return core.stop == STOP_NO or (core.stop == STOP_DRAIN and core.counters.exchanges > 0)


cdef void _arm(Core* core) noexcept nogil:
    """Inline, someone else's loop waits: the next timeout must make our descriptor readable."""
    cdef uint64_t due = timers_next_ms(core)
    if core.run_first != NULL:
        event_set(core.wake_fd)
    if core.resume_ms and (due == 0 or core.resume_ms < due):
        due = core.resume_ms
    if due and (core.armed_ms == 0 or due < core.armed_ms):
        timer_set(core.timer_fd, due)
        core.armed_ms = due


cdef void _run(Core* core) noexcept nogil:
    while _turn(core, _timeout_ms(core)):
        pass


cdef class Engine:
    """One event loop of the data plane.

    `run()` takes a thread of its own and gives up the GIL until it is stopped. With `inline=True`
    a running loop watches `fileno()` for reading and calls `turn()` whenever it is readable.
    """

    def __cinit__(self, Live live, int id, str poller="epoll", bint inline=False):
        cdef Core* core
        cdef int i, error
        if not 0 <= id < live.engines:
            raise ValueError(f"engine {id} of {live.engines}")
        if poller not in ("epoll", "poll"):
            raise ValueError(f"{poller!r} is not a poller; one of: epoll, poll")
        if inline and poller != "epoll":
            raise ValueError("only the epoll poller can run inside another loop")
        self.live = live
        self.id = id
        core = self.core = <Core*> calloc(1, sizeof(Core))
        if core == NULL:
            raise MemoryError
        core.id = id
        core.live = &live.table
        core.inline_mode = inline
        core.wake_fd = core.timer_fd = core.spare_fd = core.poller.fd = -1
        core.n_timers = 1
        for i in range(TIMER_SLOTS_MAX):
            core.timers[i].head.next = core.timers[i].head.prev = &core.timers[i].head
        error = self._open(POLLER_EPOLL if poller == "epoll" else POLLER_POLL)
        if error:
            raise OSError(-error, os.strerror(-error))
        live.table.wake_fds[id] = core.wake_fd

    cdef int _open(self, int kind) noexcept:
        cdef Core* core = self.core
        cdef int error = poller_open(&core.poller, kind)
        if error:
            return error
        core.now_ms = clock_ms()
        core.wake_fd = event_open()
        core.spare_fd = spare_open()
        core.wake_stream.fd = core.wake_fd
        core.wake_stream.role = ROLE_WAKE
        if core.wake_fd < 0 or core.spare_fd < 0:
            return -EMFILE
        error = poller_add_level(&core.poller, &core.wake_stream, False)
        if error == 0 and core.inline_mode:
            core.timer_fd = timer_open()
            if core.timer_fd < 0:
                return core.timer_fd
            core.timer_stream.fd = core.timer_fd
            core.timer_stream.role = ROLE_TIMER
            error = poller_add_level(&core.poller, &core.timer_stream, False)
        return error

    def __dealloc__(self):
        self._free()

    cdef void _free(self) noexcept:
        cdef Core* core = self.core
        cdef Acceptor* acceptor
        if core == NULL:
            return
        self.core = NULL
        if self.live is not None and self.live.table.wake_fds[self.id] == core.wake_fd:
            self.live.table.wake_fds[self.id] = -1
        while core.acceptors != NULL:
            acceptor = core.acceptors
            core.acceptors = acceptor.next
            free(acceptor)
        free_all(core)
        poller_close(&core.poller)
        for fd in (core.wake_fd, core.timer_fd, core.spare_fd):
            if fd >= 0:
                close(fd)
        free(core)

    cdef Core* _alive(self) except NULL:
        if self.core == NULL:
            raise RuntimeError("this engine is closed")
        return self.core

    def run(self) -> None:
        """Serve until stopped, without the GIL."""
        cdef Core* core = self._alive()
        if self._running:
            raise RuntimeError("this engine is running")
        self._running = True
        with nogil:
            _run(core)
        self._running = False
        live_notify(core.live)

    def turn(self) -> bool:
        """Handle what is ready, without waiting. False when the engine has ended."""
        cdef Core* core = self._alive()
        cdef bint go_on = _turn(core, 0)
        if go_on:
            _arm(core)
        else:
            live_notify(core.live)
        return go_on

    def fileno(self) -> int:
        """Readable when turn() has something to do."""
        return self._alive().poller.fd

    def wake(self) -> None:
        """Make it take a turn: a snapshot was published."""
        event_set(self._alive().wake_fd)

    def stop(self, bint now=False) -> None:
        """End when the last connection has, or with `now` reset those that are left."""
        fl_store32(&self._alive().stop, STOP_NOW if now else STOP_DRAIN)
        event_set(self.core.wake_fd)

    def uses(self, Snapshot snapshot) -> bool:
        """Whether the engine may still read from it for new connections."""
        cdef void* table = &snapshot.table
        return (fl_load_pointer(&self._alive().snapshot) == table
                or fl_load_pointer(&self.core.next_snapshot) == table)

    def close(self) -> None:
        """Give everything back; it must not be running."""
        if self._running:
            raise RuntimeError("this engine is running")
        self._free()

    def counts(self) -> dict[str, int]:
        """What is alive now; all 0 when nothing is going on."""
        cdef Core* core = self._alive()
        return {
            "exchanges": fl_read(&core.counters.exchanges),
            "chunks": fl_read(&core.counters.chunks),
            "descriptors": fl_read(&core.counters.descriptors),
        }

    def totals(self) -> dict[str, int]:
        """What has happened since the start."""
        cdef Core* core = self._alive()
        totals = {
            "turns": fl_read(&core.counters.turns),
            "accepted": fl_read(&core.counters.accepted),
            "accept_errors": fl_read(&core.counters.accept_errors),
            "connect_failures": fl_read(&core.counters.connect_failures),
        }
        for name, reason in _REASONS.items():
            totals[f"ended_{name}"] = fl_read(&core.counters.ended[<int> reason])
        return totals

    def pause(self) -> None:
        """Before a fork: keep out of turns, and wait until the one under way is over."""
        cdef Core* core = self._alive()
        fl_store32(&core.pause, 1)
        fl_fence()
        with nogil:
            while fl_load32(&core.busy):
                sched_yield()

    def resume(self) -> None:
        """After a fork, in the parent: go on, knowing that a child may hold our sockets."""
        cdef Core* core = self._alive()
        core.forked = True
        fl_store32(&core.pause, 0)

    def abandon(self) -> None:
        """After a fork, in the child: close all our descriptors and touch nothing they stand for."""
        cdef Core* core = self.core
        cdef Slab* slab
        cdef int i
        if core == NULL:
            return
        slab = core.slabs
        while slab != NULL:
            for i in range(SLAB_EXCHANGES):
                if slab.exchanges[i].stage != STAGE_FREE:
                    _abandon_stream(core, &slab.exchanges[i].client)
                    _abandon_stream(core, &slab.exchanges[i].server)
            slab = slab.next
        self._running = False
        self._free()


cdef void _abandon_stream(Core* core, Stream* s) noexcept nogil:
    if s.pending != NULL:
        give_pending(core, s)
    if s.fd >= 0:
        close(s.fd)
        s.fd = -1


_REASONS = {
    "done": REASON_DONE,
    "client_reset": REASON_CLIENT_RESET,
    "server_reset": REASON_SERVER_RESET,
    "connect_refused": REASON_CONNECT_REFUSED,
    "connect_timeout": REASON_CONNECT_TIMEOUT,
    "no_server": REASON_NO_SERVER,
    "servers_full": REASON_SERVERS_FULL,
    "idle": REASON_IDLE,
    "no_memory": REASON_NO_MEMORY,
    "no_descriptor": REASON_NO_DESCRIPTOR,
    "stopped": REASON_STOPPED,
}


def publish(Live live, Snapshot snapshot) -> None:
    """Let all engines of `live` take up a snapshot at their next turn."""
    if snapshot.live is not live:
        raise ValueError("the snapshot was compiled for another balancer")
    fl_store_pointer(&live.table.published, &snapshot.table)
    live_wake_engines(&live.table)


def build_info() -> dict[str, str]:
    """How this extension was built."""
    return {"build": FASTLB_BUILD_MODE.decode(), "pollers": "epoll, poll"}
