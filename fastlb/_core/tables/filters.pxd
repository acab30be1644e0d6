from fastlb._core.base.routing cimport Route
from fastlb._core.tables.arena cimport Arena


cdef int fill_filters(Arena arena, Route* route, object specs) except -1
