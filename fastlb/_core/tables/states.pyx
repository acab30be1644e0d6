# What is known of servers, pools and listeners while snapshots come and go. The control plane and
# engines set it; engines see the structs inside.
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from fastlb._core.base.enums cimport (
    CONDITION_DOWN, CONDITION_DRAINING, CONDITION_MAINTENANCE, CONDITION_OUT, CONDITION_REMOVED,
    CONDITION_WARMING, SERVER_EJECTED, SERVER_FAILING, SERVER_UP,
)
from fastlb._core.base.limits cimport SHARE_ONE
from fastlb._core.base.observations cimport Histogram
from fastlb._core.base.parts cimport Budget, Delays, ListenerCounters, ProbePool, ServerCounters
from fastlb._core.base.sources cimport Sources, sources_open
from fastlb._core.base.tls cimport tls_words
from fastlb._core.base.types cimport IdleList, PendingQueue, ServerLive
from fastlb._core.ext.atomic cimport (
    fl_and32, fl_exchange32, fl_load32, fl_load64, fl_or32, fl_read, fl_store32, fl_store64,
)
from fastlb._core.ext.linux cimport aligned_alloc
from fastlb._core.tables.histogram cimport Times, histograms_free

import os
import socket
import sys

cimport cython


cdef enum:
    MEAN_MS = 1000              # of requests, at least, before their mean is taken anew


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
                 *[f"answers_{digit}xx" for digit in range(1, 6)], "bytes_in", "bytes_out",
                  "datagrams_in", "datagrams_out", "datagrams_dropped", "full", "held", "not_held",
                  "held_reported", "source_rate", "source_rate_reported", "handshakes_full",
                  "too_slow", "too_slow_reported")


cdef dict sums(const void* counters, size_t size, int engines, tuple names):
    """Return the counters by name, added up over all engines. Each has a block of `size` bytes."""
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

    def __cinit__(self, str pool, str address, int engines, Clock clock):
        self.pool = pool
        self.address = address
        self._clock = clock
        self.live.counters = <ServerCounters*> per_engine(engines, sizeof(ServerCounters))
        self.live.idle_lists = <IdleList*> per_engine(engines, sizeof(IdleList))
        self.live.first_bytes = <Histogram*> per_engine(engines, sizeof(Histogram))
        self._engines = engines

    def __dealloc__(self):
        free(self.live.counters)
        free(self.live.idle_lists)
        histograms_free(self.live.first_bytes, self._engines)

    @property
    def in_flight(self) -> int:
        return fl_load32(&self.live.connections.count)

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return fl_load32(&self.live.idle)

    @property
    def latency_us(self) -> float:
        """How long answers took of late: what peak_ewma last knew, or else the mean of the times to
        the first byte since somebody asked a second ago or longer. 0 if nothing was measured."""
        cdef uint64_t word = fl_load64(&self.live.latency)
        cdef uint32_t bits = <uint32_t> (word >> 32)
        cdef float average
        memcpy(&average, &bits, 4)
        return average if average > 0 else self._mean_us()

    @cython.critical_section
    cdef double _mean_us(self):
        cdef uint64_t count = 0, sum_ns = 0, now_ms = self._clock.now_ms()
        cdef int i
        if self._mean_at_ms and now_ms < self._mean_at_ms + MEAN_MS:
            return self._mean
        for i in range(self._engines):
            count += fl_read(&self.live.first_bytes[i].count)
            sum_ns += fl_read(&self.live.first_bytes[i].sum_ns)
        if count > self._counted:
            self._mean = <double> (sum_ns - self._summed_ns) / (count - self._counted) / 1000
            self._counted, self._summed_ns, self._mean_at_ms = count, sum_ns, now_ms
        return self._mean

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
        if self.warming:
            return "warming"
        return "up" if self.checked or self._was_reached() else "unchecked"

    cdef bint _was_reached(self):
        """Whether any connection to it was ever made."""
        cdef int i
        for i in range(self._engines):
            if fl_read(&self.live.counters[i].connections) > 0:
                return True
        return False

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
            live_warm(&self.live, self._clock.now_ms())

    def warm(self) -> None:
        """It is new in a pool that is served already."""
        live_warm(&self.live, self._clock.now_ms())

    def report(self, int in_flight, double latency_ms) -> None:
        """What the server says of itself: all that it has in flight, and how long that takes."""
        cdef uint32_t ours = <uint32_t> max(fl_load32(&self.live.connections.count), 0)
        fl_store64(&self.live.report, <uint64_t> in_flight << 32 | ours)
        fl_store64(&self.live.report_us, <uint64_t> (latency_ms * 1000))
        fl_store64(&self.live.report_at_ms, self._clock.now_ms())

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
        """Why the last failed connect failed, in the system's words or a check's; "" if none
        did."""
        cdef int number = fl_load32(&self.live.error)
        if number < 0:
            return tls_words(number)
        return os.strerror(number) if number else ""

    def take_large_head(self) -> int:
        """How large the last response's head or trailers were that went beyond the limit, at
        least; 0: none did since this was last asked."""
        return fl_exchange32(&self.live.large_head, 0)

    def totals(self) -> dict[str, int]:
        return sums(self.live.counters, sizeof(ServerCounters), self._engines, _OF_SERVERS)


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


cdef int _count_by_source(Sources* sources) except -1:
    if sources.places == NULL and not sources_open(
            sources, int.from_bytes(os.urandom(8), "little")):
        raise MemoryError
    return 0


cdef str source_text(uint64_t source):
    """An IPv4 address, or a /64 of IPv6: see base/source."""
    packed = source.to_bytes(8, sys.byteorder)
    if source >> 32 == 0xFFFF:
        return socket.inet_ntop(socket.AF_INET, packed[:4])
    return f"{socket.inet_ntop(socket.AF_INET6, packed + bytes(8))}/64"


cdef class Listener:
    """What is known of one listener, by all engines together."""

    def __cinit__(self, str name, int engines):
        self.name = name
        self.live.counters = <ListenerCounters*> per_engine(engines, sizeof(ListenerCounters))
        self._engines = engines

    def __dealloc__(self):
        free(self.live.counters)
        free(self.live.sources.places)
        free(self.live.handshakes.places)

    cdef int count_sources(self) except -1:
        """Count sessions or connections by source, from now on."""
        return _count_by_source(&self.live.sources)

    cdef int count_handshakes(self) except -1:
        """Count TLS handshakes by source, from now on."""
        return _count_by_source(&self.live.handshakes)

    @property
    def in_flight(self) -> int:
        return fl_load32(&self.live.connections.count)

    def was_full(self) -> bool:
        """Whether all places were taken since this was asked last."""
        return fl_exchange32(&self.live.full, 0) != 0

    @property
    def held(self) -> int:
        """Connections in its tarpit now."""
        return fl_load32(&self.live.held.count)

    @property
    def handshakes(self) -> int:
        """TLS handshakes under way; 0 where nothing needs them counted."""
        return fl_load32(&self.live.shaking.count)

    def refused_source(self) -> str | None:
        """The last source that a limit of connections or handshakes has refused; None: there was
        none since this was asked last."""
        if fl_exchange32(&self.live.refusing, 0) == 0:
            return None
        return source_text(fl_load64(&self.live.refused_source))

    def totals(self) -> dict[str, int]:
        return sums(self.live.counters, sizeof(ListenerCounters), self._engines, _OF_LISTENERS)
