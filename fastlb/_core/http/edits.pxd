# Changes of header fields, in layers: a later one has the last word of each field that it sets or
# removes.
from libc.stdint cimport uint32_t

from fastlb._core.base.head cimport Field, Head, Text
from fastlb._core.base.routing cimport EditList
from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core, Exchange, PoolEntry

cdef enum:
    EDIT_LAYERS = 4

cdef struct Edits:
    uint32_t n                  # layers that have any
    const EditList* layers[EDIT_LAYERS]


cdef Edits request_edits(const Exchange* x) noexcept nogil
cdef Edits response_edits(const Exchange* x, const PoolEntry* pool) noexcept nogil
cdef Edits made_edits(const Exchange* x) noexcept nogil
cdef Edits constant_edits(const Exchange* x) noexcept nogil
cdef bint is_edited(const Edits* edits, Text name) noexcept nogil
cdef bint name_is_edited(const Edits* edits, const char* name) noexcept nogil
cdef bint field_is_edited(const Edits* edits, const Head* head, const Field* field) noexcept nogil
cdef void put_edits(Core* core, Exchange* x, const Edits* edits, Writer* w) noexcept nogil
cdef void put_constants(Core* core, Exchange* x, const Edits* edits, Writer* w) noexcept nogil
cdef bint make_lines(Core* core, Exchange* x, const Edits* edits) noexcept nogil
