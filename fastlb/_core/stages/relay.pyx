# Carry bytes both ways between two connected streams until both have ended.
# Reads and writes the streams' readiness and pending chunks; counts bytes at the server.
# Ends: AGAIN (EXCHANGE_HAS_MORE: stopped by its budget), END, FAIL (a reset, or no memory).
from libc.errno cimport EAGAIN
from libc.stdint cimport uint8_t

from fastlb._core.base.duplex cimport end_ways, hear_urgent, read_class
from fastlb._core.base.enums cimport (
    AGAIN, ERROR, EXCHANGE_HAS_MORE, FAIL, NEXT, READABLE, STREAM_BULK, STREAM_EOF, WRITABLE,
)
from fastlb._core.base.flow cimport (
    MORE, broken, count_bytes, count_write, flow_flush, flow_have_pipe, flow_keep, flow_splice,
    nothing_read, short_read,
)
from fastlb._core.base.limits cimport PIPE_BYTES, PUMP_BYTES_MAX, PUMP_READS_MAX
from fastlb._core.base.mem cimport chunk_bytes, chunk_size
from fastlb._core.base.stream cimport stream_put, stream_read
from fastlb._core.base.types cimport Chunk, Core, Exchange, Stream
from fastlb._core.ext.atomic cimport likely, unlikely


cdef int _pump(Core* core, Exchange* x, Stream* source, Stream* to) noexcept nogil:
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
        if unlikely(source.flags & STREAM_BULK) and flow_have_pipe(core, source, to):
            verdict = flow_splice(core, x, source, to, PIPE_BYTES, &n)
            moved += n
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
    cdef Chunk* chunk = core.scratch[read_class(core, x, source)]
    cdef ssize_t size = chunk_size(chunk.klass)
    cdef ssize_t n, written
    n = stream_read(source, chunk_bytes(chunk), size)
    if unlikely(n <= 0):
        return nothing_read(x, source, n)
    if n == size:
        source.flags |= STREAM_BULK
    else:
        short_read(source)
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


cdef int relay_step(Core* core, Exchange* x) noexcept nogil:
    cdef int to_server, to_client
    hear_urgent(x)
    to_server = _pump(core, x, &x.client, &x.server)
    if unlikely(to_server == FAIL):
        return FAIL
    to_client = _pump(core, x, &x.server, &x.client)
    if unlikely(to_client == FAIL):
        return FAIL
    if likely(to_server == AGAIN and to_client == AGAIN):
        return AGAIN
    return end_ways(x, to_server, to_client)
