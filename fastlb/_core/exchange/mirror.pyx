# A copy of a request for another pool; its answer is discarded.
from libc.stdint cimport uint32_t

from fastlb._core.base.enums cimport HTTP_BINDS, HTTP_UPGRADE
from fastlb._core.base.limits cimport MIRRORS_MAX
from fastlb._core.base.queue cimport queue
from fastlb._core.base.random cimport random64
from fastlb._core.base.routing cimport Route
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.exchange.copies cimport copy_request
from fastlb._core.ext.atomic cimport fl_count
from fastlb._core.http.admit cimport key_hash


cdef bint _is_chosen(Core* core, const Route* route) noexcept nogil:
    if route.mirror_share == <uint32_t> -1:
        return True
    return random64(core) >> 32 < route.mirror_share


cdef void begin_mirror(Core* core, Exchange* x) noexcept nogil:
    """Copy a request whose head for the server is made and not sent yet, and whose fields are
    still at hand. Where there are MIRRORS_MAX already, it is dropped and counted."""
    cdef Route* route = x.http.route
    cdef Exchange* shadow = NULL
    if x.http.flags & (HTTP_UPGRADE | HTTP_BINDS) or core.closing or not _is_chosen(core, route):
        return
    if core.counters.mirrors < MIRRORS_MAX:
        shadow = copy_request(core, x, &x.snapshot.pools[route.mirror])
    if shadow == NULL:
        fl_count(&core.counters.mirrors_dropped, 1)
        return
    fl_count(&core.counters.mirrors, 1)
    fl_count(&core.counters.mirrored, 1)
    if shadow.pool.is_keyed:
        shadow.hash = key_hash(core, x, &shadow.pool.hash_key)
    if not x.http.request.done:
        x.mirror = shadow
        shadow.mirror = x
    queue(core, shadow)
