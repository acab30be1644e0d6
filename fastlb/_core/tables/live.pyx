from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from fastlb._core.base.asking cimport Question
from fastlb._core.base.enums cimport (
    CONDITION_DOWN, CONDITION_DRAINING, CONDITION_MAINTENANCE, CONDITION_OUT, CONDITION_REMOVED,
    CONDITION_WARMING,
    SERVER_EJECTED, SERVER_FAILING, SERVER_UP,
)
from fastlb._core.base.limits cimport ENGINES_MAX, FORGET_MS, SHARE_ONE, TIMER_SLOTS_MAX
from fastlb._core.base.sys cimport clock_ms, event_clear, event_open, event_set
from fastlb._core.base.observed cimport Histogram, Series
from fastlb._core.base.parts cimport Budget, Delays, ListenerCounters, ProbePool, ServerCounters
from fastlb._core.base.types cimport IdleList, LiveTable, PendingQueue, ServerLive
from fastlb._core.ext.atomic cimport (
    fl_add32, fl_and32, fl_exchange32, fl_load32, fl_load64, fl_or32, fl_read, fl_store32,
    fl_store64,
)
from fastlb._core.ext.linux cimport aligned_alloc, close
from fastlb._core.tables.histogram cimport Times, histogram_free
from fastlb._core.tables.names cimport Names
from fastlb._core.tables.series cimport series_free

import os

cimport cython


cdef enum:                      # bits of LiveTable.changed
    CHANGED = 1
    ASKED = 2


cdef void live_wake_engines(LiveTable* table) noexcept nogil:
    """Make every engine take a turn: a snapshot was published, or a gate has room again."""
    cdef int i
    for i in range(ENGINES_MAX):
        if table.wake_fds[i] >= 0:
            event_set(table.wake_fds[i])


cdef void live_notify(LiveTable* table) noexcept nogil:
    """Tell the control plane that a state in here changed; it looks for itself which."""
    _notify(table, CHANGED)


cdef void live_ask(LiveTable* table) noexcept nogil:
    """Tell the control plane that there are questions."""
    _notify(table, ASKED)


cdef void _notify(LiveTable* table, int what) noexcept nogil:
    if fl_or32(&table.changed, what) == 0:
        event_set(table.notify_fd)


cdef void live_warm(ServerLive* live, uint64_t now_ms) noexcept nogil:
    """It has come up: where its pool starts slowly, it gets less for a while."""
    if live.slow_start_ms:
        fl_store64(&live.warm_since_ms, now_ms)
        fl_or32(&live.conditions, CONDITION_WARMING)


cdef void* per_engine(size_t n, size_t size) except NULL:
    """One for each engine, in cache lines of their own."""
    cdef void* block
    if size % 64:
        raise ValueError(f"{size} bytes are no whole cache lines")
    block = aligned_alloc(64, n * size)
    if block == NULL:
        raise MemoryError
    memset(block, 0, n * size)
    return block


# The counters of a server and of a listener, in the order of their structs (base/parts).
_OF_SERVERS = ("connections", "connect_failures", "bytes_to_server", "bytes_to_client", "requests",
               "errors", "reused", "latency_us")
_OF_LISTENERS = ("accepted", "closed", "refused", "requests", "unanswered",
                 *[f"answers_{digit}xx" for digit in range(1, 6)], "bytes_in", "bytes_out")


cdef dict _sums(const void* counters, size_t size, int engines, tuple names):
    """Of the counters of all engines, which have one block of that size each."""
    cdef const char* block = <const char*> counters
    cdef size_t k
    cdef int i
    cdef uint64_t sum
    totals = {}
    for k in range(<size_t> len(names)):
        sum = 0
        for i in range(engines):
            sum += fl_read(<const uint64_t*> (block + i * size) + k)
        totals[names[k]] = sum
    return totals


