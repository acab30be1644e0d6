# The loop that feeds the conveyor, and the one class that Python drives.
from libc.errno cimport EMFILE
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastlb._core.base.clock cimport engine_ns
from fastlb._core.base.enums cimport (
    ERROR, HANGUP, POLLER_EPOLL, POLLER_POLL, READABLE, ROLE_ACCEPTOR, ROLE_DATAGRAMS, ROLE_IDLE,
    ROLE_SERVER, ROLE_SESSION, ROLE_TIMER, ROLE_WAKE, STAGE_DEAD, STOP_DRAIN, STOP_NO, STOP_NOW,
    STOP_PART,
    STREAM_DRY,
)
from fastlb._core.base.httpmem cimport free_http
from fastlb._core.base.limits cimport TIMER_SLOTS_MAX
from fastlb._core.base.listeners cimport listening_remove
from fastlb._core.base.mem cimport free_all, give_spent
from fastlb._core.base.net cimport net_close
from fastlb._core.base.pipe cimport free_pipes
from fastlb._core.base.poller cimport (
    poller_add_level, poller_close, poller_event, poller_open,
)
from fastlb._core.base.routing cimport Decision
from fastlb._core.base.sys cimport (
    event_clear, event_open, event_set, spare_open, timer_open, timer_set,
    yield_cpu,
)
from fastlb._core.base.timers cimport timers_next_ms
from fastlb._core.base.tls cimport tls_forget
from fastlb._core.base.turn cimport enter_turn, leave_turn
from fastlb._core.base.types cimport Acceptor, Core, PoolEntry, Stream
from fastlb._core.exchange.lifecycle cimport give_back
from fastlb._core.ext.atomic cimport (
    fl_count, fl_fence, fl_load32, fl_load64, fl_load_pointer, fl_read,
    fl_store32, likely, unlikely,
)
from fastlb._core.ext.linux cimport close
from fastlb._core.failing.outliers cimport eject
from fastlb._core.failing.queue cimport wake_own_pending
from fastlb._core.filters.coders cimport free_coders
from fastlb._core.http.decision cimport failed, give_decision
from fastlb._core.http.upstream cimport drop_all_idle, hear_idle
from fastlb._core.loop.acceptors cimport accept_some, adopt, free_dropped, resume_acceptors
from fastlb._core.loop.conveyor cimport advance, run_queue
from fastlb._core.loop.fork cimport abandon_streams
from fastlb._core.loop.sweep cimport (
    close_idle_clients, end_all, end_cut, mark_slots, part_websockets,
)
from fastlb._core.loop.timeouts cimport expire, hear_answers
from fastlb._core.loop.waiting cimport timeout_ms_of, wait_for_events
from fastlb._core.policy.call cimport decision_of
from fastlb._core.policy.kept cimport drop_kept
from fastlb._core.policy.questions cimport free_answers, put_answer
from fastlb._core.proto.llhttp cimport llhttp_bind
from fastlb._core.stages.record cimport wake_reader
from fastlb._core.tables.caller cimport Caller
from fastlb._core.tables.counts cimport totals_of
from fastlb._core.tables.live cimport Live, live_notify
from fastlb._core.tables.snapshot cimport Snapshot
from fastlb._core.tables.states cimport Server
from fastlb._core.udp.datagrams cimport (
    end_datagrams, hear_and_rest, hear_server, look_again, send_answers,
)

import os


