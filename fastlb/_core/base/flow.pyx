# Bytes that go from one stream to another: what relays and HTTP share.
# Reads and writes streams, and their pending chunks; a write that fails says why in x.reason.
from libc.errno cimport EAGAIN, EINVAL
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from fastlb._core.base.enums cimport (
    AGAIN, EXCHANGE_HAS_MORE, FAIL, NEXT, REASON_NO_MEMORY, STREAM_CAUTIOUS, WRITABLE,
)
from fastlb._core.base.limits cimport PUMP_READS_MAX
from fastlb._core.base.mem cimport (
    CHUNK_RAW, chunk_bytes, chunk_class, give_pending, take_chunk, take_pending,
)
from fastlb._core.base.net cimport net_write
from fastlb._core.base.stream cimport stream_put, stream_write
from fastlb._core.base.pipe cimport give_pipe, pipe_drain, pipe_fill, take_pipe
from fastlb._core.base.types cimport Chunk, Core, Exchange, Pipe, Stream
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely


cdef int flow_flush(Core* core, Exchange* x, Stream* to) noexcept nogil:
    """Write what is pending: NEXT when nothing is left, else AGAIN or FAIL."""
    cdef Chunk* chunk = to.pending
    cdef ssize_t n
    if not to.ready & WRITABLE:
        return AGAIN
    if to.pipe != NULL:
        return _flush_pipe(core, x, to)
    if unlikely(chunk.scanned == CHUNK_RAW):
        n = net_write(to.fd, chunk_bytes(chunk) + chunk.start, chunk.end - chunk.start, False)
    else:
        n = stream_write(to, chunk_bytes(chunk) + chunk.start, chunk.end - chunk.start, False)
    if n < 0:
        if n != -EAGAIN:
            return broken(x, to)
        n = 0
    chunk.start += <uint32_t> n
    if chunk.start < chunk.end:
        to.ready &= <uint8_t> ~WRITABLE
        return AGAIN
    give_pending(core, to)
    return NEXT


cdef int _flush_pipe(Core* core, Exchange* x, Stream* to) noexcept nogil:
    cdef ssize_t n
    cdef int writes
    for writes in range(PUMP_READS_MAX):
        n = pipe_drain(to.pipe, to)
        if n < 0 and n != -EAGAIN:
            return broken(x, to)
        if n < 0:
            to.ready &= <uint8_t> ~WRITABLE
            return AGAIN
        if to.pipe.held == 0:
            give_pipe(core, to.pipe)
            to.pipe = NULL
            fl_count(&core.counters.pipes, <uint64_t> -1)
            return NEXT
    x.flags |= EXCHANGE_HAS_MORE
    return AGAIN


cdef int flow_keep(Core* core, Exchange* x, Stream* to, Chunk** place, ssize_t start,
                   ssize_t end) noexcept nogil:
    """What couldn't be written waits with the stream: AGAIN or FAIL. The scratch chunk it is in,
    at `place`, becomes the stream's, without a copy, and a fresh one takes its place; a small rest
    is copied instead."""
    cdef Chunk* chunk = place[0]
    cdef Chunk* fresh
    cdef int klass = chunk_class(<uint32_t> (end - start))
    if klass + 2 > <int> chunk.klass:
        klass = chunk.klass             # what is saved isn't worth a copy
    fresh = take_chunk(core, klass)
    if unlikely(fresh == NULL):
        x.reason = REASON_NO_MEMORY
        return FAIL
    if klass == <int> chunk.klass:
        place[0] = fresh
        fresh = chunk
    else:
        memcpy(chunk_bytes(fresh), chunk_bytes(chunk) + start, end - start)
        end -= start
        start = 0
    fresh.start = <uint32_t> start
    fresh.end = <uint32_t> end
    take_pending(core, to, fresh)
    return AGAIN


cdef int flow_write(Core* core, Exchange* x, Stream* to, Chunk** place, ssize_t start,
                    ssize_t end) noexcept nogil:
    """Write bytes of the chunk at `place`; keep what can't be. NEXT, AGAIN or FAIL."""
    cdef ssize_t n
    if to.pending != NULL or not to.ready & WRITABLE:
        return flow_keep(core, x, to, place, start, end)
    n = stream_put(core, to, chunk_bytes(place[0]) + start, end - start, False)
    if likely(n == end - start):
        count_write(x, to)
        return NEXT if likely(to.pending == NULL) else AGAIN
    if n < 0:
        if n != -EAGAIN:
            return broken(x, to)
        n = 0
    to.ready &= <uint8_t> ~WRITABLE
    return flow_keep(core, x, to, place, start + n, end)


cdef bint flow_have_pipe(Core* core, Stream* source, Stream* to) noexcept nogil:
    if (source.flags | to.flags) & STREAM_CAUTIOUS:
        return False
    if unlikely(core.pipe == NULL):
        core.pipe = take_pipe(core)
    return core.pipe != NULL


cdef int flow_splice(Core* core, Exchange* x, Stream* source, Stream* to, size_t limit,
                     ssize_t* moved) noexcept nogil:
    """Move up to `limit` bytes without a copy, for a flow that has shown itself to be bulk. A short
    count says nothing here: a pipe takes so many pieces, however small. NEXT at the source's end,
    AGAIN (nothing there, or nothing goes), MORE or FAIL; `moved` has what was taken in."""
    cdef Pipe* pipe = core.pipe
    cdef ssize_t n = pipe_fill(pipe, source, limit)
    cdef ssize_t written
    moved[0] = 0
    if n <= 0:
        if n == -EINVAL:            # a socket that can't be spliced
            source.flags |= STREAM_CAUTIOUS
            return MORE
        return nothing_read(x, source, n)
    moved[0] = n
    count_bytes(x, to, n)
    count_write(x, to)
    while pipe.held:
        written = pipe_drain(pipe, to)
        if written < 0:
            if written != -EAGAIN:
                give_pipe(core, pipe)
                core.pipe = NULL
                return broken(x, to)
            to.ready &= <uint8_t> ~WRITABLE
            to.pipe = pipe          # it becomes the stream's, and a fresh one takes its place
            core.pipe = NULL
            fl_count(&core.counters.pipes, 1)
            return AGAIN
    return MORE
