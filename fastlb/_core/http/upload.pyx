# A request on its way to its server: the head, then the body as it comes.
from libc.errno cimport EAGAIN
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from fastlb._core.base.clock cimport engine_ns
from fastlb._core.base.enums cimport (
    AGAIN, ANSWER, EXCHANGE_CLOSE, EXCHANGE_HAS_MORE, EXCHANGE_SHADOW, FAIL, HTTP_BINDS, NEXT,
    READABLE, REASON_BAD_REQUEST, REASON_CLIENT_GONE, REASON_NO_MEMORY, REASON_SERVER_RESET,
    REASON_TOO_LARGE, STREAM_BULK, STREAM_EOF, TRY_SENT, TRY_UPLOAD_CUT, WRITABLE,
)
from fastlb._core.base.flow cimport (
    MORE, broken, count_bytes, count_write, flow_flush, flow_have_pipe, flow_read, flow_splice,
    flow_write,
)
from fastlb._core.base.filters cimport Sent
from fastlb._core.base.head cimport BODY_LENGTH, Body
from fastlb._core.base.limits cimport (
    H2_CROWD, H2_UPLOAD_BYTES, HTTP_HEADROOM, HTTP_READ_BYTES, PUMP_READS_MAX,
)
from fastlb._core.base.mem cimport chunk_bytes, give_held, give_input, take_input
from fastlb._core.base.stream cimport stream_write
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport Chunk, Core, Exchange, Http, Stream
from fastlb._core.ext.atomic cimport unlikely
from fastlb._core.http.body cimport Region, decode, end_chunks, fail, frame
from fastlb._core.http.filters cimport filter_upload
from fastlb._core.http.pace cimport note_sent


cdef int _cut_upload(Exchange* x) noexcept nogil:
    """The server takes no more: it may have answered before it closed."""
    x.attempt.flags |= TRY_UPLOAD_CUT
    x.flags |= EXCHANGE_CLOSE if not x.http.request.done else 0
    x.to_server.ready |= READABLE
    return NEXT


cdef int _send_head(Core* core, Exchange* x) noexcept nogil:
    cdef Http* http = x.http
    cdef Chunk* head = x.attempt.head
    cdef Stream* to = x.to_server
    cdef ssize_t n
    if not to.ready & WRITABLE:
        return AGAIN
    if unlikely(http.flags & HTTP_BINDS):
        x.attempt.upstream.is_bound = True
    n = stream_write(to, chunk_bytes(head) + head.start, head.end - head.start, False)
    if unlikely(n < 0):
        if n != -EAGAIN:
            return _cut_upload(x)
        n = 0
    count_bytes(x, to, n)
    head.start += <uint32_t> n
    if unlikely(head.start < head.end):
        to.ready &= <uint8_t> ~WRITABLE
        return AGAIN
    count_write(x, to)
    x.attempt.flags |= TRY_SENT
    if unlikely(x.pool.is_measured):
        x.attempt.measured_ns = core.now_ns = engine_ns(core)
    x.attempt.sent_ns = core.now_ns
    timer_start(core, &x.timer, http.route.response_timer if http.request.done
                else http.route.body_timer)
    return NEXT


cdef int _read_body(Core* core, Exchange* x, Region* data) noexcept nogil:
    """More of the client's body into the scratch chunk: MORE, or AGAIN or FAIL."""
    cdef Body* body = &x.http.request
    cdef uint32_t size = HTTP_READ_BYTES
    cdef ssize_t n
    data.at = HTTP_HEADROOM
    if unlikely(x.carrier != NULL) and x.carrier.h2.n_streams > H2_CROWD:
        size = H2_UPLOAD_BYTES          # (what the server doesn't take is kept: see docs/http2.md)
    if body.kind == BODY_LENGTH and body.left < size:
        size = <uint32_t> body.left
    if x.input != NULL:
        n = x.input.end - x.input.start
        if n > size:
            n = size
        memcpy(chunk_bytes(core.http.scratch) + HTTP_HEADROOM,
               chunk_bytes(x.input) + x.input.start, n)
        x.input.start += <uint32_t> n
        if x.input.start == x.input.end:
            give_input(core, x)
    else:
        if not x.client.ready & READABLE and not x.client.flags & STREAM_EOF:
            return AGAIN
        n = flow_read(&x.client, chunk_bytes(core.http.scratch) + HTTP_HEADROOM, size)
        if n == -EAGAIN:
            return AGAIN
        if n <= 0:                      # it owes us the rest
            return fail(x, REASON_CLIENT_GONE) if n == 0 else broken(x, &x.client)
        if n == HTTP_READ_BYTES:
            x.client.flags |= STREAM_BULK
    data.end = data.at + <uint32_t> n
    return MORE


