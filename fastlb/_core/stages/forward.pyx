# Carry a request to its server and the response to its client, heads rewritten, bodies streamed.
# Reads x.http and both streams; writes what is left of both bodies, and how far the exchange is.
# Ends: NEXT (all is written), AGAIN, TUNNEL, RETRY, ELSEWHERE, ANSWER (x.status), FAIL (x.reason).
from libc.errno cimport EAGAIN
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcpy, memmove

from fastlb._core.base.enums cimport (
    AGAIN, ANSWER, ELSEWHERE, ERROR, EXCHANGE_CLOSE, EXCHANGE_HAS_MORE, FAIL, HANGUP,
    HTTP_ANSWERING, HTTP_DISCARD, HTTP_GRPC, HTTP_HALF_CLOSED, HTTP_HEAD_DONE, HTTP_NO_BODY,
    HTTP_OLD_CLIENT, HTTP_SENT, HTTP_TRAILERS, HTTP_UPGRADE, HTTP_UPLOAD_CUT, HTTP_WEBSOCKET, NEXT,
    PEER_SHUT, READABLE, REASON_BAD_RESPONSE, REASON_CLIENT_GONE, REASON_NO_MEMORY,
    REASON_SERVER_CLOSED, REASON_SERVER_RESET, REASON_TOO_LARGE, RETRY, STREAM_BULK, STREAM_EOF,
    TUNNEL, WRITABLE,
)
from fastlb._core.base.flow cimport (
    MORE, broken, count_bytes, count_write, flow_flush, flow_have_pipe, flow_read, flow_splice,
    flow_write,
)
from fastlb._core.base.head cimport (
    BODY_CHUNKED, BODY_CLOSE, BODY_LENGTH, FIELD_WEBSOCKET_ACCEPT, HEAD_CLOSE, Body, Head, Text,
)
from fastlb._core.base.limits cimport (
    HTTP_HEADROOM, HTTP_READ_BYTES, INTERIM_MAX, PIPE_BYTES, PUMP_READS_MAX, TRAILER_BYTES_MAX,
)
from fastlb._core.base.mem cimport chunk_bytes, chunk_class, chunk_size, give_held, take_held
from fastlb._core.base.stream cimport stream_write
from fastlb._core.base.sys cimport clock_ns
from fastlb._core.base.text cimport Writer, equal
from fastlb._core.base.timers cimport timer_cancel, timer_start, timer_touch
from fastlb._core.base.types cimport Core, Exchange, Http, Stream
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely
from fastlb._core.http.body cimport Region, end_chunks, fail, read_bytes, reframe
from fastlb._core.http.grpc cimport note_grpc_head, note_grpc_trailers
from fastlb._core.http.mirror cimport part_from_hedge
from fastlb._core.http.rewrite cimport write_response
from fastlb._core.http.trailers cimport end_with_trailers, put_trailers
from fastlb._core.http.upload cimport upload
from fastlb._core.policies.hedge cimport hedge_timer, may_hedge, observe_delay
from fastlb._core.policies.load cimport observe_latency
from fastlb._core.policies.outliers cimport has_status, server_did_well, server_failed
from fastlb._core.policies.retry cimport is_untouched, may_retry
from fastlb._core.proto.http1 cimport field_value, parse_response
from fastlb._core.tables.hashring cimport crc32_nocase
from fastlb._core.tables.histogram cimport histogram_add


cdef int _no_more(Core* core, Exchange* x, int reason) noexcept nogil:
    """The server has closed or reset its connection."""
    cdef Http* http = x.http
    if not http.flags & HTTP_ANSWERING:
        return RETRY if is_untouched(x) else fail(x, reason)
    if http.flags & HTTP_HEAD_DONE and http.response.kind == BODY_CLOSE \
            and reason == REASON_SERVER_CLOSED:
        http.response.done = True
        return NEXT
    return fail(x, reason)


