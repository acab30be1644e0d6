# Read a request's head, and the body if a route asks about it. http/admit goes on with them.
# Reads the client's stream and the bind; writes x.input.
# Ends: NEXT (a server is wanted), ASK (a policy), ANSWER (x.status), CARRY, AGAIN, END (the client
# is done), FAIL.
from libc.errno cimport EAGAIN
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memchr, memcmp, memcpy, memmove

from fastlb._core.base.enums cimport (
    AGAIN, CARRY, END, EXCHANGE_HAS_MORE, LAYER_NONE, READABLE, REASON_BAD_REQUEST, REASON_DONE,
    REASON_NO_MEMORY, REASON_TOO_LARGE, STREAM_EOF,
)
from fastlb._core.base.flow cimport broken, flow_read
from fastlb._core.base.limits cimport HTTP_OUTPUT_CLASS
from fastlb._core.base.mem cimport chunk_bytes, chunk_size, give_input, take_held, take_input
from fastlb._core.base.routing cimport HttpEntry
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport Chunk, Core, Exchange
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.http.admit cimport admit, forget_request, refuse, refuse_head
from fastlb._core.http.pace cimport begin_head
from fastlb._core.proto.http1 cimport parse_request


cdef enum:
    PREFACE_BYTES = 24

cdef const char* PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


cdef bint _may_be_whole(const uint8_t* data, uint32_t seen, uint32_t size) noexcept nogil:
    """Whether a head that was incomplete up to `seen` is worth another look: it has got its blank
    line, or a line that ends as none may."""
    cdef uint32_t i = seen
    cdef const uint8_t* found
    while i < size:
        found = <const uint8_t*> memchr(data + i, 10, size - i)
        if found == NULL:
            return False
        i = <uint32_t> (found - data)
        if i == 0 or data[i - 1] != c'\r':
            return True
        if i >= 3 and data[i - 2] == c'\n':
            return True
        i += 1
    return False


cdef int _nothing(Core* core, Exchange* x, ssize_t n) noexcept nogil:
    """There was nothing to read: wait, or the client has gone."""
    if n == -EAGAIN:
        return AGAIN
    if n < 0:
        return broken(x, &x.client)
    x.reason = REASON_DONE if x.input == NULL else REASON_BAD_REQUEST
    return END


cdef bint _may_be_h2(const Exchange* x, const uint8_t* data, uint32_t size) noexcept nogil:
    """Whether a connection begins as HTTP/2 does (RFC 9113, 3.4), as far as it is here."""
    return (x.requests == 0 and x.carrier == NULL and x.client.layer == LAYER_NONE
            and memcmp(data, PREFACE, size if size < PREFACE_BYTES else PREFACE_BYTES) == 0)


