# Carry bytes both ways between two connected streams until both have ended.
# Reads and writes the streams' readiness and pending chunks; counts bytes at the server.
# Ends: AGAIN (EXCHANGE_HAS_MORE: stopped by its budget), END, FAIL (a reset, or no memory).
from libc.errno cimport EAGAIN, EINVAL
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastlb._core.base.limits cimport BULK_HELD_BYTES_MAX, PUMP_BYTES_MAX, PUMP_READS_MAX
from fastlb._core.base.mem cimport (
    chunk_bytes, chunk_size, give_pending, take_chunk, take_pending,
)
from fastlb._core.base.net cimport net_tune, net_urgent, stream_read, stream_shut, stream_write
from fastlb._core.base.pipe cimport give_pipe, pipe_drain, pipe_fill, take_pipe
from fastlb._core.base.types cimport (
    AGAIN, END, ERROR, EXCHANGE_HAS_MORE, FAIL, NEXT, PEER_SHUT, READABLE, REASON_CLIENT_RESET,
    REASON_DONE, REASON_NO_MEMORY, REASON_SERVER_RESET, ROLE_CLIENT, STREAM_BULK,
    STREAM_CAUTIOUS, STREAM_EOF, STREAM_SHUT, STREAM_TUNED, URGENT, WRITABLE, Chunk, Core, Exchange,
    Pipe, Stream,
)
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely

cdef enum:
    MORE = 5            # a verdict inside this stage: this read moved something, try the next


cdef inline int _broken(Exchange* x, Stream* s) noexcept nogil:
    x.reason = REASON_CLIENT_RESET if s.role == ROLE_CLIENT else REASON_SERVER_RESET
    return FAIL


cdef inline void _count_write(Exchange* x, Stream* to) noexcept nogil:
    if unlikely(not to.flags & STREAM_TUNED):
        to.writes += 1
        if to.writes == 2:
            net_tune(to, &x.keepalive)


cdef int _flush(Core* core, Exchange* x, Stream* to) noexcept nogil:
    """Write what is pending: NEXT when nothing is left, else AGAIN or FAIL."""
    cdef Chunk* chunk = to.pending
    cdef ssize_t n
    if not to.ready & WRITABLE:
        return AGAIN
    if to.pipe != NULL:
        return _flush_pipe(core, x, to)
    n = stream_write(to, chunk_bytes(chunk) + chunk.start, chunk.end - chunk.start, False)
    if n < 0:
        if n != -EAGAIN:
            return _broken(x, to)
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
            return _broken(x, to)
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


cdef int _keep(Core* core, Stream* to, Chunk* chunk, ssize_t start, ssize_t end) noexcept nogil:
    """What couldn't be written waits with the stream. The scratch chunk it is in becomes the
    stream's, without a copy, and a fresh one takes its place; a small rest is copied instead."""
    cdef Chunk* fresh
    cdef uint32_t klass = chunk.klass
    if end - start <= <ssize_t> chunk_size(to.exchange.chunk_class):
        klass = to.exchange.chunk_class
    fresh = take_chunk(core, klass)
    if unlikely(fresh == NULL):
        to.exchange.reason = REASON_NO_MEMORY
        return FAIL
    if klass == chunk.klass:
        core.scratch[klass] = fresh
        fresh = chunk
    else:
        memcpy(chunk_bytes(fresh), chunk_bytes(chunk) + start, end - start)
        end -= start
        start = 0
    fresh.start = <uint32_t> start
    fresh.end = <uint32_t> end
    take_pending(core, to, fresh)
    return AGAIN


cdef inline int _read_class(Core* core, Exchange* x, Stream* source) noexcept nogil:
    """The small buffer stays in the cache and holds any message; large flows pay fewer calls with
    the large one (bench/micro/bulk_relay.md), unless slow readers hold too many of them."""
    if likely(not source.flags & STREAM_BULK):
        return x.chunk_class
    if core.counters.chunk_bytes >= BULK_HELD_BYTES_MAX:
        return x.chunk_class
    return x.bulk_class


cdef int _pump(Core* core, Exchange* x, Stream* source, Stream* to) noexcept nogil:
    """Move bytes one way: NEXT when `source` has ended and all is written, else AGAIN or FAIL."""
    cdef ssize_t moved = 0
    cdef int reads
    cdef int verdict = MORE
    if to.pending != NULL or to.pipe != NULL:
        verdict = _flush(core, x, to)
        if verdict != NEXT:
            # A reset cancels what still waits to be written (RFC 9293, 3.5.3).
            return _broken(x, source) if source.ready & ERROR else verdict
    if source.flags & STREAM_EOF:
        return _broken(x, source) if source.ready & ERROR else NEXT
    if not source.ready & READABLE:
        return AGAIN
    for reads in range(PUMP_READS_MAX):
        if unlikely(source.flags & STREAM_BULK) and _have_pipe(core, source, to):
            verdict = _splice(core, x, source, to, &moved)
        else:
            verdict = _copy(core, x, source, to, &moved)
        if verdict != MORE or not source.ready & READABLE or moved >= PUMP_BYTES_MAX:
            break
    if moved < <ssize_t> chunk_size(x.chunk_class):
        source.flags &= <uint8_t> ~STREAM_BULK
    if verdict != MORE:
        return verdict
    if source.ready & READABLE:
        x.flags |= EXCHANGE_HAS_MORE
    return AGAIN


