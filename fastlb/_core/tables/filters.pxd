from fastlb._core.base.routing cimport Route
from fastlb._core.tables.room cimport Room


cdef int fill_filters(Room room, Route* route, object specs) except -1
