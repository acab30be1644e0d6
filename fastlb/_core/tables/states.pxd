from libc.stdint cimport uint64_t

from fastlb._core.base.live cimport ListenerLive
from fastlb._core.base.types cimport PoolLive, ServerLive
from fastlb._core.tables.clock cimport Clock


cdef class Server:
    cdef ServerLive live
    cdef readonly str pool
    cdef readonly str address
    cdef readonly str chosen        # what somebody wanted of it while it ran; None: nobody
    cdef readonly int weight        # in the latest snapshot that named it
    cdef public bint checked        # a health check has found out how it is
    cdef public str complaint       # why it was ejected last; None: failures in a row
    cdef int _engines
    cdef Clock _clock
    cdef double _mean               # see latency_us: microseconds, of the requests before
    cdef uint64_t _mean_at_ms, _counted, _summed_ns
    cdef double _mean_us(self)
    cdef bint _was_reached(self)
    cdef void _mark(self, int condition, bint holds)


cdef class Pool:
    cdef PoolLive live
    cdef readonly str name


cdef class Listener:
    cdef public object offences         # tables/access.Offences; None: nobody is banned
    cdef ListenerLive live
    cdef readonly str name
    cdef int _engines
    cdef int count_sources(self) except -1
    cdef int count_handshakes(self) except -1


cdef str source_text(uint64_t source)
cdef dict sums(const void* counters, size_t size, int engines, tuple names)
cdef void* per_engine(size_t n, size_t size) except NULL
cdef void live_warm(ServerLive* live, uint64_t now_ms) noexcept nogil
