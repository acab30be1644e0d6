# What all engines share, outside of any exchange. See tables/live.
from libc.stdint cimport int32_t, uint32_t, uint64_t

from fastlb._core.base.gate cimport Gate
from fastlb._core.base.limits cimport ENGINES_MAX, TIMER_SLOTS_MAX
from fastlb._core.base.observations cimport Ring, Series
from fastlb._core.base.parts cimport ListenerCounters
from fastlb._core.base.places cimport GeoTable, Place
from fastlb._core.base.sources cimport Sources

cdef struct ListenerLive:
    Gate connections
    ListenerCounters* counters  # [engine]
    int32_t full                # its places were all taken since the control plane looked last
    uint32_t name
    Sources sources             # connections or sessions of each
    Sources handshakes          # of TLS, of each
    Gate shaking                # handshakes of all of them
    Gate held                   # in its tarpit
    int32_t refusing            # somebody was refused by a limit since the control plane looked,
    uint64_t refused_source     # who is here: see base/source

cdef struct LiveTable:
    uint64_t* ahead_ns          # of the clock: see base/clock
    void* published             # Snapshot*
    Gate connections
    Gate sessions               # of udp, which are connections too
    int32_t crowded             # they have had no room since somebody looked
    int notify_fd               # wakes the control plane: something in here changed
    uint64_t questions          # Question*: to policies that run there, the latest first
    int32_t changed
    int32_t descriptors_out     # an engine ran out of them
    int32_t full                # as in ListenerLive, of the process
    int wake_fds[ENGINES_MAX]   # -1: no such engine
    uint32_t timer_ms[TIMER_SLOTS_MAX]
    int32_t n_timers
    Series* series              # [engine]
    Ring* rings                 # [engine]; NULL: nobody has asked for records yet
    int32_t recording           # somebody wants them, and
    uint64_t recorded           # of facts, these: a bit for each place
    int32_t traced              # requests get spans of ours
    uint64_t traced_share       # of 2^32, of those that nobody has decided about
    int32_t reader              # ReaderState
    int reader_fd               # wakes it
    int32_t cuts                # how often servers were cut
    GeoTable* geo               # where clients are; NULL: nobody knows. It is replaced as a whole
    const Place* places         # by their numbers; NULL: there never was a database
    int32_t* own_ports          # [65536] udp: a hash of the address that sends from it; 0: nobody
