from fastlb._core.base.head cimport Head
from fastlb._core.base.routing cimport HttpEntry
from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core, Exchange


cdef bint has_field(Head* head, int kind) noexcept nogil
cdef void put_forwarded(Core* core, Exchange* x, HttpEntry* entry, Writer* w) noexcept nogil