cdef bint _turn(Core* core, int timeout_ms) noexcept nogil:
    """Wait for events and handle them. False when the engine is to end."""
    cdef int n = wait_for_events(core, timeout_ms)
    cdef int i
    cdef uint8_t ready = 0
    cdef Stream* s
    enter_turn(core)
    core.now_ns = engine_ns(core)
    core.now_ms = core.now_ns // 1000000
    fl_count(&core.counters.turns, 1)
    if core.counters.idle:
        # What a server says unasked is heard before its connection is taken for a request.
        for i in range(n):
            s = poller_event(&core.poller, i, &ready)
            if s != NULL and s.role == ROLE_IDLE:
                hear_idle(core, s, ready)
    for i in range(n):
        s = poller_event(&core.poller, i, &ready)
        if unlikely(s == NULL or s.role == ROLE_IDLE):
            continue
        if likely(s.role <= ROLE_SERVER):
            if s.exchange.stage != STAGE_DEAD:
                # An error may be announced before the end that it causes: a read meets both.
                s.ready |= ready | READABLE if unlikely(ready & (ERROR | HANGUP)) else ready
                s.flags &= <uint8_t> ~STREAM_DRY    # (of TLS: its socket has more again)
                advance(core, s.exchange)
        elif s.role == ROLE_SESSION:
            hear_server(core, s)
        elif s.role == ROLE_ACCEPTOR:
            accept_some(core, <Acceptor*> s)
        elif s.role == ROLE_DATAGRAMS:
            hear_and_rest(core, <Acceptor*> s)
        elif s.role == ROLE_WAKE:
            event_clear(s.fd)
            resume_acceptors(core)
            wake_own_pending(core)
            if unlikely(fl_load32(&core.live.cuts) != core.cuts):
                end_cut(core)
            if unlikely(fl_load64(&core.answers) != 0):
                hear_answers(core)
        else:
            event_clear(s.fd)
            core.armed_ms = 0
    if core.datagrams != NULL:
        if unlikely(core.datagrams.look_ns) and core.datagrams.look_ns <= core.now_ns:
            look_again(core)
        if core.datagrams.answers.n:
            send_answers(core)
    if core.run_first != NULL:
        run_queue(core)
    expire(core, n)
    if unlikely(core.resume_ms) and core.resume_ms <= core.now_ms:
        resume_acceptors(core)
    if unlikely(fl_load_pointer(&core.live.published) != core.snapshot):
        adopt(core)
    if unlikely(fl_load32(&core.stop) != STOP_NO):
        if not core.closing:
            core.closing = True
            close_idle_clients(core, False)
            drop_all_idle(core, False)
            give_back(core)
            core.let_go = True          # (what Python counts from here on has none of them)
            live_notify(core.live)
        if core.stop == STOP_PART and not core.parting:
            part_websockets(core)
        if core.stop == STOP_NOW:
            end_all(core)
    if core.recorded:
        wake_reader(core)
    if core.http.spent != NULL:
        give_spent(core)
    give_back(core)
    if unlikely(core.dropped != NULL):
        free_dropped(core)
    leave_turn(core)
    return core.stop == STOP_NO or (core.stop != STOP_NOW and core.counters.exchanges > 0)


cdef void _arm(Core* core) noexcept nogil:
    """Inline, someone else's loop waits: the next timeout must make our descriptor readable."""
    cdef uint64_t due = timers_next_ms(core), look_ms, ahead_ms
    if core.run_first != NULL:
        event_set(core.wake_fd)
    if core.resume_ms and (due == 0 or core.resume_ms < due):
        due = core.resume_ms
    if core.datagrams != NULL and core.datagrams.look_ns:       # (in whole milliseconds here)
        look_ms = core.datagrams.look_ns // 1000000 + 1
        if due == 0 or look_ms < due:
            due = look_ms
    if due:                             # (the system's timer goes by the system's clock)
        ahead_ms = fl_load64(core.live.ahead_ns) // 1000000
        due = due - ahead_ms if due > ahead_ms else 1
        if core.armed_ms == 0 or due < core.armed_ms:
            timer_set(core.timer_fd, due)
            core.armed_ms = due


cdef void _run(Core* core) noexcept nogil:
    while _turn(core, timeout_ms_of(core)):
        pass