cdef int _sniff(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil:
    if not _may_be_h2(x, chunk_bytes(x.input) + x.input.start, x.input.end - x.input.start):
        x.flags |= EXCHANGE_HAS_MORE        # (it only began alike)
        return AGAIN
    if x.input.end - x.input.start >= PREFACE_BYTES:
        return CARRY
    if x.client.flags & STREAM_EOF:
        return _nothing(core, x, 0)
    if x.timer.slot != entry.header_timer or x.timer.link.next == NULL:
        timer_start(core, &x.timer, entry.header_timer)
    return AGAIN if not x.client.ready & READABLE else _more_later(x)


cdef inline uint32_t _empty_lines(const uint8_t* data, uint32_t size) noexcept nogil:
    """Bytes of those that some clients send behind a body (RFC 9112, 2.2). They begin no request,
    and start no timer."""
    cdef uint32_t n = 0
    while n < size and (data[n] == c'\r' or data[n] == c'\n'):
        n += 1
    return n


cdef void _drop_empty_lines(Core* core, Exchange* x) noexcept nogil:
    """Of what came with the request before."""
    cdef Chunk* chunk = x.input
    chunk.start += _empty_lines(chunk_bytes(chunk) + chunk.start, chunk.end - chunk.start)
    if chunk.start == chunk.end:
        give_input(core, x)


cdef int request_step(Core* core, Exchange* x) noexcept nogil:
    cdef HttpEntry* entry = x.bind.http
    cdef Chunk* scratch = core.scratch[x.chunk_class]
    cdef uint8_t* data
    cdef uint32_t size, seen
    cdef ssize_t n
    cdef int used
    if unlikely(x.wanted != 0):
        return _gather(core, x, entry)
    if x.input != NULL and x.input.scanned == 0:
        _drop_empty_lines(core, x)
    if x.input == NULL:
        if not x.client.ready & READABLE:
            return _nothing(core, x, 0) if x.client.flags & STREAM_EOF else AGAIN
        n = flow_read(&x.client, chunk_bytes(scratch), chunk_size(scratch.klass))
        if n <= 0:
            return _nothing(core, x, n)
        data = chunk_bytes(scratch)
        size = <uint32_t> n
        if unlikely(data[0] == c'\r' or data[0] == c'\n'):
            seen = _empty_lines(data, size)
            data += seen
            size -= seen
            if size == 0:
                return _wait(core, x)
        if unlikely(entry.h2c) and _may_be_h2(x, data, size):
            if not take_input(core, x, data, size):
                return refuse(x, 503, REASON_NO_MEMORY)
            return _sniff(core, x, entry)
        used = parse_request(&core.http.head, data, size, entry.fields_max, entry.uri_bytes_max)
        if likely(used > 0):
            return admit(core, x, data, <uint32_t> used, size)
        if used == 0 and not take_input(core, x, data, size):
            return refuse(x, 503, REASON_NO_MEMORY)
    elif unlikely(entry.h2c) and _may_be_h2(
            x, chunk_bytes(x.input) + x.input.start, x.input.end - x.input.start):
        if not x.client.ready & READABLE:
            return _nothing(core, x, 0) if x.client.flags & STREAM_EOF else AGAIN
        n = flow_read(&x.client, chunk_bytes(x.input) + x.input.end,
                      chunk_size(x.input.klass) - x.input.end)
        if n <= 0:
            return _nothing(core, x, n)
        x.input.end += <uint32_t> n
        return _sniff(core, x, entry)
    else:
        seen = x.input.scanned
        if seen == 0:                   # pipelined: what came with the request before
            used = _try(core, x, entry)
        elif not x.client.ready & READABLE:
            return _nothing(core, x, 0) if x.client.flags & STREAM_EOF else AGAIN
        else:
            used = 0
        if used == 0 and x.client.ready & READABLE:
            if x.input.end == chunk_size(x.input.klass) and not _grow_input(
                    core, x, entry.header_bytes_max):
                return refuse(x, 431, REASON_TOO_LARGE)
            n = flow_read(&x.client, chunk_bytes(x.input) + x.input.end,
                          chunk_size(x.input.klass) - x.input.end)
            if n <= 0:
                return _nothing(core, x, n)
            x.input.end += <uint32_t> n
            used = _try(core, x, entry)
        if used > 0:
            return admit(core, x, chunk_bytes(x.input) + x.input.start, <uint32_t> used,
                          x.input.end - x.input.start)
    if used < 0:
        return refuse_head(x, -used)
    if x.input.end - x.input.start > entry.header_bytes_max:
        return refuse(x, 431, REASON_TOO_LARGE)
    if unlikely(entry.pace_timer != 0):
        if x.input.scanned == 0:
            begin_head(core, x)
    elif x.timer.slot != entry.header_timer or x.timer.link.next == NULL:
        timer_start(core, &x.timer, entry.header_timer)
    x.input.scanned = x.input.end
    return _wait(core, x)


cdef int _wait(Core* core, Exchange* x) noexcept nogil:
    """For more, if there is any to come."""
    if x.client.flags & STREAM_EOF:
        return _nothing(core, x, 0)
    return AGAIN if not x.client.ready & READABLE else _more_later(x)


cdef inline int _more_later(Exchange* x) noexcept nogil:
    """There is more to read: come back after others had their turn."""
    x.flags |= EXCHANGE_HAS_MORE
    return AGAIN


cdef int _try(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil:
    """Parse what is in x.input, if it may be whole by now."""
    cdef Chunk* chunk = x.input
    cdef uint8_t* data = chunk_bytes(chunk) + chunk.start
    cdef uint32_t seen = chunk.scanned - chunk.start if chunk.scanned else 0
    if seen and not _may_be_whole(data, seen, chunk.end - chunk.start):
        return 0
    return parse_request(&core.http.head, data, chunk.end - chunk.start, entry.fields_max,
                         entry.uri_bytes_max)


cdef int _gather(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil:
    """Read on until the body is here that a route asks about."""
    cdef ssize_t n
    cdef int used
    if not x.client.ready & READABLE:
        return _nothing(core, x, 0) if x.client.flags & STREAM_EOF else AGAIN
    if x.input.end == chunk_size(x.input.klass) and not _grow_input(core, x, x.wanted):
        forget_request(core, x)
        return refuse(x, 503, REASON_NO_MEMORY)
    n = flow_read(&x.client, chunk_bytes(x.input) + x.input.end,
                  chunk_size(x.input.klass) - x.input.end)
    if n <= 0:
        return _nothing(core, x, n)
    x.input.end += <uint32_t> n
    if x.input.end - x.input.start < x.wanted:
        return AGAIN if not x.client.ready & READABLE else _more_later(x)
    used = parse_request(&core.http.head, chunk_bytes(x.input) + x.input.start,
                         x.input.end - x.input.start, entry.fields_max, entry.uri_bytes_max)
    if unlikely(used <= 0):             # (it was whole before)
        forget_request(core, x)
        return refuse(x, 400, REASON_BAD_REQUEST)
    return admit(core, x, chunk_bytes(x.input) + x.input.start, <uint32_t> used,
                 x.input.end - x.input.start)


cdef bint _grow_input(Core* core, Exchange* x, uint32_t limit) noexcept nogil:
    """Room for more than `limit` bytes at most: move what there is to the chunk's begin, or to a
    larger chunk."""
    cdef Chunk* chunk = x.input
    cdef Chunk* bigger
    cdef uint32_t size = chunk.end - chunk.start
    if chunk.start:
        memmove(chunk_bytes(chunk), chunk_bytes(chunk) + chunk.start, size)
        chunk.scanned = chunk.scanned - chunk.start if chunk.scanned else 0
        chunk.start = 0
        chunk.end = size
        return True
    if size > limit or chunk.klass + 1 >= HTTP_OUTPUT_CLASS:
        return False
    bigger = take_held(core, chunk.klass + 1)
    if bigger == NULL:
        return False
    memcpy(chunk_bytes(bigger), chunk_bytes(chunk), size)
    bigger.end = size
    bigger.scanned = chunk.scanned
    give_input(core, x)
    x.input = bigger
    return True
