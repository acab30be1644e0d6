# What a filter is: a kind with its hooks, and what one route wants of it.
from libc.stdint cimport uint16_t, uint32_t, uint8_t

from fastlb._core.base.routing cimport Filter
from fastlb._core.base.types cimport Chunk, Core, Exchange

cdef enum FilterNumber:         # in the order in which requests and their responses pass them;
    FILTER_DENY = 10            # with room between them for others
    FILTER_ALLOW = 20
    FILTER_RATE_LIMIT = 40
    FILTER_POLICY = 100
    FILTER_MIRROR = 150
    FILTER_COMPRESS = 200
    FILTER_IDENTITY = 250
    FILTERS_MAX = 256

cdef struct Sent:               # a part of a request's body, as filters see it
    const uint8_t* content      # as the client sent it, without framing
    const uint8_t* framed       # the same as the server gets it
    uint32_t size, framed_size
    uint8_t is_last             # the body ends with it

cdef struct Content:            # a part of a response's body, without framing; filters change it
    Chunk** place               # the engine's chunk that it lies in
    uint32_t at, end
    uint8_t is_last             # the body ends with it
    uint8_t flush               # the server pauses: nothing is to be kept back

# A hook that is NULL costs nothing. `state` is the request's own: `state_bytes`, zeroed when its
# route is known; NULL where a kind has none.
cdef struct FilterKind:
    # The request's head is at hand (core.http.head), and its route is known. A filter can choose
    # the pool (x.pool); if none does, the route does it afterwards. NEXT; ANSWER with x.status and
    # x.reason; AGAIN: the hook is called again when core.http.match.wanted bytes of the body are
    # here; ASK: x.policy was asked, and the hook is called again when x.decision is here.
    # A filter that wants the request's body counts itself in x.http.uploads.
    int (*request)(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil
    # The head that the server gets is made (x.attempt.head), and nothing of it is sent yet. The
    # request's own head is still at hand.
    void (*prepared)(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil
    # More of the request's body, on its way to the server: NEXT or FAIL with x.reason. What goes
    # with the head comes before `prepared`.
    int (*upload)(Core* core, Exchange* x, const Filter* filter, void* state,
                  const Sent* sent) noexcept nogil
    # The response's head is at hand, and no other try will be made: NEXT, or FAIL with x.reason.
    # HTTP_CONTENT is set by a filter that wants the body.
    int (*response)(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil
    # fastlb answers by itself, whatever filter said so: `add_field` adds to that answer's head.
    void (*answer)(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil
    # More of the body: NEXT or FAIL.
    int (*content)(Core* core, Exchange* x, const Filter* filter, void* state,
                   Content* content) noexcept nogil
    # Once for each request, however it ends: gives back what the state holds.
    void (*end)(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil
    uint16_t state_bytes


# Lay out what a filter is to do, from what its part of the configuration says. `room` is a
# Room (tables/room), which is an Arena.
ctypedef void* (*MakeTable)(object room, object spec) except? NULL


cdef const FilterKind* filter_kind(int number) noexcept
cdef void* filter_table(int number, object room, object spec) except? NULL
cdef int register_filter(int number, str name, const FilterKind* kind, MakeTable make) except -1
