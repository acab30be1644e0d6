# An exchange without a client, which makes another exchange's request: for mirrors and hedges.
from libc.string cimport memcpy

from fastlb._core.base.enums cimport (
    EXCHANGE_HOLDS_SNAPSHOT, EXCHANGE_HTTP, EXCHANGE_SHADOW, HTTP_DISCARD, HTTP_NO_BODY,
    HTTP_OVERRUN, HTTP_WHOLE, ROLE_CLIENT, ROLE_SERVER, STAGE_BALANCE, STAGE_DEAD,
)
from fastlb._core.base.httpmem cimport take_http
from fastlb._core.base.mem cimport chunk_bytes, give_exchange, give_held, take_exchange, take_held
from fastlb._core.base.proxyfacts cimport share_proxied
from fastlb._core.base.queue cimport queue
from fastlb._core.base.types cimport Chunk, Core, Exchange, Http, PoolEntry
from fastlb._core.ext.atomic cimport fl_add32, fl_count, unlikely


cdef Exchange* copy_request(Core* core, Exchange* x, PoolEntry* pool) noexcept nogil:
    """An exchange with the same request, whose head is made for a server of `pool`; NULL when
    memory is gone."""
    cdef Exchange* shadow = take_exchange(core)
    cdef Chunk* head = take_held(core, x.attempt.head.klass)
    cdef Http* http = NULL
    if shadow != NULL and head != NULL:
        http = take_http(core, shadow)
    if http == NULL:
        give_held(core, head)
        if shadow != NULL:
            shadow.stage = STAGE_DEAD
            give_exchange(core, shadow)
        return NULL
    memcpy(chunk_bytes(head), chunk_bytes(x.attempt.head), x.attempt.head.end)
    head.end = x.attempt.head.end
    shadow.attempt.head = head
    http.entry = x.http.entry
    http.route = x.http.route
    http.method = x.http.method
    http.request = x.http.request
    http.taken = x.http.taken
    http.begin_ms = x.http.begin_ms
    http.flags = HTTP_DISCARD | x.http.flags & (HTTP_NO_BODY | HTTP_WHOLE)
    shadow.http = http
    shadow.stage = STAGE_BALANCE
    shadow.flags = EXCHANGE_HTTP | EXCHANGE_SHADOW | EXCHANGE_HOLDS_SNAPSHOT
    shadow.client.role = ROLE_CLIENT
    shadow.server.role = ROLE_SERVER
    shadow.listener = x.listener
    shadow.bind = x.bind
    shadow.snapshot = x.snapshot
    fl_add32(&x.snapshot.users[core.id], 1)
    shadow.peer = x.peer
    shadow.place, shadow.asn = x.place, x.asn
    shadow.pool = pool
    if unlikely(pool.proxy_protocol):
        shadow.proxied = share_proxied(core, x)
    return shadow


cdef void part_from_mirror(Core* core, Exchange* x, bint is_whole) noexcept nogil:
    """A request parts from its copy, which has got all of the body or not; or a copy that ends from
    its request, which goes on without."""
    cdef Exchange* other = x.mirror
    x.mirror = other.mirror = NULL
    if x.flags & EXCHANGE_SHADOW:
        other.http.uploads -= 1
        return
    x.http.uploads -= 1
    if not is_whole:
        other.http.flags |= HTTP_OVERRUN
        fl_count(&core.counters.mirrors_dropped, 1)
    queue(core, other)


cdef void part_from_hedge(Core* core, Exchange* x) noexcept nogil:
    """The request is being answered, or given up; or its second try has ended."""
    cdef Exchange* other = x.hedge
    x.hedge = other.hedge = NULL
    if x.flags & EXCHANGE_SHADOW:
        return
    other.attempt.measured_ns = 0
    other.http.flags |= HTTP_OVERRUN
    queue(core, other)
