# A copy of a request for another pool: an exchange without a client, whose answer is for nobody.
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from fastlb._core.base.enums cimport (
    EXCHANGE_HOLDS_SNAPSHOT, EXCHANGE_HTTP, EXCHANGE_SHADOW, HTTP_DISCARD, HTTP_NO_BODY,
    HTTP_UPGRADE, ROLE_CLIENT, ROLE_SERVER, STAGE_BALANCE, STAGE_DEAD,
)
from fastlb._core.base.httpmem cimport take_http
from fastlb._core.base.limits cimport MIRRORS_MAX
from fastlb._core.base.mem cimport (
    chunk_bytes, give_exchange, give_held, take_exchange, take_held,
)
from fastlb._core.base.queue cimport queue
from fastlb._core.base.random cimport random64
from fastlb._core.base.routing cimport Route
from fastlb._core.base.types cimport Chunk, Core, Exchange, Http
from fastlb._core.ext.atomic cimport fl_add32, fl_count
from fastlb._core.http.admit cimport key_hash


cdef bint _is_chosen(Core* core, const Route* route) noexcept nogil:
    if route.mirror_share == <uint32_t> -1:
        return True
    return random64(core) >> 32 < route.mirror_share


cdef Exchange* _copy(Core* core, Exchange* x) noexcept nogil:
    """An exchange with the same request; NULL when memory is gone."""
    cdef Exchange* shadow = take_exchange(core)
    cdef Chunk* head = take_held(core, x.http.head.klass)
    cdef Http* http = NULL
    if shadow != NULL and head != NULL:
        http = take_http(core, shadow)
    if http == NULL:
        give_held(core, head)
        if shadow != NULL:
            shadow.stage = STAGE_DEAD
            give_exchange(core, shadow)
        return NULL
    memcpy(chunk_bytes(head), chunk_bytes(x.http.head), x.http.head.end)
    head.end = x.http.head.end
    http.head = head
    http.entry = x.http.entry
    http.route = x.http.route
    http.method = x.http.method
    http.request = x.http.request
    http.taken = x.http.taken
    http.begin_ms = x.http.begin_ms
    http.flags = HTTP_DISCARD | x.http.flags & HTTP_NO_BODY
    shadow.http = http
    return shadow


cdef void begin_mirror(Core* core, Exchange* x) noexcept nogil:
    """Copy a request whose head for the server is made and not sent yet, and whose fields are
    still at hand. Where there are MIRRORS_MAX already, it is dropped and counted."""
    cdef Route* route = x.http.route
    cdef Exchange* shadow
    if x.http.flags & HTTP_UPGRADE or core.closing or not _is_chosen(core, route):
        return
    shadow = _copy(core, x) if core.counters.mirrors < MIRRORS_MAX else NULL
    if shadow == NULL:
        fl_count(&core.counters.mirrors_dropped, 1)
        return
    fl_count(&core.counters.mirrors, 1)
    fl_count(&core.counters.mirrored, 1)
    shadow.stage = STAGE_BALANCE
    shadow.flags = EXCHANGE_HTTP | EXCHANGE_SHADOW | EXCHANGE_HOLDS_SNAPSHOT
    shadow.client.role = ROLE_CLIENT
    shadow.server.role = ROLE_SERVER
    shadow.listener = x.listener
    shadow.bind = x.bind
    shadow.snapshot = x.snapshot
    fl_add32(&x.snapshot.users[core.id], 1)
    shadow.peer = x.peer
    shadow.pool = &x.snapshot.pools[route.mirror]
    if shadow.pool.is_keyed:
        shadow.hash = key_hash(core, x, &shadow.pool.hash_key)
    if not x.http.request.done:
        x.mirror = shadow
        shadow.mirror = x
    queue(core, shadow)
