# A copy of a request's body for its mirror. The copy is an exchange without a client, whose x.input
# is the window between the two. It never holds the request up: what doesn't fit ends the copy.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcpy, memmove

from fastlb._core.base.enums cimport EXCHANGE_SHADOW, HTTP_OVERRUN
from fastlb._core.base.limits cimport MIRROR_CLASS
from fastlb._core.base.mem cimport chunk_bytes, chunk_size, take_held
from fastlb._core.base.queue cimport queue
from fastlb._core.base.types cimport Chunk, Core, Exchange
from fastlb._core.ext.atomic cimport fl_count


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


cdef void feed_mirror(Core* core, Exchange* x, const uint8_t* data, uint32_t size) noexcept nogil:
    """More of the body, framed as servers get it."""
    cdef Exchange* shadow = x.mirror
    if not _fits(core, shadow, size):
        part_from_mirror(core, x)       # (not all of the body has been fed)
        return
    memcpy(chunk_bytes(shadow.input) + shadow.input.end, data, size)
    shadow.input.end += size
    queue(core, shadow)


cdef void part_from_mirror(Core* core, Exchange* x) noexcept nogil:
    """The request has been read, or given up; or its copy has ended, which is nothing to it."""
    cdef Exchange* other = x.mirror
    x.mirror = other.mirror = NULL
    if x.flags & EXCHANGE_SHADOW:
        return
    if not x.http.request.done:
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