cdef inline int _copy(Core* core, Exchange* x, Stream* source, Stream* to,
                      ssize_t* moved) noexcept nogil:
    cdef Chunk* chunk = core.scratch[_read_class(core, x, source)]
    cdef ssize_t size = chunk_size(chunk.klass)
    cdef ssize_t n, written
    n = stream_read(source, chunk_bytes(chunk), size)
    if unlikely(n <= 0):
        return _nothing_read(x, source, n)
    if n == size:
        source.flags |= STREAM_BULK
    else:
        _short_read(source)
    written = stream_write(to, chunk_bytes(chunk), n, source.flags & STREAM_EOF)
    if unlikely(written < n):
        if written < 0 and written != -EAGAIN:
            return _broken(x, to)
        to.ready &= <uint8_t> ~WRITABLE
        _count(x, to, n)
        return _keep(core, to, chunk, written if written > 0 else 0, n)
    _count_write(x, to)
    _count(x, to, n)
    moved[0] += n
    return NEXT if source.flags & STREAM_EOF else MORE


cdef inline bint _have_pipe(Core* core, Stream* source, Stream* to) noexcept nogil:
    if (source.flags | to.flags) & STREAM_CAUTIOUS:
        return False
    if unlikely(core.pipe == NULL):
        core.pipe = take_pipe(core)
    return core.pipe != NULL


cdef int _splice(Core* core, Exchange* x, Stream* source, Stream* to,
                 ssize_t* moved) noexcept nogil:
    """As _copy, for a flow that has shown itself to be bulk. A short count says nothing here: a
    pipe takes so many pieces, however small."""
    cdef Pipe* pipe = core.pipe
    cdef ssize_t n = pipe_fill(pipe, source)
    cdef ssize_t written
    if n <= 0:
        if n == -EINVAL:            # a socket that can't be spliced
            source.flags |= STREAM_CAUTIOUS
            return MORE
        return _nothing_read(x, source, n)
    moved[0] += n
    _count(x, to, n)
    _count_write(x, to)
    while pipe.held:
        written = pipe_drain(pipe, to)
        if written < 0:
            if written != -EAGAIN:
                give_pipe(core, pipe)
                core.pipe = NULL
                return _broken(x, to)
            to.ready &= <uint8_t> ~WRITABLE
            to.pipe = pipe          # it becomes the stream's, and a fresh one takes its place
            core.pipe = NULL
            fl_count(&core.counters.pipes, 1)
            return AGAIN
    return MORE


cdef inline int _nothing_read(Exchange* x, Stream* source, ssize_t n) noexcept nogil:
    # The error itself may have been taken already, when the connect was looked at.
    if (n < 0 and n != -EAGAIN) or (n == 0 and source.ready & ERROR):
        return _broken(x, source)
    source.ready &= <uint8_t> ~READABLE
    if n < 0:
        return AGAIN
    source.flags |= STREAM_EOF
    return NEXT


cdef inline void _short_read(Stream* source) noexcept nogil:
    """Drained: no second read only to be told EAGAIN. If the FIN was announced before this read,
    these were the last bytes, and the read that would return 0 is saved as well."""
    if source.flags & STREAM_CAUTIOUS or source.ready & ERROR:
        return
    source.ready &= <uint8_t> ~READABLE
    if source.ready & PEER_SHUT:
        source.flags |= STREAM_EOF


cdef inline void _count(Exchange* x, Stream* to, ssize_t n) noexcept nogil:
    if to.role == ROLE_CLIENT:
        fl_count(&x.counters.bytes_to_client, n)
    else:
        fl_count(&x.counters.bytes_to_server, n)


cdef int relay_step(Core* core, Exchange* x) noexcept nogil:
    cdef int to_server, to_client
    if unlikely((x.client.ready | x.server.ready) & URGENT):
        _be_cautious(&x.client)
        _be_cautious(&x.server)
    to_server = _pump(core, x, &x.client, &x.server)
    if unlikely(to_server == FAIL):
        return FAIL
    to_client = _pump(core, x, &x.server, &x.client)
    if unlikely(to_client == FAIL):
        return FAIL
    if likely(to_server == AGAIN and to_client == AGAIN):
        return AGAIN
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


cdef void _be_cautious(Stream* s) noexcept nogil:
    if s.ready & URGENT and not s.flags & STREAM_CAUTIOUS:
        net_urgent(s)
