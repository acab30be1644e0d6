from libc.stdint cimport uint8_t

from fastlb._core.base.types cimport Core, Snapshot

cdef void close_idle_clients(Core* core, bint gone_only) noexcept nogil
cdef void keep_for_crossing(Core* core, Snapshot* following) noexcept nogil
cdef void end_all(Core* core) noexcept nogil
cdef void end_cut(Core* core) noexcept nogil
cdef void mark_slots(Core* core, uint8_t* used) noexcept nogil
cdef void part_websockets(Core* core) noexcept nogil