cdef int _next_part(Core* core, Exchange* x, Region* content, Region* out) noexcept nogil:
    """The next part of the body, and the same as the server gets it: MORE, AGAIN, ANSWER or
    FAIL."""
    cdef Body* body = &x.http.request
    cdef Region data
    cdef uint32_t size
    cdef int used
    cdef int verdict
    content.at = content.end = 0
    if unlikely(x.flags & EXCHANGE_SHADOW):
        return _next_of_mirror(core, x, out)
    verdict = _read_body(core, x, &data)
    if verdict != MORE:
        return verdict
    if body.kind == BODY_LENGTH:
        content[0] = out[0] = data
        body.left -= data.end - data.at
        body.total += data.end - data.at
        body.done = body.left == 0
        return MORE
    # (what follows the body in the scratch chunk is saved before the body's end overwrites it)
    used = decode(core, body, &data, out, NULL)
    if used < 0:
        x.flags |= EXCHANGE_CLOSE
        x.status = 400
        x.reason = REASON_BAD_REQUEST
        return ANSWER
    size = data.end - data.at - <uint32_t> used
    if size and not _push_back(core, x, chunk_bytes(core.http.scratch) + data.at + used, size):
        return fail(x, REASON_NO_MEMORY)
    content[0] = out[0]
    frame(chunk_bytes(core.http.scratch), out)
    if body.done:
        end_chunks(chunk_bytes(core.http.scratch), out)
    if x.http.route.body_bytes_max and body.total > x.http.route.body_bytes_max:
        x.flags |= EXCHANGE_CLOSE
        x.status = 413
        x.reason = REASON_TOO_LARGE
        return ANSWER
    return MORE


cdef int _next_of_mirror(Core* core, Exchange* x, Region* out) noexcept nogil:
    """The same for a copy, which is fed what is framed already."""
    cdef uint32_t size
    out.at = out.end = HTTP_HEADROOM
    if x.input == NULL:
        if x.mirror != NULL:
            return AGAIN
        x.http.request.done = True
        return MORE
    size = x.input.end - x.input.start
    if size > HTTP_READ_BYTES:
        size = HTTP_READ_BYTES
    memcpy(chunk_bytes(core.http.scratch) + out.at, chunk_bytes(x.input) + x.input.start, size)
    out.end += size
    x.input.start += size
    if x.input.start == x.input.end:
        give_input(core, x)
    return MORE


cdef bint _push_back(Core* core, Exchange* x, const uint8_t* data, uint32_t size) noexcept nogil:
    """The next request's bytes, read with this one's: back to x.input, where they may have been."""
    if x.input == NULL:
        return take_input(core, x, data, size)
    x.input.start -= size           # they are still there
    return True


cdef int _show(Core* core, Exchange* x, const Region* content, const Region* out) noexcept nogil:
    """Let filters see a part of the body: MORE or FAIL."""
    cdef const uint8_t* bytes = chunk_bytes(core.http.scratch)
    cdef Sent sent
    sent.content, sent.size = bytes + content.at, content.end - content.at
    sent.framed, sent.framed_size = bytes + out.at, out.end - out.at
    sent.is_last = x.http.request.done
    return FAIL if filter_upload(core, x, &sent) == FAIL else MORE


cdef int upload(Core* core, Exchange* x) noexcept nogil:
    cdef Http* http = x.http
    cdef Stream* to = x.to_server
    cdef Region content
    cdef Region out
    cdef ssize_t moved
    cdef uint64_t sent = 0
    cdef int verdict = NEXT
    cdef int reads
    if not x.attempt.flags & TRY_SENT:
        verdict = _send_head(core, x)
        if verdict != NEXT or x.attempt.flags & TRY_UPLOAD_CUT:
            return verdict
        if unlikely(http.entry.pace_timer != 0) and http.taken:
            note_sent(core, x)
    if to.pending != NULL or to.pipe != NULL:
        verdict = flow_flush(core, x, to)
        if verdict == FAIL:
            return _cut_upload(x)
        if verdict == AGAIN:
            http.pace.is_excused = True    # (the client needn't send more)
            return AGAIN
    for reads in range(PUMP_READS_MAX):
        if http.request.done:
            break
        if x.client.flags & STREAM_BULK and x.input == NULL and x.client.ready & READABLE \
                and http.request.kind == BODY_LENGTH and http.uploads == 0 \
                and flow_have_pipe(core, &x.client, to):
            verdict = flow_splice(core, x, &x.client, to, http.request.left, &moved)
            http.request.left -= moved
            http.request.total += moved
            http.request.done = http.request.left == 0
            sent += moved
            if verdict == NEXT:
                return fail(x, REASON_CLIENT_GONE)
        else:
            verdict = _next_part(core, x, &content, &out)
            if unlikely(x.attempt.head != NULL) and http.request.total > http.taken:
                give_held(core, x.attempt.head)          # it can't be sent again
                x.attempt.head = NULL
            if verdict == MORE and out.end > out.at:
                if unlikely(http.uploads != 0) \
                        and _show(core, x, &content, &out) == FAIL:
                    return FAIL
                sent += out.end - out.at
                count_bytes(x, to, out.end - out.at)
                verdict = flow_write(core, x, to, &core.http.scratch, out.at, out.end)
        if verdict == FAIL:
            if x.reason == REASON_SERVER_RESET:
                return _cut_upload(x)
            return FAIL
        if verdict == ANSWER:
            return ANSWER
        if verdict == AGAIN:
            break
    if sent:
        timer_start(core, &x.timer, http.route.response_timer if http.request.done
                    else http.route.body_timer)
        if unlikely(http.entry.pace_timer != 0):
            note_sent(core, x)
    if verdict == AGAIN or http.request.done:
        return AGAIN
    x.flags |= EXCHANGE_HAS_MORE
    return AGAIN
