# Both directions of two connected streams: what the stages that carry bytes share.
from libc.errno cimport EAGAIN
from libc.stdint cimport uint8_t

from fastlb._core.base.enums cimport (
    AGAIN, END, ERROR, EXCHANGE_HAS_MORE, NEXT, READABLE, REASON_DONE, STREAM_BULK,
    STREAM_CAUTIOUS, STREAM_EOF, STREAM_SHUT, URGENT, WRITABLE,
)
from fastlb._core.base.flow cimport (
    MORE, broken, count_bytes, count_write, flow_flush, flow_have_pipe, flow_keep, flow_splice,
    nothing_read, short_read,
)
from fastlb._core.base.limits cimport (
    BULK_HELD_BYTES_MAX, PIPE_BYTES, PUMP_BYTES_MAX, PUMP_READS_MAX,
)
from fastlb._core.base.mem cimport chunk_bytes, chunk_size
from fastlb._core.base.net cimport net_urgent
from fastlb._core.base.stream cimport stream_put, stream_read, stream_shut
from fastlb._core.base.types cimport Chunk, Core, Exchange, Stream
from fastlb._core.ext.atomic cimport likely, unlikely


cdef inline int read_class(Core* core, Exchange* x, Stream* source) noexcept nogil:
    """The small buffer stays in the cache and holds any message; large flows pay fewer calls with
    the large one (bench/micro/bulk_relay.md), unless slow readers hold too many of them."""
    if likely(not source.flags & STREAM_BULK):
        return x.chunk_class
    if core.counters.chunk_bytes >= BULK_HELD_BYTES_MAX:
        return x.chunk_class
    return x.bulk_class


cdef inline void hear_urgent(Exchange* x) noexcept nogil:
    if unlikely((x.client.ready | x.server.ready) & URGENT):
        _be_cautious(&x.client)
        _be_cautious(&x.server)


cdef inline void _be_cautious(Stream* s) noexcept nogil:
    if s.ready & URGENT and not s.flags & STREAM_CAUTIOUS:
        net_urgent(s)


cdef inline int pass_on(Core* core, Exchange* x, Stream* source, Stream* to, Chunk* chunk,
                        ssize_t n, ssize_t* moved) noexcept nogil:
    """Write `n` bytes that were read into a scratch chunk; what can't be written waits."""
    cdef ssize_t written
    written = stream_put(core, to, chunk_bytes(chunk), n, source.flags & STREAM_EOF)
    if unlikely(written < n):
        if written < 0 and written != -EAGAIN:
            return broken(x, to)
        to.ready &= <uint8_t> ~WRITABLE
        count_bytes(x, to, n)
        return flow_keep(core, x, to, &core.scratch[chunk.klass],
                         written if written > 0 else 0, n)
    count_write(x, to)
    count_bytes(x, to, n)
    moved[0] += n
    if unlikely(to.pending != NULL):
        return AGAIN
    return NEXT if source.flags & STREAM_EOF else MORE


cdef inline int _copy(Core* core, Exchange* x, Stream* source, Stream* to, ssize_t most,
                      ssize_t* moved) noexcept nogil:
    cdef Chunk* chunk = core.scratch[read_class(core, x, source)]
    cdef ssize_t size = chunk_size(chunk.klass)
    cdef ssize_t n = stream_read(source, chunk_bytes(chunk), min(size, most))
    if unlikely(n <= 0):
        return nothing_read(x, source, n)
    if n == size:
        source.flags |= STREAM_BULK
    elif likely(n < most):
        short_read(source)
    return pass_on(core, x, source, to, chunk, n, moved)


cdef inline int pump(Core* core, Exchange* x, Stream* source, Stream* to,
                     ssize_t most) noexcept nogil:
    """Move up to `most` bytes one way: NEXT when `source` has ended and all is written, else AGAIN
    or FAIL."""
    cdef ssize_t moved = 0, n = 0, at_once
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
    if unlikely(most == 0):             # (what has come is read later, but for a reset's)
        return broken(x, source) if source.ready & ERROR else AGAIN
    for reads in range(PUMP_READS_MAX):
        # (a bound that is a turn's share alone isn't worth a short read)
        at_once = most - moved if most != PUMP_BYTES_MAX else most
        if unlikely(source.flags & STREAM_BULK) and flow_have_pipe(core, source, to):
            verdict = flow_splice(core, x, source, to, min(at_once, <ssize_t> PIPE_BYTES), &n)
            moved += n
        else:
            verdict = _copy(core, x, source, to, at_once, &moved)
        if verdict != MORE or not source.ready & READABLE or moved >= most:
            break
    if moved < <ssize_t> chunk_size(x.chunk_class):
        source.flags &= <uint8_t> ~STREAM_BULK
    if verdict != MORE:
        return verdict
    if source.ready & READABLE:
        x.flags |= EXCHANGE_HAS_MORE
    return AGAIN


cdef inline int end_ways(Exchange* x, int to_server, int to_client) noexcept nogil:
    """The verdict of both ways; one that has ended is shut for the side that it goes to."""
    if to_server == NEXT and to_client == NEXT:
        x.reason = REASON_DONE      # both close now, which sends the FINs that are still owed
        return END
    if to_server == NEXT and not x.server.flags & STREAM_SHUT:
        x.server.flags |= STREAM_SHUT
        stream_shut(&x.server)
    if to_client == NEXT and not x.client.flags & STREAM_SHUT:
        x.client.flags |= STREAM_SHUT
        stream_shut(&x.client)
    return AGAIN
