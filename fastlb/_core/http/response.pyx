# The head of a server's response: whether the client gets it, or another server is asked.
# Reads what is in the scratch chunk; writes core.http.head, x.http and the output chunk.
# Ends: MORE (the body follows), AGAIN, TUNNEL, ELSEWHERE, FAIL (x.reason).
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from fastlb._core.balance.load cimport observe_latency
from fastlb._core.base.clock cimport engine_ns
from fastlb._core.base.enums cimport (
    AGAIN, ELSEWHERE, EXCHANGE_CLOSE, FAIL, HTTP_FILTERED, HTTP_GRPC, HTTP_HEAD_DONE, HTTP_NO_BODY,
    HTTP_OLD_CLIENT, HTTP_UPGRADE, REASON_BAD_RESPONSE, REASON_NO_MEMORY, TUNNEL,
)
from fastlb._core.base.flow cimport MORE
from fastlb._core.base.head cimport BODY_CHUNKED, BODY_CLOSE, HEAD_BINDS, HEAD_CLOSE, Head
from fastlb._core.base.mem cimport chunk_bytes, chunk_class, give_held, take_held
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.types cimport Core, Exchange, Http
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely
from fastlb._core.failing.hedging cimport observe_delay
from fastlb._core.failing.outliers cimport has_status, server_did_well, server_failed
from fastlb._core.failing.retry cimport may_retry
from fastlb._core.http.body cimport Region, fail
from fastlb._core.http.copies cimport part_from_hedge
from fastlb._core.http.filters cimport filter_response
from fastlb._core.http.grpc cimport note_grpc_head
from fastlb._core.http.heads cimport pass_interim, put_head, refuse_large, switches_protocol
from fastlb._core.proto.http1 cimport parse_response
from fastlb._core.tables.histogram cimport histogram_add


cdef bint save_partial(Core* core, Exchange* x, Region* data) noexcept nogil:
    cdef Http* http = x.http
    cdef uint32_t size = data.end - data.at
    give_held(core, x.attempt.partial)
    x.attempt.partial = take_held(core, chunk_class(size))
    if x.attempt.partial == NULL:
        return False
    memcpy(chunk_bytes(x.attempt.partial), chunk_bytes(core.http.scratch) + data.at, size)
    x.attempt.partial.end = size
    return True


cdef void _measure(Core* core, Exchange* x) noexcept nogil:
    """How long the answer took."""
    cdef uint64_t us = (core.now_ns - x.attempt.measured_ns) // 1000
    x.attempt.measured_ns = 0
    observe_latency(x.pool, x.attempt.target, core.now_ms, <double> us)
    fl_count(&x.attempt.counters.latency_us, us)
    if x.pool.hedge.percentile:
        observe_delay(core, x.pool, us)


cdef bint _feigns_switching(const Exchange* x, int status) noexcept nogil:
    """Whether a status would tell a client of HTTP/2 that its WebSocket is open (RFC 8441, 5),
    though the server hasn't switched to it."""
    return x.http.flags & HTTP_UPGRADE and 200 <= status < 300


cdef int read_head(Core* core, Exchange* x, Region* data, uint32_t* head_size) noexcept nogil:
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
            if data.end - data.at >= x.pool.keys.max_response_header_size_bytes:
                return refuse_large(core, x, data.end - data.at)
            return AGAIN if save_partial(core, x, data) else fail(x, REASON_NO_MEMORY)
        if unlikely(<uint32_t> used > x.pool.keys.max_response_header_size_bytes):
            return refuse_large(core, x, <uint32_t> used)
        data.at += <uint32_t> used
        if head.status == 101:
            if not switches_protocol(core, x) or not put_head(core, x, head_size):
                return fail(x, REASON_BAD_RESPONSE)
            http.status = 101
            x.books.answered_ns = core.now_ns = engine_ns(core)
            return TUNNEL
        if head.status >= 200:
            break
        if pass_interim(core, x, data.at) == FAIL:
            return FAIL
        if data.at == data.end:
            give_held(core, x.attempt.partial)
            x.attempt.partial = NULL
            return AGAIN
    if unlikely(has_status(&x.pool.outliers.statuses, head.status)):
        server_failed(core, x.pool, x.attempt.target)
    else:
        server_did_well(core, x.attempt.target)
    if unlikely(x.hedge != NULL) and has_status(&x.pool.outliers.statuses, head.status):
        return ELSEWHERE                # its second try may do better
    if unlikely(head.status >= 400) and may_retry(core, x, 0, head.status):
        return ELSEWHERE
    x.books.answered_ns = core.now_ns = engine_ns(core)
    if likely(x.attempt.sent_ns != 0):      # (an answer may come before all of a head has gone)
        histogram_add(&x.attempt.target.first_bytes[core.id],
                      x.books.answered_ns - x.attempt.sent_ns)
    else:
        x.attempt.sent_ns = x.books.answered_ns
    http.status = head.status
    http.response = head.body
    http.response.trailers_max = x.pool.keys.max_response_header_size_bytes
    if unlikely(http.flags & HTTP_GRPC):
        note_grpc_head(core, http)
    if unlikely(http.flags & HTTP_FILTERED) and filter_response(core, x) == FAIL:
        return FAIL
    if unlikely(x.attempt.measured_ns != 0):
        _measure(core, x)
    if unlikely(x.pool.hedge.budget != 0):
        timer_cancel(&http.pause_timer)
        if x.hedge != NULL:
            part_from_hedge(core, x)
    x.attempt.upstream.keep = not head.flags & HEAD_CLOSE
    if unlikely(head.flags & HEAD_BINDS):
        x.attempt.upstream.is_bound = True
    if head.body.kind == BODY_CLOSE or not http.request.done or (
            head.body.kind == BODY_CHUNKED and http.flags & HTTP_OLD_CLIENT):
        x.flags |= EXCHANGE_CLOSE
    if core.closing:
        x.flags |= EXCHANGE_CLOSE
    if not put_head(core, x, head_size):
        return fail(x, REASON_BAD_RESPONSE)
    http.flags |= HTTP_HEAD_DONE
    give_held(core, x.attempt.partial)
    x.attempt.partial = NULL
    timer_start(core, &x.timer, http.route.body_timer)
    return MORE