cdef class Server:
    """What is known of one address of a pool, by all engines together."""

    def __cinit__(self, str pool, str address, int engines):
        self.pool = pool
        self.address = address
        self.live.counters = <ServerCounters*> per_engine(engines, sizeof(ServerCounters))
        self.live.idle_lists = <IdleList*> per_engine(engines, sizeof(IdleList))
        self.live.first_bytes = <Histogram*> per_engine(engines, sizeof(Histogram))
        self._engines = engines

    def __dealloc__(self):
        cdef int i
        free(self.live.counters)
        free(self.live.idle_lists)
        if self.live.first_bytes != NULL:
            for i in range(self._engines):
                histogram_free(&self.live.first_bytes[i])
        free(self.live.first_bytes)

    @property
    def in_flight(self) -> int:
        return fl_load32(&self.live.connections.count)

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return fl_load32(&self.live.idle)

    @property
    def latency_us(self) -> float:
        """What peak_ewma last knew; 0 if nothing was measured."""
        cdef uint64_t word = fl_load64(&self.live.latency)
        cdef uint32_t bits = <uint32_t> (word >> 32)
        cdef float average
        memcpy(&average, &bits, 4)
        return average

    def first_bytes(self) -> Times:
        """Of http: how long it was from a request's head to the answer's."""
        times = Times()
        cdef int i
        for i in range(self._engines):
            times.add(&self.live.first_bytes[i])
        return times

    @property
    def down(self) -> bool:
        """Whether health checks found it down; set by them."""
        return fl_load32(&self.live.conditions) & CONDITION_DOWN != 0

    @down.setter
    def down(self, bint down):
        self._mark(CONDITION_DOWN, down)

    @property
    def draining(self) -> bool:
        """Whether it keeps whom it has, and gets nobody else."""
        return fl_load32(&self.live.conditions) & CONDITION_DRAINING != 0

    @property
    def maintenance(self) -> bool:
        """Whether nobody is sent there, nor looks whether it is well."""
        return fl_load32(&self.live.conditions) & CONDITION_MAINTENANCE != 0

    @property
    def warming(self) -> bool:
        """Whether it has just come up, and gets less for a while."""
        return fl_load32(&self.live.conditions) & CONDITION_WARMING != 0

    @property
    def state(self) -> str:
        """What matters most of it."""
        if self.removed:
            return "removed"
        if self.maintenance:
            return "maintenance"
        if self.draining:
            return "draining"
        if self.down:
            return "down"
        if self.ejection is not None:
            return "ejected"
        if self.failing:
            return "failing"
        return "warming" if self.warming else "up"

    @property
    def usable(self) -> bool:
        """Whether clients are sent there as its weight says."""
        return (fl_load32(&self.live.conditions) & CONDITION_OUT == 0
                and fl_load32(&self.live.state) == SERVER_UP)

    @property
    def removed(self) -> bool:
        """Whether its pool has it no more: what is under way may end, and nobody else comes."""
        return fl_load32(&self.live.conditions) & CONDITION_REMOVED != 0

    def remove(self) -> None:
        """Its pool has it no more."""
        self.chosen = None
        self._mark(CONDITION_REMOVED, True)

    def cut(self, Live live) -> None:
        """Reset what is still under way."""
        fl_store32(&self.live.cut, 1)
        fl_add32(&live.table.cuts, 1)
        live_wake_engines(&live.table)

    def configure(self, str state) -> None:
        """A pool has it. What the configuration wants of it ("up", "draining", "maintenance"),
        unless somebody has said otherwise since."""
        fl_store32(&self.live.cut, 0)
        self._mark(CONDITION_REMOVED, False)
        if self.chosen is None:
            self._enter(state)

    def reset(self, str state) -> None:
        """What somebody wanted of it counts no more; the configuration does."""
        self.chosen = None
        self._enter(state)

    def choose(self, str state) -> None:
        """What somebody wants of it while it runs; that outlives a reload."""
        self.chosen = state
        self._enter(state)

    def _enter(self, str state) -> None:
        self._mark(CONDITION_DRAINING, state == "draining")
        self._mark(CONDITION_MAINTENANCE, state == "maintenance")

    cdef void _mark(self, int condition, bint holds):
        cdef int before
        if holds:
            fl_or32(&self.live.conditions, condition)
            return
        before = fl_and32(&self.live.conditions, ~condition)
        if before & condition and not before & CONDITION_OUT & ~condition:
            live_warm(&self.live, clock_ms())

    def warm(self) -> None:
        """It is new in a pool that is served already."""
        live_warm(&self.live, clock_ms())

    def report(self, int in_flight, double latency_ms) -> None:
        """What the server says of itself: all that it has in flight, and how long that takes."""
        cdef uint32_t ours = <uint32_t> max(fl_load32(&self.live.connections.count), 0)
        fl_store64(&self.live.report, <uint64_t> in_flight << 32 | ours)
        fl_store64(&self.live.report_us, <uint64_t> (latency_ms * 1000))
        fl_store64(&self.live.report_at_ms, clock_ms())

    @property
    def failing(self) -> bool:
        return fl_load32(&self.live.state) == SERVER_FAILING

    @property
    def ejection(self) -> tuple[float, int] | None:
        """For how many seconds it is left out, and until when by the engines' clock (ms)."""
        if fl_load32(&self.live.state) != SERVER_EJECTED:
            return None
        return self.live.ejected_ms / 1000, fl_load64(&self.live.ejected_until_ms)

    @property
    def error(self) -> str:
        """Why the last failed connect failed, in the system's words; "" if none did."""
        cdef int number = fl_load32(&self.live.error)
        return os.strerror(number) if number else ""

    def totals(self) -> dict[str, int]:
        return _sums(self.live.counters, sizeof(ServerCounters), self._engines, _OF_SERVERS)


