from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.live cimport ListenerLive, LiveTable
from fastlb._core.base.parts cimport (
    Budget, Delays, ListenerCounters, ProbePool, ServerCounters,
)
from fastlb._core.base.types cimport (
    Core, Exchange, Group, PendingQueue, PoolEntry, PoolLive, ServerEntry, ServerLive,
)
from fastlb._core.base.types cimport Snapshot as SnapshotTable
from fastlb._core.tables.geography cimport Geography
from fastlb._core.tables.snapshot cimport Snapshot

cdef struct Own:                # what a pool has for each engine, here for the only one
    Budget budget
    Budget hedge_budget
    Delays delays
    ProbePool probes
    PendingQueue queue


cdef class Rehearsal:
    cdef Snapshot _snapshot
    cdef Core* core
    cdef Exchange* x
    cdef SnapshotTable table            # like the snapshot's, with states of its own
    cdef ServerEntry* _servers          # of all pools, one after the other; likewise the others
    cdef Group* _groups
    cdef ServerLive* _lives
    cdef ServerLive* _before            # as they were copied
    cdef PoolLive* _pools
    cdef Own* _owns
    cdef LiveTable _live
    cdef Geography _geography           # that _live points to
    cdef ListenerLive _listener
    cdef ListenerCounters _listener_counters
    cdef ServerCounters _server_counters
    cdef uint32_t n_servers
    cdef void _take(self) except *
    cdef void _lay_out(self) noexcept
    cdef void _copy_pool(self, uint32_t i) noexcept nogil
    cdef Exchange* begin(self, uint32_t bind) noexcept nogil
    cdef void end(self) noexcept nogil
    cdef int receive(self, const uint8_t* data, uint32_t size) noexcept nogil
    cdef bint denies(self) noexcept nogil
    cdef int pick(self) noexcept nogil
    cdef void put_back(self) noexcept nogil
    cdef void restore(self) noexcept nogil
    cdef uint32_t server_at(self, const ServerEntry* entry) noexcept nogil


cdef void* room(size_t n, size_t size) except NULL
