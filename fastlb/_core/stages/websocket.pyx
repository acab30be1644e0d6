# Carry a WebSocket's bytes both ways, and follow its frames. So both sides can be told of an end
# between two frames. Relay does the same for TCP without the frames, which keeps each read short.
# Reads and writes the streams' readiness, pending chunks, and the frames; counts bytes.
# Ends: AGAIN (EXCHANGE_HAS_MORE: stopped by its budget), END, FAIL (a reset, or no memory).
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.duplex cimport end_ways, hear_urgent, pass_on, read_class
from fastlb._core.base.enums cimport (
    AGAIN, ERROR, EXCHANGE_HAS_MORE, FAIL, NEXT, READABLE, STREAM_BULK, STREAM_EOF, STREAM_SHUT,
)
from fastlb._core.base.flow cimport (
    MORE, broken, count_bytes, flow_flush, flow_have_pipe, flow_splice, flow_write, nothing_read,
    short_read,
)
from fastlb._core.base.limits cimport PIPE_BYTES, PUMP_BYTES_MAX, PUMP_READS_MAX
from fastlb._core.base.mem cimport chunk_bytes, chunk_size
from fastlb._core.base.parts cimport Frames
from fastlb._core.base.random cimport random64
from fastlb._core.base.stream cimport close_stream, stream_read, stream_shut
from fastlb._core.base.timers cimport timer_touch
from fastlb._core.base.types cimport Chunk, Core, Exchange, Stream
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.proto.frames cimport frames_follow, is_between, put_close

cdef enum:
    GOING_AWAY = 1001           # RFC 6455, 7.4.1


cdef inline bint _may_splice(Exchange* x, const Frames* frames) noexcept nogil:
    """Bytes that are spliced are not seen: of a WebSocket, only those within a frame may be."""
    return frames.step == 0 and not frames.is_parted and frames.left >= chunk_size(x.bulk_class)


cdef inline size_t _splice_bytes(const Frames* frames) noexcept nogil:
    return PIPE_BYTES if frames.left > PIPE_BYTES else <size_t> frames.left


cdef int _pump(Core* core, Exchange* x, Stream* source, Stream* to, Frames* frames) noexcept nogil:
    """Move bytes one way: NEXT when `source` has ended and all is written, else AGAIN or FAIL."""
    cdef ssize_t moved = 0, n = 0
    cdef int reads
    cdef int verdict = MORE
    if to.pending != NULL or to.pipe != NULL:
        verdict = flow_flush(core, x, to)
        if verdict != NEXT:
            # A reset cancels what still waits to be written (RFC 9293, 3.5.3).
            return broken(x, source) if source.ready & ERROR else verdict
    if source.flags & STREAM_EOF:
        return broken(x, source) if source.ready & ERROR else NEXT
    if not source.ready & READABLE:
        return AGAIN
    for reads in range(PUMP_READS_MAX):
        if unlikely(source.flags & STREAM_BULK) and _may_splice(x, frames) \
                and flow_have_pipe(core, source, to):
            verdict = flow_splice(core, x, source, to, _splice_bytes(frames), &n)
            moved += n
            frames.left -= <size_t> n
        else:
            verdict = _copy(core, x, source, to, frames, &moved)
        if verdict != MORE or not source.ready & READABLE or moved >= PUMP_BYTES_MAX:
            break
    if moved < <ssize_t> chunk_size(x.chunk_class):
        source.flags &= <uint8_t> ~STREAM_BULK
    if verdict != MORE:
        return verdict
    if source.ready & READABLE:
        x.flags |= EXCHANGE_HAS_MORE
    return AGAIN


cdef inline int _copy(Core* core, Exchange* x, Stream* source, Stream* to, Frames* frames,
                      ssize_t* moved) noexcept nogil:
    cdef Chunk* chunk = core.scratch[read_class(core, x, source)]
    cdef ssize_t size = chunk_size(chunk.klass)
    cdef ssize_t n = stream_read(source, chunk_bytes(chunk), size)
    if unlikely(n <= 0):
        return nothing_read(x, source, n)
    if n == size:
        source.flags |= STREAM_BULK
    else:
        short_read(source)
    frames_follow(frames, chunk_bytes(chunk), n)
    if unlikely(frames.is_parted):
        moved[0] += n
        return NEXT if source.flags & STREAM_EOF else MORE
    return pass_on(core, x, source, to, chunk, n, moved)


cdef inline int _carry(Core* core, Exchange* x) noexcept nogil:
    cdef int to_server, to_client
    hear_urgent(x)
    to_server = _pump(core, x, &x.client, &x.server, &x.upward)
    if unlikely(to_server == FAIL):
        return FAIL
    to_client = _pump(core, x, &x.server, &x.client, &x.downward)
    if unlikely(to_client == FAIL):
        return FAIL
    if likely(to_server == AGAIN and to_client == AGAIN):
        return AGAIN
    return end_ways(x, to_server, to_client)


cdef int websocket_step(Core* core, Exchange* x) noexcept nogil:
    """Bytes both ways; in the last part of a stop both sides hear that it ends."""
    cdef int verdict = _carry(core, x)
    if likely(verdict == AGAIN):
        timer_touch(core, &x.timer)
    if unlikely(core.parting) and verdict == AGAIN:
        if not _part(core, x, &x.client, &x.downward) or not _part(core, x, &x.server, &x.upward):
            return FAIL
    return verdict


cdef bint _part(Core* core, Exchange* x, Stream* to, Frames* frames) noexcept nogil:
    """Write a close frame if all before it is whole and written, and it is the only one. What comes
    from the other side after it is thrown away. False: the stream is broken."""
    cdef uint64_t key
    cdef uint32_t size
    cdef int verdict
    cdef int klass = x.chunk_class
    if frames.has_closed or frames.is_parted or not is_between(frames) \
            or to.pending != NULL or to.pipe != NULL or to.flags & STREAM_SHUT:
        return True
    key = random64(core)
    size = put_close(chunk_bytes(core.scratch[klass]), GOING_AWAY, to == &x.server,
                     <const uint8_t*> &key)
    count_bytes(x, to, size)
    verdict = flow_write(core, x, to, &core.scratch[klass], 0, size)
    frames.is_parted = True
    return verdict != FAIL


cdef void part_websocket(Core* core, Exchange* x) noexcept nogil:
    """Before it is cut: each side that can be told is told, and sees no reset."""
    if _part(core, x, &x.client, &x.downward) and _has_heard(&x.client, &x.downward):
        stream_shut(&x.client)
        close_stream(core, &x.client, False)
    if _part(core, x, &x.server, &x.upward) and _has_heard(&x.server, &x.upward):
        stream_shut(&x.server)
        close_stream(core, &x.server, False)


cdef inline bint _has_heard(const Stream* s, const Frames* frames) noexcept nogil:
    """Whether a close frame, ours or the other side's, has gone to it."""
    return (frames.is_parted or (frames.has_closed and is_between(frames))) \
        and s.pending == NULL and s.pipe == NULL
