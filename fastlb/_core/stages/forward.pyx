# Carry a request to its server and the response to its client. Heads are rewritten, and bodies are
# streamed.
# Reads x.http and both streams; writes what is left of both bodies, and how far the exchange is.
# Ends: NEXT (all is written), AGAIN, TUNNEL, RETRY, ELSEWHERE, ANSWER (x.status), FAIL (x.reason).
from libc.errno cimport EAGAIN
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcpy

from fastlb._core.balance.load cimport observe_latency
from fastlb._core.base.enums cimport (
    AGAIN, ANSWER, ELSEWHERE, ERROR, EXCHANGE_CLOSE, EXCHANGE_HAS_MORE, FAIL, H2_TOO_LARGE, HANGUP,
    HTTP_ANSWERING, HTTP_DISCARD, HTTP_GRPC, HTTP_HALF_CLOSED, HTTP_HEAD_DONE, HTTP_NO_BODY,
    HTTP_OLD_CLIENT, HTTP_SENT, HTTP_TRAILERS, HTTP_UPGRADE, HTTP_UPLOAD_CUT, HTTP_WEBSOCKET,
    LAYER_H2, NEXT, PEER_SHUT, READABLE, REASON_BAD_RESPONSE, REASON_CLIENT_GONE, REASON_NO_MEMORY,
    REASON_SERVER_CLOSED, REASON_SERVER_RESET, RETRY, STREAM_BULK, STREAM_EOF, TUNNEL,
)
from fastlb._core.base.flow cimport (
    MORE, broken, count_bytes, flow_flush, flow_have_pipe, flow_read, flow_splice, flow_write,
)
from fastlb._core.base.head cimport (
    BODY_CHUNKED, BODY_CLOSE, BODY_LENGTH, Body, HEAD_BINDS, HEAD_CLOSE, Head,
)
from fastlb._core.base.limits cimport HTTP_HEADROOM, HTTP_READ_BYTES, PIPE_BYTES, PUMP_READS_MAX
from fastlb._core.base.mem cimport chunk_bytes, chunk_class, give_held, take_held
from fastlb._core.base.routing cimport CLOSE_CANCELS_HALF, CLOSE_DRAINS
from fastlb._core.base.reasons cimport is_of_client
from fastlb._core.base.stream cimport drop_pending
from fastlb._core.base.sys cimport clock_ns
from fastlb._core.base.text cimport Writer
from fastlb._core.base.timers cimport timer_cancel, timer_start, timer_touch
from fastlb._core.base.types cimport Core, Exchange, Http, Stream
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely
from fastlb._core.failing.hedging cimport hedge_timer, may_hedge, observe_delay
from fastlb._core.failing.outliers cimport has_status, server_did_well, server_failed
from fastlb._core.failing.retry cimport is_untouched, may_retry
from fastlb._core.http.body cimport Region, end_chunks, fail, read_bytes, reframe
from fastlb._core.http.grpc cimport note_grpc_head, note_grpc_trailers
from fastlb._core.http.heads cimport (
    pass_interim, place_head, put_head, refuse_large, switches_protocol,
)
from fastlb._core.http.mirror cimport part_from_hedge
from fastlb._core.http.trailers cimport (
    end_with_trailers, keep_trailers, put_trailers, trailers_room,
)
from fastlb._core.http.upload cimport upload
from fastlb._core.proto.frames cimport frames_follow
from fastlb._core.proto.http1 cimport parse_response
from fastlb._core.tables.histogram cimport histogram_add


cdef int _no_more(Core* core, Exchange* x, int reason) noexcept nogil:
    """The server has closed or reset its connection."""
    cdef Http* http = x.http
    if unlikely(x.to_server.layer == LAYER_H2) and x.to_server.h2.flags & H2_TOO_LARGE:
        return refuse_large(core, x, x.to_server.h2.head_bytes)
    if not http.flags & HTTP_ANSWERING:
        return RETRY if is_untouched(x) else fail(x, reason)
    if http.flags & HTTP_HEAD_DONE and http.response.kind == BODY_CLOSE \
            and reason == REASON_SERVER_CLOSED:
        http.response.done = True
        return NEXT
    return fail(x, reason)


cdef bint _save_partial(Core* core, Exchange* x, Region* data) noexcept nogil:
    cdef Http* http = x.http
    cdef uint32_t size = data.end - data.at
    give_held(core, http.partial)
    http.partial = take_held(core, chunk_class(size))
    if http.partial == NULL:
        return False
    memcpy(chunk_bytes(http.partial), chunk_bytes(core.http.scratch) + data.at, size)
    http.partial.end = size
    return True


cdef int _to_client(Core* core, Exchange* x, Region* out) noexcept nogil:
    if out.end == out.at or x.http.flags & HTTP_DISCARD:
        return NEXT
    count_bytes(x, &x.client, out.end - out.at)
    return flow_write(core, x, &x.client, &core.http.scratch, out.at, out.end)


cdef void _measure(Core* core, Exchange* x) noexcept nogil:
    """How long the answer took."""
    cdef uint64_t us = (core.now_ns - x.http.sent_ns) // 1000
    x.http.sent_ns = 0
    observe_latency(x.pool, x.target, core.now_ms, <double> us)
    fl_count(&x.counters.latency_us, us)
    if x.pool.hedge.percentile:
        observe_delay(core, x.pool, us)


cdef bint _feigns_switching(const Exchange* x, int status) noexcept nogil:
    """Whether a status would tell a client of HTTP/2 that its WebSocket is open (RFC 8441, 5),
    though the server hasn't switched to it."""
    return x.http.flags & HTTP_UPGRADE and 200 <= status < 300


cdef int _read_head(Core* core, Exchange* x, Region* data, uint32_t* head_size) noexcept nogil:
    """Find the response's head in the region: MORE (the body begins at data.at), AGAIN, TUNNEL,
    ELSEWHERE or FAIL. Responses of 1xx are passed on by the way."""
    cdef Http* http = x.http
    cdef Head* head = &core.http.head
    cdef int used
    while True:
        used = parse_response(head, chunk_bytes(core.http.scratch) + data.at,
                              data.end - data.at, http.flags & HTTP_NO_BODY)
        if used < 0 or (unlikely(x.carrier != NULL) and used and _feigns_switching(x, head.status)):
            return fail(x, REASON_BAD_RESPONSE)
        if used == 0:
            if data.end - data.at >= x.pool.head_bytes_max:
                return refuse_large(core, x, data.end - data.at)
            return AGAIN if _save_partial(core, x, data) else fail(x, REASON_NO_MEMORY)
        if unlikely(<uint32_t> used > x.pool.head_bytes_max):
            return refuse_large(core, x, <uint32_t> used)
        data.at += <uint32_t> used
        if head.status == 101:
            if not switches_protocol(core, x) or not put_head(core, x, head_size):
                return fail(x, REASON_BAD_RESPONSE)
            http.status = 101
            x.answered_ns = core.now_ns = clock_ns()
            return TUNNEL
        if head.status >= 200:
            break
        if pass_interim(core, x, data.at) == FAIL:
            return FAIL
        if data.at == data.end:
            give_held(core, http.partial)
            http.partial = NULL
            return AGAIN
    if unlikely(has_status(&x.pool.outliers.statuses, head.status)):
        server_failed(core, x.pool, x.target)
    else:
        server_did_well(core, x.target)
    if unlikely(x.hedge != NULL) and has_status(&x.pool.outliers.statuses, head.status):
        return ELSEWHERE                # its second try may do better
    if unlikely(head.status >= 400) and may_retry(core, x, 0, head.status):
        return ELSEWHERE
    x.answered_ns = core.now_ns = clock_ns()
    if likely(x.sent_ns != 0):      # (an answer may come before all of a head has gone)
        histogram_add(&x.target.first_bytes[core.id], x.answered_ns - x.sent_ns)
    else:
        x.sent_ns = x.answered_ns
    http.status = head.status
    http.response = head.body
    http.response.trailers_max = x.pool.head_bytes_max
    if unlikely(http.flags & HTTP_GRPC):
        note_grpc_head(core, http)
    if unlikely(http.sent_ns != 0):
        _measure(core, x)
    if unlikely(x.pool.hedge.budget != 0):
        timer_cancel(&http.hedge_timer)
        if x.hedge != NULL:
            part_from_hedge(core, x)
    http.upstream.keep = not head.flags & HEAD_CLOSE
    if unlikely(head.flags & HEAD_BINDS):
        http.upstream.is_bound = True
    if head.body.kind == BODY_CLOSE or not http.request.done or (
            head.body.kind == BODY_CHUNKED and http.flags & HTTP_OLD_CLIENT):
        x.flags |= EXCHANGE_CLOSE
    if core.closing:
        x.flags |= EXCHANGE_CLOSE
    if not put_head(core, x, head_size):
        return fail(x, REASON_BAD_RESPONSE)
    http.flags |= HTTP_HEAD_DONE
    give_held(core, http.partial)
    http.partial = NULL
    timer_start(core, &x.timer, http.route.body_timer)
    return MORE


cdef int _tunnel(Core* core, Exchange* x, Region* data, uint32_t head_size) noexcept nogil:
    """The 101, and what the server said right after it."""
    if x.http.flags & HTTP_WEBSOCKET:
        frames_follow(&x.downward, chunk_bytes(core.http.scratch) + data.at, data.end - data.at)
    if not place_head(core, data, head_size):
        return fail(x, REASON_BAD_RESPONSE)
    if _to_client(core, x, data) == FAIL:
        return FAIL
    return TUNNEL


cdef int _take_trailers(Core* core, Exchange* x, const uint8_t* section, uint32_t size,
                        Region* out) noexcept nogil:
    """What there is of the trailers by now, for a client that wants them: NEXT, or FAIL."""
    cdef Http* http = x.http
    if not http.response.done:
        return NEXT if keep_trailers(core, http, section, size) else fail(x, REASON_NO_MEMORY)
    if http.flags & HTTP_GRPC:
        note_grpc_trailers(http, section, size)
    if not http.flags & HTTP_OLD_CLIENT:
        out.end += put_trailers(section, size, chunk_bytes(core.http.scratch) + out.end)
    elif x.carrier != NULL and size and not end_with_trailers(
            x, section, size, chunk_bytes(core.http.scratch) + out.end):
        return fail(x, REASON_NO_MEMORY)
    return NEXT


cdef int _take_body(Core* core, Exchange* x, Region* data, Region* out) noexcept nogil:
    """What there is of the body as the client gets it: NEXT, or FAIL. Bytes beyond its end make
    the connection useless for others."""
    cdef Http* http = x.http
    cdef Body* body = &http.response
    cdef Writer trailers
    cdef Writer* wanted = NULL
    cdef uint8_t* section = NULL
    cdef uint32_t size = data.end - data.at
    cdef int used
    out[0] = data[0]
    if body.done:
        out.end = out.at
        if size:
            http.upstream.keep = False
        return NEXT
    if body.kind == BODY_CHUNKED:
        if unlikely(http.flags & HTTP_TRAILERS):
            section = trailers_room(core, x, &trailers)
            wanted = &trailers
        used = reframe(core, body, data, out, not http.flags & HTTP_OLD_CLIENT, wanted)
        if used < 0:
            if body.extra > body.trailers_max:
                return refuse_large(core, x, body.extra)
            return fail(x, REASON_BAD_RESPONSE)
        if <uint32_t> used < size:
            http.upstream.keep = False
        if likely(wanted == NULL):
            if body.done and not http.flags & HTTP_OLD_CLIENT:
                end_chunks(core, out)
            return NEXT
        return _take_trailers(core, x, section, <uint32_t> (trailers.at - section), out)
    if body.kind == BODY_LENGTH:
        if size > body.left:
            size = <uint32_t> body.left
            http.upstream.keep = False
        body.left -= size
        body.done = body.left == 0
        out.end = out.at + size
    body.total += size
    return NEXT


cdef bint _can_splice(Core* core, Exchange* x) noexcept nogil:
    """Whether what comes now is a body in bulk, and goes to somebody as it is."""
    cdef Http* http = x.http
    cdef Stream* source = x.to_server
    return (source.flags & STREAM_BULK and http.flags & HTTP_HEAD_DONE
            and (http.response.kind == BODY_LENGTH or http.response.kind == BODY_CLOSE)
            and not http.flags & HTTP_DISCARD and not source.flags & STREAM_EOF
            and flow_have_pipe(core, source, &x.client))


cdef int _splice_body(Core* core, Exchange* x) noexcept nogil:
    """MORE, or what _download ends with."""
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


cdef int _download(Core* core, Exchange* x) noexcept nogil:
    cdef Http* http = x.http
    cdef Stream* source = x.to_server
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
            return AGAIN
        if _can_splice(core, x):
            verdict = _splice_body(core, x)
            if verdict != MORE:
                return verdict
            continue
        size = read_bytes(core, x, source)
        if unlikely(size == 0):
            return AGAIN
        kept = 0
        if unlikely(http.partial != NULL) and not http.flags & HTTP_HEAD_DONE:
            kept = http.partial.end
            memcpy(chunk_bytes(core.http.scratch) + HTTP_HEADROOM, chunk_bytes(http.partial), kept)
        n = flow_read(source, chunk_bytes(core.http.scratch) + HTTP_HEADROOM + kept,
                      size if kept == 0 else <uint32_t> HTTP_READ_BYTES)
        if n <= 0:
            if n == -EAGAIN:
                return AGAIN
            return _no_more(core, x, REASON_SERVER_CLOSED if n == 0 else REASON_SERVER_RESET)
        if n >= HTTP_READ_BYTES:
            source.flags |= STREAM_BULK
        http.flags |= HTTP_ANSWERING
        data.at = HTTP_HEADROOM
        data.end = HTTP_HEADROOM + kept + <uint32_t> n
        head_size = 0
        if not http.flags & HTTP_HEAD_DONE:
            if kept and memchr(chunk_bytes(core.http.scratch) + HTTP_HEADROOM + kept, 10,
                               n) == NULL and kept + n < x.pool.head_bytes_max:
                verdict = AGAIN if _save_partial(core, x, &data) else fail(x, REASON_NO_MEMORY)
            else:
                verdict = _read_head(core, x, &data, &head_size)
            if verdict == TUNNEL:
                return _tunnel(core, x, &data, head_size)
            if verdict == FAIL or verdict == ELSEWHERE:
                return verdict
            if verdict == AGAIN:
                continue
        else:
            timer_touch(core, &x.timer)
        if _take_body(core, x, &data, &out) == FAIL:
            if head_size:               # the client hasn't seen any of it
                http.flags &= ~<uint32_t> HTTP_HEAD_DONE
            return FAIL
        if head_size and not place_head(core, &out, head_size):
            return fail(x, REASON_BAD_RESPONSE)
        verdict = _to_client(core, x, &out)
        if http.head != NULL:
            give_held(core, http.head)      # it is sent to nobody else now
            http.head = NULL
        if verdict != NEXT:
            return verdict
        if http.response.done:
            return NEXT
    x.flags |= EXCHANGE_HAS_MORE
    return AGAIN


cdef int _look_at_client(Core* core, Exchange* x) noexcept nogil:
    """It has closed: what it asked for is cancelled, or carried through for nobody. One that has
    only nothing more to say waits for its answer, unless on_client_close says otherwise."""
    cdef Http* http = x.http
    cdef bint is_broken = x.client.ready & ERROR
    if http.flags & HTTP_DISCARD:
        return NEXT
    if http.response.done and http.flags & HTTP_HEAD_DONE:
        return broken(x, &x.client) if is_broken else NEXT
    if not x.client.ready & (ERROR | HANGUP) and (
            http.route.on_close != CLOSE_CANCELS_HALF
            or http.flags & HTTP_HALF_CLOSED or not http.request.done):
        return NEXT                     # (an end in the middle of its body is met by reading it)
    if http.route.on_close != CLOSE_DRAINS or not http.request.done:
        return broken(x, &x.client) if is_broken else fail(x, REASON_CLIENT_GONE)
    _discard(core, x)
    return NEXT


cdef void _discard(Core* core, Exchange* x) noexcept nogil:
    """Nobody reads the answer any more: go on with it for its server's sake."""
    x.http.flags |= HTTP_DISCARD
    x.flags |= EXCHANGE_CLOSE
    drop_pending(core, &x.client)


cdef bint _carries_through(Core* core, Exchange* x) noexcept nogil:
    """Whether a request is carried through whose client is found to have gone by writing to it."""
    if not is_of_client(x.reason) or x.http.route.on_close != CLOSE_DRAINS \
            or not x.http.request.done or x.http.flags & HTTP_DISCARD:
        return False
    _discard(core, x)
    return True


cdef int forward_step(Core* core, Exchange* x) noexcept nogil:
    cdef Http* http = x.http
    cdef int verdict
    cdef bint was_sent
    if unlikely(x.client.ready & (ERROR | HANGUP | PEER_SHUT)):
        if _look_at_client(core, x) == FAIL:
            return FAIL
    if not http.flags & HTTP_UPLOAD_CUT and (
            not http.flags & HTTP_SENT or not http.request.done or x.to_server.pending != NULL
            or x.to_server.pipe != NULL):
        was_sent = http.flags & HTTP_SENT
        verdict = upload(core, x)
        if verdict == FAIL:
            return FAIL
        if unlikely(x.pool.hedge.budget != 0) and not was_sent and http.flags & HTTP_SENT \
                and may_hedge(x):
            timer_start(core, &http.hedge_timer, hedge_timer(core, x.pool))
        if verdict == ANSWER:
            return ANSWER if not http.flags & HTTP_HEAD_DONE else FAIL
    if not http.flags & (HTTP_SENT | HTTP_UPLOAD_CUT) and not x.to_server.ready & READABLE:
        return AGAIN
    verdict = _download(core, x)
    if unlikely(verdict == FAIL) and _carries_through(core, x):
        verdict = _download(core, x)
    return verdict
