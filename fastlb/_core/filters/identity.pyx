# A filter that uses every hook and changes nothing: what a filter costs, and that none is in the
# way of anything. Tests and benchmarks put it on every route (FASTLB_IDENTITY_FILTER=1).
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.enums cimport HTTP_CONTENT, HTTP_NO_BODY, NEXT
from fastlb._core.base.filters cimport FILTER_IDENTITY, Content, FilterKind, Sent, register_filter
from fastlb._core.base.routing cimport Filter
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_assert

cdef struct State:
    uint32_t requests, heads, responses, parts
    uint64_t upload_bytes
    uint8_t all_seen            # of the request's body


cdef int _on_request(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil:
    (<State*> state).requests += 1
    x.http.uploads += 1
    return NEXT


cdef void _on_prepared(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil:
    (<State*> state).heads += 1
    fl_assert(x.attempt.head != NULL)


cdef int _on_upload(Core* core, Exchange* x, const Filter* filter, void* given,
                    const Sent* sent) noexcept nogil:
    cdef State* state = <State*> given
    fl_assert(not state.all_seen and sent.size <= sent.framed_size)
    state.upload_bytes += sent.size
    state.all_seen = sent.is_last
    fl_assert(state.upload_bytes == x.http.request.total)
    return NEXT


cdef int _on_response(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil:
    (<State*> state).responses += 1
    if not x.http.flags & HTTP_NO_BODY:
        x.http.flags |= HTTP_CONTENT
    return NEXT


cdef int _on_content(Core* core, Exchange* x, const Filter* filter, void* state,
                     Content* content) noexcept nogil:
    (<State*> state).parts += 1
    return NEXT


cdef void _on_end(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil:
    fl_assert((<State*> state).requests <= 1)     # (0: another filter answered)


cdef FilterKind _kind
_kind.request = _on_request
_kind.prepared = _on_prepared
_kind.upload = _on_upload
_kind.response = _on_response
_kind.content = _on_content
_kind.end = _on_end
_kind.state_bytes = sizeof(State)
register_filter(FILTER_IDENTITY, "identity", &_kind, NULL)
