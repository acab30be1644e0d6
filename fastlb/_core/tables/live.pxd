from fastlb._core.base.live cimport LiveTable
from fastlb._core.tables.clock cimport Clock
from fastlb._core.tables.geography cimport Geography, Places
from fastlb._core.tables.names cimport Names
from fastlb._core.tables.states cimport Pool


cdef class Live:
    cdef LiveTable table
    cdef readonly int engines
    cdef readonly Names names
    cdef readonly Clock clock
    cdef readonly Places places     # None: there never was a database
    cdef readonly Geography geography
    cdef dict _servers
    cdef dict _pools
    cdef dict _listeners
    cdef object _rate_limits        # by name, as long as a snapshot has it; and likewise
    cdef object _networks
    cdef set _slots                 # of timeouts, taken by the snapshot that is being made
    cdef list _forgotten            # (since when, what): given back a little later
    cdef int timer_slot(self, unsigned int length_ms) except -1
    cdef Pool known_pool(self, str name)


cdef void live_wake_engines(LiveTable* table) noexcept nogil
cdef void live_notify(LiveTable* table) noexcept nogil
cdef void live_ask(LiveTable* table) noexcept nogil