cdef class Pool:
    """What is known of one pool, by all engines together."""

    def __cinit__(self, str name, int engines):
        self.name = name
        self.live.budgets = <Budget*> per_engine(engines, sizeof(Budget))
        self.live.hedge_budgets = <Budget*> per_engine(engines, sizeof(Budget))
        self.live.delays = <Delays*> per_engine(engines, sizeof(Delays))
        self.live.probes = <ProbePool*> per_engine(engines, sizeof(ProbePool))
        self.live.queues = <PendingQueue*> per_engine(engines, sizeof(PendingQueue))

    def __dealloc__(self):
        free(self.live.budgets)
        free(self.live.hedge_budgets)
        free(self.live.delays)
        free(self.live.probes)
        free(self.live.queues)

    @property
    def down(self) -> bool:
        """Whether no server answered the last client."""
        return fl_load32(&self.live.down) != 0

    @property
    def in_flight(self) -> int:
        """Requests, or connections of tcp; 0 where nothing needs them counted."""
        return fl_load32(&self.live.in_flight.count)

    @property
    def pending(self) -> int:
        """Those that wait for a place."""
        return fl_load32(&self.live.pending.count)

    @property
    def retrying(self) -> int:
        """Those that are being retried, where that is limited."""
        return fl_load32(&self.live.retries.count)

    def share(self, list shares) -> None:
        """What each group gets, of 1 in all; see control/spread."""
        cdef double sum = 0
        cdef int i
        for i in range(len(shares)):
            sum += shares[i]
            fl_store32(&self.live.shares[i], <int32_t> (sum * SHARE_ONE + 0.5))

    @property
    def panic(self) -> bool:
        """Whether so few servers are up that all are used; set by the control plane."""
        return fl_load32(&self.live.panic) != 0

    @panic.setter
    def panic(self, bint panic):
        fl_store32(&self.live.panic, panic)


cdef class Listener:
    """What is known of one listener, by all engines together."""

    def __cinit__(self, str name, int engines):
        self.name = name
        self.live.counters = <ListenerCounters*> per_engine(engines, sizeof(ListenerCounters))
        self._engines = engines

    def __dealloc__(self):
        free(self.live.counters)

    @property
    def in_flight(self) -> int:
        return fl_load32(&self.live.connections.count)

    def totals(self) -> dict[str, int]:
        return _sums(self.live.counters, sizeof(ListenerCounters), self._engines, _OF_LISTENERS)


