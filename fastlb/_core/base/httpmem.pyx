# Http and Upstream structs from free lists of one engine.
# What is taken is zeroed, and counted as alive until it is given back. NULL: memory is gone.
from libc.stdint cimport uint16_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastlb._core.base.enums cimport (
    HTTP_FILTERED, ROLE_SERVER, TIMER_PACE, TIMER_PAUSE, TIMER_REQUEST, TIMER_UPSTREAM,
)
from fastlb._core.base.limits cimport HTTP_BLOCK
from fastlb._core.base.types cimport Core, Exchange, Http, HttpState, Upstream
from fastlb._core.ext.atomic cimport fl_assert, fl_count, unlikely


cdef void* _block(HttpState* state, size_t size) noexcept nogil:
    """Room for HTTP_BLOCK of `size` bytes, remembered for the end; NULL when memory is gone."""
    cdef void** block = <void**> calloc(1, 64 + HTTP_BLOCK * size)
    if block == NULL:
        return NULL
    block[0] = state.blocks
    state.blocks = block
    return <char*> block + 64


cdef Http* take_http(Core* core, Exchange* x) noexcept nogil:
    """A zeroed request of an exchange, or NULL when memory is gone."""
    cdef HttpState* state = &core.http
    cdef Http* http
    cdef int i
    if unlikely(state.free == NULL):
        http = <Http*> _block(state, sizeof(Http))
        if http == NULL:
            return NULL
        for i in range(HTTP_BLOCK):
            http[i].next_free = state.free
            state.free = &http[i]
    http = state.free
    state.free = http.next_free
    memset(http, 0, sizeof(Http))
    http.exchange = x
    x.attempt.flags = 0
    x.attempt.measured_ns = 0
    http.timer.owner = http
    http.timer.kind = TIMER_REQUEST
    http.pause_timer.owner = http
    http.pause_timer.kind = TIMER_PAUSE
    http.pace.timer.owner = http
    http.pace.timer.kind = TIMER_PACE
    fl_count(&core.counters.https, 1)
    return http


cdef void give_http(Core* core, Http* http) noexcept nogil:
    fl_assert(http.lines == NULL and http.timer.link.next == NULL)
    fl_assert(http.states == NULL and not http.flags & HTTP_FILTERED)
    fl_assert(http.pause_timer.link.next == NULL and http.pace.timer.link.next == NULL)
    http.next_free = core.http.free
    core.http.free = http
    fl_count(&core.counters.https, <uint64_t> -1)


cdef Upstream* take_upstream(Core* core) noexcept nogil:
    """A zeroed connection without a socket, or NULL when memory is gone."""
    cdef HttpState* state = &core.http
    cdef Upstream* upstream
    cdef uint16_t generation
    cdef int i
    if unlikely(state.free_upstreams == NULL):
        upstream = <Upstream*> _block(state, sizeof(Upstream))
        if upstream == NULL:
            return NULL
        for i in range(HTTP_BLOCK):
            upstream[i].next_free = state.free_upstreams
            state.free_upstreams = &upstream[i]
    upstream = state.free_upstreams
    state.free_upstreams = upstream.next_free
    generation = upstream.stream.generation
    memset(upstream, 0, sizeof(Upstream))
    upstream.stream.generation = generation
    upstream.stream.fd = -1
    upstream.stream.role = ROLE_SERVER
    upstream.timer.owner = upstream
    upstream.timer.kind = TIMER_UPSTREAM
    fl_count(&core.counters.upstreams, 1)
    return upstream


cdef void give_upstream(Core* core, Upstream* upstream) noexcept nogil:
    fl_assert(upstream.stream.fd < 0 and upstream.stream.pending == NULL)
    fl_assert(upstream.timer.link.next == NULL)
    upstream.next_free = core.http.free_upstreams
    core.http.free_upstreams = upstream
    fl_count(&core.counters.upstreams, <uint64_t> -1)


cdef void free_http(Core* core) noexcept nogil:
    cdef void* block = core.http.blocks
    cdef void* following
    while block != NULL:
        following = (<void**> block)[0]
        free(block)
        block = following
    core.http.blocks = NULL
    core.http.free = NULL
    core.http.free_upstreams = NULL
    free(core.http.scratch)
    free(core.http.output)
    core.http.scratch = core.http.output = NULL
