from fastlb._core.base.access cimport Access, BanLive
from fastlb._core.tables.clock cimport Clock
from fastlb._core.tables.room cimport Room
from fastlb._core.tables.states cimport Listener


cdef class Offences:
    cdef BanLive live
    cdef Clock _clock


cdef Access* access_table(Room room, Listener listener, object spec) except NULL