cdef bint _switches(Core* core, Exchange* x) noexcept nogil:
    """Whether a 101 answers the upgrade that was asked for (RFC 6455, 4.1)."""
    cdef Head* head = &core.http.head
    cdef Http* http = x.http
    cdef Text value
    if not http.flags & HTTP_UPGRADE:
        return False
    value = field_value(head, &head.fields[head.upgrade])
    if crc32_nocase(value.at, value.size) != http.upgrade:
        return False
    if not http.flags & HTTP_WEBSOCKET:
        return True
    if head.websocket_key < 0 or \
            head.fields[head.websocket_key].kind != FIELD_WEBSOCKET_ACCEPT:
        return False
    value = field_value(head, &head.fields[head.websocket_key])
    return equal(value.at, value.size, http.websocket_accept, 28)


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


cdef bint _put_head(Core* core, Exchange* x, uint32_t* size) noexcept nogil:
    """The head for the client, into the output chunk: its place is known when the body is."""
    cdef Writer w
    w.at = chunk_bytes(core.http.output)
    w.end = w.at + HTTP_READ_BYTES + TRAILER_BYTES_MAX
    w.full = False
    if not write_response(core, x, &w):
        return False
    size[0] = <uint32_t> (w.at - chunk_bytes(core.http.output))
    return True


cdef bint _place_head(Core* core, Region* out, uint32_t size) noexcept nogil:
    """The head from the output chunk to right before the region, moved if it has to be."""
    cdef uint8_t* bytes = chunk_bytes(core.http.scratch)
    cdef uint32_t shift
    if unlikely(size > out.at):
        shift = size - out.at
        if out.end + shift > chunk_size(core.http.scratch.klass):
            return False
        memmove(bytes + out.at + shift, bytes + out.at, out.end - out.at)
        out.at += shift
        out.end += shift
    out.at -= size
    memcpy(bytes + out.at, chunk_bytes(core.http.output), size)
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
    cdef Region out
    cdef int used, verdict
    while True:
        used = parse_response(head, chunk_bytes(core.http.scratch) + data.at,
                              data.end - data.at, http.flags & HTTP_NO_BODY)
        if used < 0 or (unlikely(x.carrier != NULL) and used and _feigns_switching(x, head.status)):
            return fail(x, REASON_BAD_RESPONSE)
        if used == 0:
            if data.end - data.at >= HTTP_READ_BYTES:
                return fail(x, REASON_BAD_RESPONSE)
            return AGAIN if _save_partial(core, x, data) else fail(x, REASON_NO_MEMORY)
        data.at += <uint32_t> used
        if head.status == 101:
            if not _switches(core, x) or not _put_head(core, x, head_size):
                return fail(x, REASON_BAD_RESPONSE)
            http.status = 101
            x.answered_ns = core.now_ns = clock_ns()
            return TUNNEL
        if head.status >= 200:
            break
        http.interim += 1
        if http.interim > INTERIM_MAX or not _put_head(core, x, head_size):
            return fail(x, REASON_BAD_RESPONSE)
        if not http.flags & HTTP_OLD_CLIENT or x.carrier != NULL:
            out.at = out.end = data.at
            if not _place_head(core, &out, head_size[0]):
                return fail(x, REASON_BAD_RESPONSE)
            verdict = _interim(core, x, &out)
            if verdict == FAIL:
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
    if unlikely(http.flags & HTTP_GRPC):
        note_grpc_head(core, http)
    if unlikely(http.sent_ns != 0):
        _measure(core, x)
    if unlikely(x.pool.hedge.budget != 0):
        timer_cancel(&http.hedge_timer)
        if x.hedge != NULL:
            part_from_hedge(core, x)
    http.upstream.keep = not head.flags & HEAD_CLOSE
    if head.body.kind == BODY_CLOSE or not http.request.done or (
            head.body.kind == BODY_CHUNKED and http.flags & HTTP_OLD_CLIENT):
        x.flags |= EXCHANGE_CLOSE
    if core.closing:
        x.flags |= EXCHANGE_CLOSE
    if not _put_head(core, x, head_size):
        return fail(x, REASON_BAD_RESPONSE)
    http.flags |= HTTP_HEAD_DONE
    give_held(core, http.partial)
    http.partial = NULL
    timer_start(core, &x.timer, http.route.body_timer)
    return MORE


