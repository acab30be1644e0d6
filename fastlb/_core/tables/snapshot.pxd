# One immutable, compiled configuration, as the engines read it.
from libc.stdint cimport uint32_t

from fastlb._core.base.types cimport Snapshot as SnapshotTable
from fastlb._core.base.parts cimport Hedge, ProxyEntry, ServerAddress, Speeds, TlsEntry
from fastlb._core.base.sessions cimport DatagramEntry
from fastlb._core.base.types cimport Group, PoolEntry, ServerEntry
from fastlb._core.tables.contexts cimport TlsContext
from fastlb._core.tables.room cimport Room
from fastlb._core.tables.live cimport Live
from fastlb._core.tables.states cimport Server


cdef class Snapshot:
    cdef SnapshotTable table
    cdef readonly Live live
    cdef readonly tuple servers
    cdef readonly tuple pools
    cdef readonly tuple listeners
    cdef readonly frozenset slots   # of timeouts
    cdef Room _room
    cdef DatagramEntry _of_servers  # what all listeners of udp have in common
    cdef dict _http                 # the tables of http listeners, by name
    cdef list _known                # servers and how they are to be, while it is made
    cdef list _configured
    cdef dict _accesses             # whom listeners let in, by name
    cdef dict _sniffed              # and of tcp listeners whose clients' first bytes are looked at
    cdef int _add_pool(self, int index, object spec) except -1
    cdef TlsEntry* _secured(self, TlsContext context) noexcept
    cdef ProxyEntry* _proxied(self, object spec) except NULL
    cdef Speeds* _speeds(self, object spec) except NULL
    cdef int _add_hedge(self, Hedge* hedge, object spec) except -1
    cdef int _add_sticky(self, PoolEntry* pool, object spec) except -1
    cdef int _add_group(self, PoolEntry* pool, Group* group, object spec, object part) except -1
    cdef int _fill_maglev(self, Group* group, uint32_t size) except -1
    cdef int _add_server(self, str pool, ServerEntry* entry, object spec,
                         uint32_t slow_start_ms) except -1
    cdef int _configure(self, Server state, object spec, uint32_t slow_start_ms,
                        bint is_new) except -1
    cdef DatagramEntry* _datagrams(self, object spec) except NULL
    cdef int _add_of_servers(self, DatagramEntry* udp) except -1
    cdef int _add_bind(self, int index, object spec) except -1


cdef uint32_t pack_address(object address, ServerAddress* into) except 0
