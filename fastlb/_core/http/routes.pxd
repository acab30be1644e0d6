from fastlb._core.base.routing cimport HttpEntry, Route
from fastlb._core.base.types cimport Core, Exchange


cdef Route* route_find(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil
