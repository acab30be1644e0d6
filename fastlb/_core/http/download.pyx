# A response on its way to its client: the head, then the body as it comes.
# Reads the server's stream and x.http.response; writes the client's stream.
# Ends: NEXT (all is written), AGAIN, TUNNEL, RETRY, ELSEWHERE, FAIL (x.reason).
from libc.errno cimport EAGAIN
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memchr, memcpy

from fastlb._core.base.enums cimport (
    AGAIN, ELSEWHERE, EXCHANGE_HAS_MORE, FAIL, H2_TOO_LARGE, HTTP_CONTENT, HTTP_DISCARD, HTTP_GRPC,
    HTTP_HEAD_DONE, HTTP_KEPT_BACK, HTTP_OLD_CLIENT, HTTP_PAUSED, HTTP_RECODED, HTTP_TRAILERS,
    HTTP_WEBSOCKET, LAYER_H2, NEXT, READABLE, REASON_BAD_RESPONSE, REASON_NO_MEMORY,
    REASON_SERVER_CLOSED, REASON_SERVER_RESET, RETRY, STREAM_BULK, STREAM_EOF, TRY_ANSWERING,
    TUNNEL,
)
from fastlb._core.base.filters cimport Content
from fastlb._core.base.flow cimport (
    MORE, count_bytes, flow_flush, flow_have_pipe, flow_read, flow_splice, flow_write,
)
from fastlb._core.base.head cimport BODY_CHUNKED, BODY_CLOSE, BODY_LENGTH, Body
from fastlb._core.base.limits cimport (
    CONTENT_BUSY_BYTES, HTTP_HEADROOM, HTTP_READ_BYTES, PIPE_BYTES, PUMP_READS_MAX,
)
from fastlb._core.base.mem cimport chunk_bytes, give_held
from fastlb._core.base.text cimport Writer
from fastlb._core.base.timers cimport timer_start, timer_touch
from fastlb._core.base.types cimport Chunk, Core, Exchange, Http, Stream
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.failing.retry cimport is_untouched
from fastlb._core.http.body cimport Region, decode, end_chunks, fail, frame, read_bytes
from fastlb._core.http.filters cimport filter_content
from fastlb._core.http.grpc cimport note_grpc_trailers
from fastlb._core.http.heads cimport place_head, refuse_large
from fastlb._core.http.response cimport read_head, save_partial
from fastlb._core.http.trailers cimport (
    end_with_trailers, keep_trailers, put_trailers, trailers_room,
)
from fastlb._core.proto.frames cimport frames_follow


cdef enum:                      # HttpFlag: what the head of a response has decided
    OF_A_RESPONSE = HTTP_HEAD_DONE | HTTP_CONTENT | HTTP_RECODED | HTTP_KEPT_BACK | HTTP_PAUSED


cdef int _no_more(Core* core, Exchange* x, int reason) noexcept nogil:
    """The server has closed or reset its connection."""
    cdef Http* http = x.http
    if unlikely(x.to_server.layer == LAYER_H2) and x.to_server.h2.flags & H2_TOO_LARGE:
        return refuse_large(core, x, x.to_server.h2.head_bytes)
    if not x.attempt.flags & TRY_ANSWERING:
        return RETRY if is_untouched(x) else fail(x, reason)
    if http.flags & HTTP_HEAD_DONE and http.response.kind == BODY_CLOSE \
            and reason == REASON_SERVER_CLOSED:
        http.response.done = True
        return NEXT
    return fail(x, reason)


cdef int _to_client(Core* core, Exchange* x, Chunk** place, Region* out) noexcept nogil:
    if out.end == out.at or x.http.flags & HTTP_DISCARD:
        return NEXT
    count_bytes(x, &x.client, out.end - out.at)
    return flow_write(core, x, &x.client, place, out.at, out.end)


cdef int _tunnel(Core* core, Exchange* x, Region* data, uint32_t head_size) noexcept nogil:
    """The 101, and what the server said right after it."""
    if x.http.flags & HTTP_WEBSOCKET:
        frames_follow(&x.downward, chunk_bytes(core.http.scratch) + data.at, data.end - data.at)
    if not place_head(core, core.http.scratch, data, head_size):
        return fail(x, REASON_BAD_RESPONSE)
    if _to_client(core, x, &core.http.scratch, data) == FAIL:
        return FAIL
    return TUNNEL


cdef int _take_trailers(Core* core, Exchange* x, const uint8_t* section, uint32_t size,
                        Chunk* chunk, uint32_t* end) noexcept nogil:
    """Keep the trailers that have come; once the body is done, write them behind it in `chunk`, for
    a client that wants them: NEXT or FAIL."""
    cdef Http* http = x.http
    if not http.response.done:
        return NEXT if keep_trailers(core, x, section, size) else fail(x, REASON_NO_MEMORY)
    if http.flags & HTTP_GRPC:
        note_grpc_trailers(http, section, size)
    if not http.flags & HTTP_OLD_CLIENT:
        end[0] += put_trailers(section, size, chunk_bytes(chunk) + end[0])
    elif x.carrier != NULL and size and not end_with_trailers(
            x, section, size, chunk_bytes(chunk) + end[0]):
        return fail(x, REASON_NO_MEMORY)
    return NEXT


cdef int _decode(Core* core, Exchange* x, Region* data, Region* out, bint framed,
                 Writer* trailers) noexcept nogil:
    """Find the body's part of what was read, as one chunk if `framed`: NEXT or FAIL. Bytes beyond
    the body's end make the connection useless for other requests."""
    cdef Http* http = x.http
    cdef Body* body = &http.response
    cdef uint32_t size = data.end - data.at
    cdef uint32_t used = size
    cdef int n
    out[0] = data[0]
    if body.done:
        used = 0
        out.end = out.at
    elif body.kind == BODY_CHUNKED:
        n = decode(core, body, data, out, trailers)
        if n < 0:
            return refuse_large(core, x, body.extra) if body.extra > body.trailers_max \
                else fail(x, REASON_BAD_RESPONSE)
        if framed:
            frame(chunk_bytes(core.http.scratch), out)
        used = <uint32_t> n
    else:
        if body.kind == BODY_LENGTH:
            if used > body.left:
                used = <uint32_t> body.left
            body.left -= used
            body.done = body.left == 0
            out.end = out.at + used
        body.total += used
    if used < size:
        x.attempt.upstream.keep = False
    return NEXT


cdef int _take_body(Core* core, Exchange* x, Region* data, Region* out) noexcept nogil:
    """Frame the body's part of what was read for the client: NEXT or FAIL."""
    cdef Http* http = x.http
    cdef bint was_done = http.response.done
    cdef bint framed = not http.flags & HTTP_OLD_CLIENT
    cdef Writer trailers
    cdef uint8_t* section
    if http.response.kind != BODY_CHUNKED or likely(not http.flags & HTTP_TRAILERS):
        if _decode(core, x, data, out, framed, NULL) == FAIL:
            return FAIL
        if framed and http.response.kind == BODY_CHUNKED and http.response.done and not was_done:
            end_chunks(chunk_bytes(core.http.scratch), out)
        return NEXT
    section = trailers_room(core, x, &trailers)
    if _decode(core, x, data, out, framed, &trailers) == FAIL:
        return FAIL
    return NEXT if was_done else _take_trailers(
        core, x, section, <uint32_t> (trailers.at - section), core.http.scratch, &out.end)


# --- content that filters want ---

cdef int _make_content(Core* core, Exchange* x, Region* data, uint32_t head_size, bint flush,
                       Chunk*** place, Region* out) noexcept nogil:
    """Let what was read pass the filters, and frame it for the client behind its head, in the chunk
    at `place`: NEXT or FAIL."""
    cdef Http* http = x.http
    cdef Content content
    cdef Writer trailers
    cdef uint8_t* section = trailers_room(core, x, &trailers)
    cdef bint framed = not http.flags & HTTP_OLD_CLIENT and (
        http.flags & HTTP_RECODED or http.response.kind == BODY_CHUNKED)
    if _decode(core, x, data, out, False, &trailers) == FAIL:
        return FAIL
    content.place = &core.http.scratch
    content.at, content.end = out.at, out.end
    content.is_last = http.response.done
    content.flush = flush
    http.response.total -= content.end - content.at     # (of the body as the client gets it)
    if filter_content(core, x, &content) == FAIL:
        return FAIL
    http.response.total += content.end - content.at
    place[0] = content.place
    out.at, out.end = content.at, content.end
    if framed:
        frame(chunk_bytes(content.place[0]), out)
    if unlikely(trailers.at != section and http.flags & HTTP_TRAILERS):
        if _take_trailers(core, x, section, <uint32_t> (trailers.at - section),
                          content.place[0], &out.end) == FAIL:
            return FAIL
    elif framed and http.response.done:
        end_chunks(chunk_bytes(content.place[0]), out)
    if head_size and not place_head(core, content.place[0], out, head_size):
        return fail(x, REASON_BAD_RESPONSE)
    return NEXT


cdef int _pass_on(Core* core, Exchange* x, bint flush) noexcept nogil:
    """Write what filters keep back, without new content: NEXT (all is written), AGAIN or FAIL."""
    cdef Chunk** place
    cdef Region nothing
    cdef Region out
    nothing.at = nothing.end = HTTP_HEADROOM
    if _make_content(core, x, &nothing, 0, flush, &place, &out) == FAIL:
        return FAIL
    return _to_client(core, x, place, &out)


cdef int _pause(Core* core, Exchange* x) noexcept nogil:
    """The server has nothing more for now. Soon, and at most so often, the client gets what
    filters keep back: AGAIN or FAIL."""
    cdef Http* http = x.http
    if likely(not http.flags & HTTP_KEPT_BACK):
        return AGAIN
    if not http.flags & HTTP_PAUSED:
        if http.pause_timer.link.next == NULL:
            timer_start(core, &http.pause_timer, http.entry.pause_timer)
        return AGAIN
    http.flags &= ~<uint32_t> HTTP_PAUSED
    return FAIL if _pass_on(core, x, True) == FAIL else AGAIN


cdef bint _can_splice(Core* core, Exchange* x) noexcept nogil:
    """Whether what comes now is a body in bulk, and goes to somebody as it is."""
    cdef Http* http = x.http
    cdef Stream* source = x.to_server
    return (source.flags & STREAM_BULK and http.flags & HTTP_HEAD_DONE
            and (http.response.kind == BODY_LENGTH or http.response.kind == BODY_CLOSE)
            and not http.flags & (HTTP_DISCARD | HTTP_CONTENT) and not source.flags & STREAM_EOF
            and flow_have_pipe(core, source, &x.client))


cdef int _splice_body(Core* core, Exchange* x) noexcept nogil:
    """Return MORE, or the verdict that `download` ends with."""
    cdef Body* body = &x.http.response
    cdef ssize_t moved
    cdef int verdict = flow_splice(
        core, x, x.to_server, &x.client,
        body.left if body.kind == BODY_LENGTH else <size_t> PIPE_BYTES, &moved)
    body.total += moved
    if moved:
        timer_touch(core, &x.timer)
    if body.kind == BODY_LENGTH:
        body.left -= moved
        body.done = body.left == 0
    if verdict == FAIL:
        return _no_more(core, x, REASON_SERVER_RESET) if x.reason == REASON_SERVER_RESET else FAIL
    if verdict == NEXT:
        return _no_more(core, x, REASON_SERVER_CLOSED)
    if body.done and x.client.pipe == NULL:
        return NEXT
    return verdict


cdef int _read_head(Core* core, Exchange* x, Region* data, uint32_t kept,
                    uint32_t* head_size) noexcept nogil:
    """Return what `read_head` does. Bytes without a line's end can't end a head of which `kept`
    bytes came before, so that the head isn't parsed again for them."""
    cdef const uint8_t* fresh = chunk_bytes(core.http.scratch) + data.at + kept
    cdef uint32_t n = data.end - data.at - kept
    if kept and memchr(fresh, c'\n', n) == NULL \
            and kept + n < x.pool.keys.max_response_header_size_bytes:
        return AGAIN if save_partial(core, x, data) else fail(x, REASON_NO_MEMORY)
    return read_head(core, x, data, head_size)


cdef int _make_body(Core* core, Exchange* x, Region* data, uint32_t head_size,
                    Region* out) noexcept nogil:
    """Frame what was read for the client, behind its head: NEXT or FAIL."""
    if _take_body(core, x, data, out) == FAIL:
        return FAIL
    if head_size and not place_head(core, core.http.scratch, out, head_size):
        return fail(x, REASON_BAD_RESPONSE)
    return NEXT


cdef int _at_end(Core* core, Exchange* x, int reason) noexcept nogil:
    cdef int verdict = _no_more(core, x, reason)
    if unlikely(x.http.flags & HTTP_CONTENT) and verdict == NEXT:
        return _pass_on(core, x, False)
    return verdict


cdef inline uint32_t _filtered_bytes(const Core* core, uint32_t size) noexcept nogil:
    """How much of a body filters get in this turn: less where others wait."""
    cdef uint32_t most = CONTENT_BUSY_BYTES if core.poller.n_ready > 1 else HTTP_READ_BYTES
    return size if size < most else most


cdef int download(Core* core, Exchange* x) noexcept nogil:
    cdef Http* http = x.http
    cdef Stream* source = x.to_server
    cdef Chunk** place = &core.http.scratch
    cdef Region data
    cdef Region out
    cdef uint32_t head_size, kept, size
    cdef ssize_t n
    cdef int verdict, reads
    if x.client.pending != NULL or x.client.pipe != NULL:
        verdict = flow_flush(core, x, &x.client)
        if verdict != NEXT:
            return verdict
        timer_touch(core, &x.timer)
    if http.response.done and http.flags & HTTP_HEAD_DONE:
        return NEXT
    for reads in range(PUMP_READS_MAX):
        if not source.ready & READABLE and not source.flags & STREAM_EOF:
            return _pause(core, x)
        if _can_splice(core, x):
            verdict = _splice_body(core, x)
            if verdict != MORE:
                return verdict
            continue
        size = read_bytes(core, x, source)
        if unlikely(http.flags & HTTP_CONTENT):
            size = _filtered_bytes(core, size)
        if unlikely(size == 0):
            return AGAIN
        kept = 0
        if unlikely(x.attempt.partial != NULL) and not http.flags & HTTP_HEAD_DONE:
            kept = x.attempt.partial.end
            memcpy(chunk_bytes(core.http.scratch) + HTTP_HEADROOM,
                   chunk_bytes(x.attempt.partial), kept)
        n = flow_read(source, chunk_bytes(core.http.scratch) + HTTP_HEADROOM + kept,
                      size if kept == 0 else <uint32_t> HTTP_READ_BYTES)
        if n <= 0:
            if n == -EAGAIN:
                return _pause(core, x)
            return _at_end(core, x, REASON_SERVER_CLOSED if n == 0 else REASON_SERVER_RESET)
        if n >= HTTP_READ_BYTES:
            source.flags |= STREAM_BULK
        x.attempt.flags |= TRY_ANSWERING
        data.at = HTTP_HEADROOM
        data.end = HTTP_HEADROOM + kept + <uint32_t> n
        head_size = 0
        if not http.flags & HTTP_HEAD_DONE:
            verdict = _read_head(core, x, &data, kept, &head_size)
            if verdict == TUNNEL:
                return _tunnel(core, x, &data, head_size)
            if verdict == FAIL or verdict == ELSEWHERE:
                return verdict
            if verdict == AGAIN:
                continue
        else:
            timer_touch(core, &x.timer)
        if unlikely(http.flags & HTTP_CONTENT):
            verdict = _make_content(core, x, &data, head_size, False, &place, &out)
        else:
            verdict = _make_body(core, x, &data, head_size, &out)
        if unlikely(verdict == FAIL):
            if head_size:               # the client hasn't seen any of it
                http.flags &= ~<uint32_t> OF_A_RESPONSE
            return FAIL
        verdict = _to_client(core, x, place, &out)
        if x.attempt.head != NULL:
            give_held(core, x.attempt.head)      # it is sent to nobody else now
            x.attempt.head = NULL
        if verdict != NEXT:
            return verdict
        if http.response.done:
            return NEXT
        if unlikely(http.flags & HTTP_CONTENT):
            break                       # others first: what filters do takes its time
    x.flags |= EXCHANGE_HAS_MORE
    return AGAIN
