from fastlb._core.base.head cimport Head
from fastlb._core.base.routing cimport HttpEntry
from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.http.edits cimport Edits


cdef bint has_field(Head* head, int kind) noexcept nogil
cdef void put_forwarded(Core* core, Exchange* x, HttpEntry* entry, const Edits* edits,
                        Writer* w) noexcept nogil
