# What changes while snapshots come and go: the state of servers and pools, and what engines share.
from libc.stdint cimport uint64_t

from fastlb._core.base.types cimport ListenerLive, LiveTable, PoolLive, ServerLive


cdef class Server:
    cdef ServerLive live
    cdef readonly str pool
    cdef readonly str address
    cdef readonly str chosen        # what somebody wanted of it while it ran; None: nobody
    cdef readonly int weight        # in the latest snapshot that named it
    cdef public str complaint       # why it was ejected last; None: failures in a row
    cdef int _engines
    cdef void _mark(self, int condition, bint holds)


cdef class Pool:
    cdef PoolLive live
    cdef readonly str name


cdef class Listener:
    cdef ListenerLive live
    cdef readonly str name
    cdef int _engines


cdef class Live:
    cdef LiveTable table
    cdef readonly int engines
    cdef dict _servers
    cdef dict _pools
    cdef dict _listeners
    cdef set _slots                 # of timeouts, taken by the snapshot that is being made
    cdef list _forgotten            # (since when, what): given back a little later
    cdef int timer_slot(self, unsigned int length_ms) except -1


cdef void* per_engine(size_t n, size_t size) except NULL
cdef void live_wake_engines(LiveTable* table) noexcept nogil
cdef void live_notify(LiveTable* table) noexcept nogil
cdef void live_ask(LiveTable* table) noexcept nogil
cdef void live_warm(ServerLive* live, uint64_t now_ms) noexcept nogil
