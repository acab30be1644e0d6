# Copy requests of a route for another pool. A copy is an exchange without a client (http/copies),
# whose x.input is the window between the two; its response is discarded. It never holds its request
# up: what doesn't fit ends the copy.
# prepared: makes the copy. upload: feeds it the rest of the body. end: parts the two.
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memmove

from fastlb._core.base.enums cimport HTTP_BINDS, HTTP_UPGRADE, NEXT
from fastlb._core.base.filters cimport FILTER_MIRROR, FilterKind, Sent, register_filter
from fastlb._core.base.limits cimport MIRROR_CLASS, MIRRORS_MAX
from fastlb._core.base.mem cimport chunk_bytes, chunk_size, take_held
from fastlb._core.base.queue cimport queue
from fastlb._core.base.random cimport random64
from fastlb._core.base.routing cimport Filter, Mirror
from fastlb._core.base.types cimport Chunk, Core, Exchange
from fastlb._core.ext.atomic cimport fl_count
from fastlb._core.http.admit cimport key_hash
from fastlb._core.http.copies cimport copy_request, part_from_mirror
from fastlb._core.tables.room cimport Room

cdef enum:
    ALL = 0xFFFFFFFF            # a share of all requests


cdef bint _is_chosen(Core* core, const Mirror* mirror) noexcept nogil:
    return mirror.share == <uint32_t> ALL or random64(core) >> 32 < mirror.share


cdef void _on_prepared(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil:
    """Where there are MIRRORS_MAX copies already, this one is dropped and counted."""
    cdef const Mirror* mirror = <const Mirror*> filter.table
    cdef Exchange* shadow = NULL
    if x.http.flags & (HTTP_UPGRADE | HTTP_BINDS) or core.closing \
            or not _is_chosen(core, mirror):
        return
    if core.counters.mirrors < MIRRORS_MAX:
        shadow = copy_request(core, x, &x.snapshot.pools[mirror.pool])
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
        x.http.uploads += 1
    queue(core, shadow)


cdef bint _fits(Core* core, Exchange* shadow, uint32_t size) noexcept nogil:
    """Whether its window has room for so much more, at its end."""
    cdef Chunk* chunk = shadow.input
    if chunk == NULL:
        chunk = shadow.input = take_held(core, MIRROR_CLASS)
        if chunk == NULL:
            return False
    if chunk.end + size <= chunk_size(chunk.klass):
        return True
    if chunk.end - chunk.start + size > chunk_size(chunk.klass):
        return False
    memmove(chunk_bytes(chunk), chunk_bytes(chunk) + chunk.start, chunk.end - chunk.start)
    chunk.end -= chunk.start
    chunk.start = 0
    return True


cdef int _on_upload(Core* core, Exchange* x, const Filter* filter, void* state,
                    const Sent* sent) noexcept nogil:
    """Feed the copy, with the framing that servers get."""
    cdef Exchange* shadow = x.mirror
    if shadow == NULL:
        return NEXT
    if not _fits(core, shadow, sent.framed_size):
        part_from_mirror(core, x, False)
        return NEXT
    memcpy(chunk_bytes(shadow.input) + shadow.input.end, sent.framed, sent.framed_size)
    shadow.input.end += sent.framed_size
    queue(core, shadow)
    if sent.is_last:
        part_from_mirror(core, x, True)
    return NEXT


cdef void _on_end(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil:
    if x.mirror != NULL:
        part_from_mirror(core, x, False)


cdef void* _mirror_table(object given, object spec) except? NULL:
    cdef Room room = given
    cdef Mirror* mirror = <Mirror*> room.take(1, sizeof(Mirror))
    mirror.pool = room.pool_index(spec.pool)
    mirror.share = spec.share
    return mirror


cdef FilterKind _kind
_kind.prepared = _on_prepared
_kind.upload = _on_upload
_kind.end = _on_end
register_filter(FILTER_MIRROR, "mirror", &_kind, _mirror_table)
