from libc.stdint cimport uint32_t

from fastlb._core.base.places cimport Nearest
from fastlb._core.tables.arena cimport Arena


cdef Nearest* nearest_table(Arena arena, object spec, uint32_t n_groups) except NULL