cdef int _interim(Core* core, Exchange* x, Region* out) noexcept nogil:
    """Write a response of 1xx at once; who can't take it does without."""
    cdef ssize_t n
    cdef Stream* to = &x.client
    if to.pending != NULL or to.pipe != NULL or not to.ready & WRITABLE \
            or x.http.flags & HTTP_DISCARD:
        return NEXT
    n = stream_write(to, chunk_bytes(core.http.scratch) + out.at, out.end - out.at, False)
    # (of TLS, what wasn't taken has to be written before anything else: nobody would do that)
    if n == <ssize_t> (out.end - out.at) or (n == -EAGAIN and to.tls == NULL):
        count_write(x, to)
        return NEXT
    x.client.ready |= ERROR
    return broken(x, to)            # half a head can't be taken back


cdef int _tunnel(Core* core, Exchange* x, Region* data, uint32_t head_size) noexcept nogil:
    """The 101, and what the server said right after it."""
    if not _place_head(core, data, head_size):
        return fail(x, REASON_BAD_RESPONSE)
    if _to_client(core, x, data) == FAIL:
        return FAIL
    return TUNNEL


cdef int _take_body(Core* core, Exchange* x, Region* data, Region* out) noexcept nogil:
    """What there is of the body as the client gets it: NEXT, or FAIL. Bytes beyond its end make
    the connection useless for others."""
    cdef Http* http = x.http
    cdef Body* body = &http.response
    cdef Writer trailers
    cdef Writer* wanted = NULL
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
            if http.partial == NULL:
                http.partial = take_held(core, chunk_class(TRAILER_BYTES_MAX))
                if http.partial == NULL:
                    return fail(x, REASON_NO_MEMORY)
            trailers.at = chunk_bytes(http.partial) + http.partial.end
            trailers.end = chunk_bytes(http.partial) + chunk_size(http.partial.klass)
            trailers.full = False
            wanted = &trailers
        used = reframe(core, body, data, out, not http.flags & HTTP_OLD_CLIENT, wanted)
        if used < 0:
            return fail(x, REASON_BAD_RESPONSE)
        if wanted != NULL:
            http.partial.end = <uint32_t> (trailers.at - chunk_bytes(http.partial))
        if <uint32_t> used < size:
            http.upstream.keep = False
        if unlikely(body.done and wanted != NULL and http.flags & HTTP_GRPC):
            note_grpc_trailers(http, chunk_bytes(http.partial), http.partial.end)
        if body.done and not http.flags & HTTP_OLD_CLIENT:
            if wanted != NULL and http.partial.end:
                out.end += put_trailers(chunk_bytes(http.partial), http.partial.end,
                                        chunk_bytes(core.http.scratch) + out.end)
            else:
                end_chunks(core, out)
        elif unlikely(body.done and x.carrier != NULL and wanted != NULL) and http.partial.end:
            if not end_with_trailers(x, chunk_bytes(core.http.scratch) + out.end):
                return fail(x, REASON_NO_MEMORY)
        return NEXT
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
                      size if kept == 0 else HTTP_READ_BYTES - kept)
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
                               n) == NULL and kept + n < HTTP_READ_BYTES:
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
        if head_size and not _place_head(core, &out, head_size):
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
    """It has closed: what it asked for is cancelled, or carried through for nobody."""
    cdef Http* http = x.http
    if http.flags & HTTP_DISCARD or (http.response.done and http.flags & HTTP_HEAD_DONE):
        return NEXT if not x.client.ready & ERROR or http.flags & HTTP_DISCARD \
            else broken(x, &x.client)
    if not x.client.ready & ERROR and (
            http.flags & HTTP_HALF_CLOSED or not http.request.done):
        return NEXT                     # (an end in the middle of its body is met by reading it)
    if http.route.cancel or not http.request.done:
        return fail(x, REASON_CLIENT_GONE)
    http.flags |= HTTP_DISCARD
    x.flags |= EXCHANGE_CLOSE
    return NEXT


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
            return ANSWER if not http.flags & HTTP_HEAD_DONE else fail(x, REASON_TOO_LARGE)
    if not http.flags & (HTTP_SENT | HTTP_UPLOAD_CUT) and not x.to_server.ready & READABLE:
        return AGAIN
    return _download(core, x)