cdef class Engine:
    """One event loop of the data plane.

    `run()` takes a thread of its own and gives up the GIL until it is stopped. With `inline=True`
    a running loop watches `fileno()` for reading and calls `turn()` whenever it is readable.
    """

    def __cinit__(self, Live live, int id, str poller="epoll", bint inline=False,
                  bint busy_poll=True):
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
        core.busy_poll = busy_poll and not inline
        core.wake_fd = core.timer_fd = core.spare_fd = core.poller.fd = -1
        core.n_timers = 1
        core.random = int.from_bytes(os.urandom(8), "little") | 1
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
        core.now_ms = engine_ns(core) // 1000000
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
        cdef int fd         # (else it may be a bint: beside a `def` of as many bints, Cython 3.3)
        if core == NULL:
            return
        self.core = NULL
        if self.live is not None and self.live.table.wake_fds[self.id] == core.wake_fd:
            self.live.table.wake_fds[self.id] = -1
        while core.acceptors != NULL:
            acceptor = core.acceptors
            core.acceptors = acceptor.next
            if acceptor.stream.role == ROLE_DATAGRAMS:
                listening_remove(core.datagrams, acceptor)
            free(acceptor)
        free_dropped(core)
        end_datagrams(core)
        drop_all_idle(core, False)
        drop_kept(core)
        free_answers(core)
        free_coders(core)
        free_all(core)
        free_http(core)
        free_pipes(core)
        poller_close(&core.poller)
        for fd in (core.wake_fd, core.timer_fd, core.spare_fd):
            if fd >= 0:
                net_close(fd)
        free(core)

    cdef Core* _alive(self) except NULL:
        if self.core == NULL:
            raise RuntimeError("this engine is closed")
        return self.core

    @property
    def running(self) -> bool:
        """Whether a thread is inside run()."""
        return self._running

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
        cdef bint go_on
        tls_forget()
        go_on = _turn(core, 0)
        if go_on:
            _arm(core)
        else:
            live_notify(core.live)
        return go_on

    def decide(self, unsigned long long ticket, size_t exchange, Caller caller, object result,
               bint failure=False) -> bool:
        """What a policy on the control plane returned, or that it failed. False where nobody can
        be told any more. Raises what `decision_of` does."""
        cdef Decision* decision = failed() if failure else decision_of(caller, result)
        if self.core == NULL:
            give_decision(decision)
            return False
        return put_answer(self.core, ticket, <void*> exchange, decision)

    @property
    def asked(self) -> tuple[int, int] | None:
        """The id of the policy that runs on this engine's thread, and since when (ns of the
        monotonic clock); None if none does."""
        cdef uint64_t since_ns = fl_load64(&self._alive().asked_ns)
        return (self.core.asked_policy, since_ns) if since_ns else None

    def fileno(self) -> int:
        """Readable when turn() has something to do."""
        return self._alive().poller.fd

    def wake(self) -> None:
        """Make it take a turn: a snapshot was published."""
        event_set(self._alive().wake_fd)

    def stop(self, bint now=False, bint hasty=False, bint parting=False) -> None:
        """End when the last connection has, or with `now` reset those that are left. `hasty`: there
        is no time for requests of clients that are idle. `parting`: WebSockets are to end now."""
        self._alive().hasty = hasty
        fl_store32(&self._alive().stop,
                   STOP_NOW if now else STOP_PART if parting else STOP_DRAIN)
        event_set(self.core.wake_fd)

    @property
    def closing(self) -> bool:
        """Whether it has heard that it is to stop, and has let go who was idle."""
        return self._alive().let_go

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
            "coders": fl_read(&core.counters.coders),
            "pipes": fl_read(&core.counters.pipes),
            "descriptors": fl_read(&core.counters.descriptors),
            "requests": fl_read(&core.counters.https),
            "upstreams": fl_read(&core.counters.upstreams),
            "secured": fl_read(&core.counters.secured),
            "proxied": fl_read(&core.counters.proxied),
            "h2_streams": fl_read(&core.counters.h2_streams),
            "sessions": fl_read(&core.counters.sessions),
        }

    @property
    def idle(self) -> int:
        """Connections to http servers that wait for the next request."""
        return fl_read(&self._alive().counters.idle)

    @property
    def turns(self) -> int:
        """That it has begun."""
        return fl_read(&self._alive().counters.turns)

    def totals(self) -> dict[str, int]:
        """What has happened since the start."""
        return totals_of(&self._alive().counters)

    def pause(self) -> None:
        """Before a fork: keep out of turns, and wait until the one under way is over.

        Inline, a turn holds the GIL from its begin to its end, and so does the fork.
        """
        cdef Core* core = self.core
        if core == NULL or core.inline_mode:
            return
        fl_store32(&core.pause, 1)
        fl_fence()
        with nogil:
            while fl_load32(&core.busy):
                yield_cpu()

    def timer_slots(self) -> set[int]:
        """Those whose lengths of timeouts connections wait for, or may."""
        cdef Core* core = self._alive()
        cdef uint8_t[TIMER_SLOTS_MAX] used
        cdef int i
        memset(used, 0, sizeof(used))
        while True:
            self.pause()
            if core.inline_mode or (fl_load32(&core.pause) and not fl_load32(&core.busy)):
                break                   # (no fork came between: from here on the GIL is held)
        mark_slots(core, used)
        fl_store32(&core.pause, 0)
        return {i for i in range(TIMER_SLOTS_MAX) if used[i]}

    def resume(self) -> None:
        """After a fork, in the parent: go on, knowing that a child may hold our sockets."""
        if self.core != NULL:
            self.core.forked = True
            fl_store32(&self.core.pause, 0)

    def abandon(self) -> None:
        """After a fork, in the child: close our descriptors, touch nothing they stand for."""
        cdef Core* core = self.core
        if core == NULL:
            return
        abandon_streams(core)
        self._running = False
        if core.asked_ns:               # a policy of its own may have forked, and come back to it
            core.abandoned = True
            self.core = NULL
            return
        self._free()


def eject_server(Snapshot snapshot, str pool, str server, str why) -> bool:
    """Leave a server out as `outliers` does, if somebody is left then; `why` is what the log says.
    """
    cdef PoolEntry* entry
    cdef Server state = snapshot.live.server(pool, server)
    cdef uint32_t i
    for i in range(snapshot.table.n_pools):
        entry = &snapshot.table.pools[i]
        if snapshot.pools[i].name == pool:
            state.complaint = why
            return eject(
                &snapshot.live.table, snapshot.live.clock.now_ms(), entry, &state.live)
    return False


def bind_parser(str library) -> str:
    """Let http use llhttp, which a loaded extension module exports: "" if it can, else why not."""
    return llhttp_bind(library)