cdef class Live:
    """The table that all engines of one balancer share. Outlives snapshots and engines."""

    def __cinit__(self, int engines):
        cdef int i
        if not 1 <= engines <= ENGINES_MAX:
            raise ValueError(f"1 to {ENGINES_MAX} engines, not {engines}")
        self.engines = engines
        self.names = Names()
        self._servers = {}
        self._pools, self._listeners = {}, {}
        self._forgotten = []
        self._slots = set()
        for i in range(ENGINES_MAX):
            self.table.wake_fds[i] = -1
        self.table.n_timers = 1         # slot 0 is off
        self.table.series = <Series*> per_engine(engines, sizeof(Series))
        self.table.reader_fd = -1
        self.table.notify_fd = event_open()
        if self.table.notify_fd < 0:
            raise OSError(-self.table.notify_fd, os.strerror(-self.table.notify_fd))

    def __dealloc__(self):
        cdef int i
        cdef Question* question = <Question*> <size_t> self.table.questions
        cdef Question* following
        self.close()
        while question != NULL:         # of engines that have ended
            following = question.next
            free(question)
            question = following
        for i in range(self.engines):
            if self.table.series != NULL:
                series_free(&self.table.series[i])
            if self.table.rings != NULL:
                free(self.table.rings[i].bytes)
        free(self.table.series)
        free(self.table.rings)

    def close(self) -> None:
        """Close the notification; engines must be closed before."""
        if self.table.notify_fd >= 0:
            close(self.table.notify_fd)
            self.table.notify_fd = -1

    @property
    def notify_fd(self) -> int:
        """Becomes readable when a server's or pool's state changed: see `changed`."""
        return self.table.notify_fd

    def changed(self) -> tuple[bool, bool]:
        """Whether a state changed since the last call, and whether there are questions to policies.
        Makes `notify_fd` unreadable again."""
        cdef int what
        event_clear(self.table.notify_fd)
        what = fl_exchange32(&self.table.changed, 0)
        return what & CHANGED != 0, what & ASKED != 0

    @property
    def descriptors_out(self) -> bool:
        """Whether an engine has stopped accepting because descriptors ran out."""
        return fl_load32(&self.table.descriptors_out) > 0

    @property
    def in_flight(self) -> int:
        return fl_load32(&self.table.connections.count)

    @cython.critical_section
    def server(self, str pool, str address) -> Server:
        cdef Server made
        key = (pool, address)
        if key not in self._servers:
            self._servers[key] = made = Server(pool, address, self.engines)
            made.live.name = self.names.id(address)
        return self._servers[key]

    @cython.critical_section
    def pool(self, str name) -> Pool:
        cdef Pool made
        if name not in self._pools:
            self._pools[name] = made = Pool(name, self.engines)
            made.live.name = self.names.id(name)
        return self._pools[name]

    @cython.critical_section
    def listener(self, str name) -> Listener:
        cdef Listener made
        if name not in self._listeners:
            self._listeners[name] = made = Listener(name, self.engines)
            made.live.name = self.names.id(name)
        return self._listeners[name]

    def notify(self) -> None:
        """Something was changed in here by somebody else than an engine."""
        live_notify(&self.table)

    def wake_pending(self) -> None:
        """Servers have changed: let those who wait for a place look again."""
        if any(pool.pending for pool in self._pools.values()):
            live_wake_engines(&self.table)

    @cython.critical_section
    def has_pool(self, str name) -> bool:
        return name in self._pools

    @cython.critical_section
    def knows(self, str pool, str address) -> bool:
        return (pool, address) in self._servers

    @cython.critical_section
    def servers(self) -> list[Server]:
        return list(self._servers.values())

    @cython.critical_section
    def pools(self) -> list[Pool]:
        return list(self._pools.values())

    @cython.critical_section
    def listeners(self) -> list[Listener]:
        return list(self._listeners.values())

    def keep(self, servers: set[Server], pools: set[Pool], listeners: set[Listener]) -> None:
        """Forget whatever no snapshot names (these do) and no connection uses."""
        now_ms = clock_ms()
        known = [*self.servers(), *self.pools(), *self.listeners()]
        self._replace(
            {(s.pool, s.address): s for s in self.servers()
             if s in servers or s.in_flight or s.idle},
            {p.name: p for p in self.pools() if p in pools or p.in_flight or p.retrying},
            {n.name: n for n in self.listeners() if n in listeners or n.in_flight})
        kept = {*self.servers(), *self.pools(), *self.listeners()}
        # An engine that gave the last place back may still be looking whether anybody waits.
        self._forgotten = [one for one in self._forgotten if now_ms - one[0] < FORGET_MS]
        self._forgotten += [(now_ms, one) for one in known if one not in kept]

    @cython.critical_section
    def _replace(self, dict servers, dict pools, dict listeners) -> None:
        self._servers, self._pools, self._listeners = servers, pools, listeners

    cdef int timer_slot(self, unsigned int length_ms) except -1:
        """The slot of the timer list for this length; 0 is the slot of timeouts that are off."""
        cdef int i = 0
        if length_ms == 0:
            return 0
        for i in range(1, self.table.n_timers):
            if self.table.timer_ms[i] == length_ms:
                self._slots.add(i)
                return i
        for i in range(1, self.table.n_timers + 1):
            if i == TIMER_SLOTS_MAX:
                raise ValueError(f"more than {TIMER_SLOTS_MAX - 1} different timeouts")
            if i == self.table.n_timers or self.table.timer_ms[i] == 0:
                break
        self.table.timer_ms[i] = length_ms
        if i == self.table.n_timers:
            self.table.n_timers += 1    # engines read it after the snapshot that names the slot
        self._slots.add(i)
        return i

    @property
    def slots_left(self) -> int:
        """How many more lengths of timeouts there can be."""
        cdef int i
        return TIMER_SLOTS_MAX - 1 - sum(
            [self.table.timer_ms[i] != 0 for i in range(1, self.table.n_timers)])

    def timeouts_ms(self) -> list[int]:
        """The lengths of timeouts that are known now."""
        cdef int i
        return [self.table.timer_ms[i] for i in range(1, self.table.n_timers)
                if self.table.timer_ms[i]]

    def free_slots(self, set used) -> None:
        """Lengths of timeouts that no snapshot names and no engine uses (these are) may go."""
        cdef int i
        for i in range(1, self.table.n_timers):
            if i not in used:
                self.table.timer_ms[i] = 0
