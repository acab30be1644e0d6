from fastlb._core.base.routing cimport SniffTable
from fastlb._core.tables.room cimport Room


cdef SniffTable* sniff_table(Room room, object spec, int n_binds) except NULL
