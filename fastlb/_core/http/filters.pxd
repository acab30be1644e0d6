# A request's way through the filters of its route.
from libc.stdint cimport uint32_t

from fastlb._core.base.filters cimport Content, FilterKind, Sent
from fastlb._core.base.routing cimport Filter
from fastlb._core.base.types cimport Core, Exchange


cdef int begin_filters(Core* core, Exchange* x) noexcept nogil
cdef void filters_prepared(Core* core, Exchange* x) noexcept nogil
cdef int filter_upload(Core* core, Exchange* x, const Sent* sent) noexcept nogil
cdef int filter_response(Core* core, Exchange* x) noexcept nogil
cdef const Filter* filter_of(const Exchange* x, const FilterKind* kind) noexcept nogil
cdef void* filter_state(const Exchange* x, const FilterKind* kind) noexcept nogil
cdef void filter_answer(Core* core, Exchange* x) noexcept nogil
cdef int filter_content(Core* core, Exchange* x, Content* content) noexcept nogil
cdef void end_filters(Core* core, Exchange* x) noexcept nogil
cdef bint add_field(Core* core, const char* name, uint32_t name_size, const void* value,
                    uint32_t size) noexcept nogil
