from fastlb._core.base.routing cimport SniffTable
from fastlb._core.tables.arena cimport Arena
from fastlb._core.tables.live cimport Live


cdef SniffTable* sniff_table(Live live, Arena arena, object spec, int n_pools,
                             int n_binds) except NULL
