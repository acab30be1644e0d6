# Call the hooks of a route's filters in their order: for the request's head and body, for the head
# of its response and each part of its body, and at the end. No other request gets here.
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from fastlb._core.base.enums cimport (
    ANSWER, EXCHANGE_CLOSE, FAIL, HTTP_CONTENT, HTTP_FILTERED, HTTP_RECODED, NEXT,
    REASON_NO_MEMORY,
)
from fastlb._core.base.filters cimport Content, FilterKind, Sent
from fastlb._core.base.mem cimport chunk_bytes, chunk_class, give_held, take_held
from fastlb._core.base.parts cimport Filtering
from fastlb._core.base.routing cimport Filter, Route
from fastlb._core.base.types cimport Core, Exchange, Http


cdef inline void* _state(const Http* http, const Filter* filter) noexcept nogil:
    return chunk_bytes(http.states) + filter.state_at if http.states != NULL else NULL


cdef const Filter* filter_of(const Exchange* x, const FilterKind* kind) noexcept nogil:
    """The filter of this kind that a request is passing; NULL: there is none, or it has ended."""
    cdef const Http* http = x.http
    cdef uint32_t i
    if http == NULL or not http.flags & HTTP_FILTERED:
        return NULL
    for i in range(http.route.n_filters):
        if http.route.filters[i].kind == kind:
            return &http.route.filters[i]
    return NULL


cdef void* filter_state(const Exchange* x, const FilterKind* kind) noexcept nogil:
    """Return the filter's state of a request. NULL: the request isn't passing such a filter."""
    cdef const Filter* filter = filter_of(x, kind)
    return _state(x.http, filter) if filter != NULL else NULL


cdef int _give_states(Core* core, Exchange* x) noexcept nogil:
    """Take a chunk for the states of the request's filters: NEXT, or ANSWER without memory."""
    cdef Http* http = x.http
    cdef Route* route = http.route
    if route.states_bytes:
        http.states = take_held(core, chunk_class(route.states_bytes))
        if http.states == NULL:
            x.status = 503
            x.reason = REASON_NO_MEMORY
            x.flags |= EXCHANGE_CLOSE
            return ANSWER
        memset(chunk_bytes(http.states), 0, route.states_bytes)
    http.flags |= HTTP_FILTERED
    return NEXT


cdef int begin_filters(Core* core, Exchange* x) noexcept nogil:
    """Let the request's filters see its head, each once: NEXT, or what a `request` hook returns.
    After AGAIN and ASK, the next call goes on with the filter that waits."""
    cdef Http* http = x.http
    cdef Route* route = http.route
    cdef const Filter* filter
    cdef const FilterKind* kind
    cdef int verdict
    if not http.flags & HTTP_FILTERED and _give_states(core, x) != NEXT:
        return ANSWER
    while http.filter_at < route.n_filters:
        filter = &route.filters[http.filter_at]
        kind = <const FilterKind*> filter.kind
        if kind.request != NULL:
            verdict = kind.request(core, x, filter, _state(http, filter))
            if verdict != NEXT:
                return verdict
        http.filter_at += 1
    return NEXT


cdef void filters_prepared(Core* core, Exchange* x) noexcept nogil:
    """The head that the server gets is made."""
    cdef Http* http = x.http
    cdef Route* route = http.route
    cdef const FilterKind* kind
    cdef uint32_t i
    for i in range(route.n_filters):
        kind = <const FilterKind*> route.filters[i].kind
        if kind.prepared != NULL:
            kind.prepared(core, x, &route.filters[i], _state(http, &route.filters[i]))


cdef int filter_upload(Core* core, Exchange* x, const Sent* sent) noexcept nogil:
    """Let the filters see a part of the request's body: NEXT or FAIL."""
    cdef Http* http = x.http
    cdef Route* route = http.route
    cdef const FilterKind* kind
    cdef uint32_t i
    if core.rehearses:                  # (where a head may be made twice)
        return NEXT
    for i in range(route.n_filters):
        kind = <const FilterKind*> route.filters[i].kind
        if kind.upload != NULL and kind.upload(
                core, x, &route.filters[i], _state(http, &route.filters[i]), sent) != NEXT:
            return FAIL
    return NEXT


cdef int filter_response(Core* core, Exchange* x) noexcept nogil:
    """Let the filters see the head of the response, and change it: NEXT or FAIL."""
    cdef Http* http = x.http
    cdef Route* route = http.route
    cdef const FilterKind* kind
    cdef uint32_t i
    http.flags &= ~<uint32_t> (HTTP_CONTENT | HTTP_RECODED)     # (of a try before)
    core.http.filtering.fields_size = 0
    for i in range(route.n_filters):
        kind = <const FilterKind*> route.filters[i].kind
        if kind.response != NULL and kind.response(
                core, x, &route.filters[i], _state(http, &route.filters[i])) != NEXT:
            return FAIL
    return NEXT


cdef void filter_answer(Core* core, Exchange* x) noexcept nogil:
    """Let the filters add fields to an answer of our own."""
    cdef Http* http = x.http
    cdef Route* route = http.route
    cdef const FilterKind* kind
    cdef uint32_t i
    core.http.filtering.fields_size = 0
    for i in range(route.n_filters):
        kind = <const FilterKind*> route.filters[i].kind
        if kind.answer != NULL:
            kind.answer(core, x, &route.filters[i], _state(http, &route.filters[i]))


cdef int filter_content(Core* core, Exchange* x, Content* content) noexcept nogil:
    """Let a part of the body pass the filters: NEXT or FAIL."""
    cdef Http* http = x.http
    cdef Route* route = http.route
    cdef const FilterKind* kind
    cdef uint32_t i
    for i in range(route.n_filters):
        kind = <const FilterKind*> route.filters[i].kind
        if kind.content != NULL and kind.content(
                core, x, &route.filters[i], _state(http, &route.filters[i]), content) != NEXT:
            return FAIL
    return NEXT


cdef void end_filters(Core* core, Exchange* x) noexcept nogil:
    """The request ends, whatever became of it."""
    cdef Http* http = x.http
    cdef Route* route = http.route
    cdef const FilterKind* kind
    cdef uint32_t i
    http.flags &= ~<uint32_t> HTTP_FILTERED
    for i in range(route.n_filters):
        kind = <const FilterKind*> route.filters[i].kind
        if kind.end != NULL:
            kind.end(core, x, &route.filters[i], _state(http, &route.filters[i]))
    give_held(core, http.states)
    http.states = NULL


cdef bint add_field(Core* core, const char* name, uint32_t name_size, const void* value,
                    uint32_t size) noexcept nogil:
    """Add a header field to the response whose head is at hand; False: there is no room."""
    cdef Filtering* filtering = &core.http.filtering
    cdef uint8_t* at = filtering.fields + filtering.fields_size
    if filtering.fields_size + name_size + size + 4 > sizeof(filtering.fields):
        return False
    memcpy(at, name, name_size)
    memcpy(at + name_size, b": ", 2)
    memcpy(at + name_size + 2, value, size)
    memcpy(at + name_size + 2 + size, b"\r\n", 2)
    filtering.fields_size += name_size + size + 4
    return True
