# What all engines of one balancer share, and who is known to it.
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastlb._core.base.limits cimport ENGINES_MAX, FORGET_MS, PORTS, TIMER_SLOTS_MAX
from fastlb._core.base.live cimport LiveTable
from fastlb._core.base.observations cimport Series
from fastlb._core.base.questions cimport Question
from fastlb._core.base.sys cimport event_clear, event_open, event_set
from fastlb._core.ext.atomic cimport (
    fl_add32, fl_exchange32, fl_load32, fl_or32, fl_store32, fl_store_pointer,
)
from fastlb._core.ext.linux cimport close
from fastlb._core.facts.about cimport about_drop
from fastlb._core.tables.clock cimport Clock
from fastlb._core.tables.geography cimport Geography, Places
from fastlb._core.tables.names cimport Names
from fastlb._core.tables.networks cimport Network
from fastlb._core.tables.rates cimport RateLimit
from fastlb._core.tables.series cimport series_free
from fastlb._core.tables.states cimport Listener, Pool, Server, per_engine

import os
from weakref import WeakValueDictionary

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


cdef uint32_t _name_of(object one):
    if isinstance(one, Server):
        return (<Server> one).live.name
    return (<Pool> one).live.name if isinstance(one, Pool) else (<Listener> one).live.name


cdef list _alive(object known):
    """The values of a WeakValueDictionary, which others may change meanwhile."""
    return [one for one in [ref() for ref in known.valuerefs()] if one is not None]


cdef class Live:
    """The table that all engines of one balancer share. Outlives snapshots and engines."""

    def __cinit__(self, int engines):
        cdef int i
        if not 1 <= engines <= ENGINES_MAX:
            raise ValueError(f"1 to {ENGINES_MAX} engines, not {engines}")
        self.engines = engines
        self.clock = Clock()
        self.table.ahead_ns = &self.clock._ahead_ns
        self.names = Names()
        self._servers = {}
        self._pools, self._listeners = {}, {}
        self._rate_limits, self._networks = WeakValueDictionary(), WeakValueDictionary()
        self._forgotten = []
        self._slots = set()
        for i in range(ENGINES_MAX):
            self.table.wake_fds[i] = -1
        self.table.n_timers = 1         # slot 0 is off
        self.table.series = <Series*> per_engine(engines, sizeof(Series))
        # (pages of it are taken as sessions of udp begin)
        self.table.own_ports = <int32_t*> calloc(PORTS, sizeof(int32_t))
        if self.table.own_ports == NULL:
            raise MemoryError
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
            about_drop(&question.about)
            free(question)
            question = following
        for i in range(self.engines):
            if self.table.series != NULL:
                series_free(&self.table.series[i])
            if self.table.rings != NULL:
                free(self.table.rings[i].bytes)
        free(self.table.series)
        free(self.table.rings)
        free(self.table.own_ports)

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

    def was_full(self) -> bool:
        """Whether all of the process's places were taken since this was asked last."""
        return fl_exchange32(&self.table.full, 0) != 0

    @property
    def sessions(self) -> int:
        """Of udp, under way now."""
        return fl_load32(&self.table.sessions.count)

    def was_crowded(self) -> bool:
        """Whether sessions of udp have had no room since the last call."""
        return fl_exchange32(&self.table.crowded, 0) != 0

    @property
    def in_flight(self) -> int:
        return fl_load32(&self.table.connections.count)

    @cython.critical_section
    def server(self, str pool, str address) -> Server:
        cdef Server made
        key = (pool, address)
        if key not in self._servers:
            self._servers[key] = made = Server(pool, address, self.engines, self.clock)
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

    def rate_limit(self, str name) -> RateLimit:
        """It is forgotten with the last snapshot that names it."""
        cdef RateLimit made = self._rate_limits.get(name)
        if made is None:
            self._rate_limits[name] = made = RateLimit(name, self.engines, self.clock)
        return made

    def rate_limits(self) -> list[RateLimit]:
        return _alive(self._rate_limits)

    def network(self, str name) -> Network:
        """It is forgotten with the last snapshot that names it."""
        cdef Network made = self._networks.get(name)
        if made is None:
            self._networks[name] = made = Network(name, self.engines)
        return made

    def networks(self) -> list[Network]:
        return _alive(self._networks)

    def known_places(self) -> Places:
        """The places of databases, for those that are read."""
        if self.places is None:
            self.places = Places()
            self.table.places = self.places.all
        return self.places

    def use_geography(self, Geography made) -> Geography | None:
        """Replace what is known of where clients are; None: nothing. Returns what it was before,
        which the caller has to keep until every engine has begun another turn."""
        if made is not None and made.places is not self.places:
            raise ValueError("its places are those of another balancer")
        replaced, self.geography = self.geography, made
        fl_store_pointer(<void**> &self.table.geo, &made.table if made is not None else NULL)
        return replaced

    def notify(self) -> None:
        """Something was changed in here by somebody else than an engine."""
        live_notify(&self.table)

    def cut(self, Server server) -> None:
        """Reset what a server still has under way."""
        fl_store32(&server.live.cut, 1)
        fl_add32(&self.table.cuts, 1)
        live_wake_engines(&self.table)

    def wake_pending(self) -> None:
        """Servers have changed: let those who wait for a place look again."""
        if any(pool.pending for pool in self._pools.values()):
            live_wake_engines(&self.table)

    @cython.critical_section
    cdef Pool known_pool(self, str name):
        """None where there is none."""
        return self._pools.get(name)

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

    def keep(self, servers: set[Server], pools: set[Pool], listeners: set[Listener],
             uint64_t now_ms=0) -> None:
        """Forget whatever no snapshot names (these do) and no connection uses. `now_ms`: by a clock
        of the caller's."""
        now_ms = now_ms or self.clock.now_ms()
        known = [*self.servers(), *self.pools(), *self.listeners()]
        self._replace(
            {(s.pool, s.address): s for s in self.servers()
             if s in servers or s.in_flight or s.idle},
            {p.name: p for p in self.pools() if p in pools or p.in_flight or p.retrying},
            {n.name: n for n in self.listeners() if n in listeners or n.in_flight})
        kept = {*self.servers(), *self.pools(), *self.listeners()}
        # An engine that gave the last place back may still be looking whether anybody waits.
        self._forgotten = [one for one in self._forgotten if now_ms - one[0] < FORGET_MS]
        left = [one for one in known if one not in kept]
        self._forgotten += [(now_ms, one) for one in left]
        for one in left:
            self.names.let_go(_name_of(one), now_ms)
        self.names.sweep(now_ms)

    @property
    def n_names(self) -> int:
        """How many names of servers, pools, listeners and routes are known."""
        return self.names.count

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
