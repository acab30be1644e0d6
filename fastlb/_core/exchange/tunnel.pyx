# An HTTP exchange whose server has switched protocols.
from libc.stdint cimport uint16_t, uint8_t

from fastlb._core.base.enums cimport (
    END, EXCHANGE_CLOSE, HTTP_FILTERED, HTTP_WEBSOCKET, LAYER_H2, LAYER_NONE, NEXT,
    REASON_BAD_RESPONSE, REASON_DONE, REASON_NO_DESCRIPTOR, STAGE_RELAY, STAGE_WEBSOCKET, TRY_SENT,
)
from fastlb._core.base.httpmem cimport give_http, give_upstream
from fastlb._core.base.mem cimport chunk_bytes, chunk_size, give_held
from fastlb._core.base.poller cimport poller_move
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.tls cimport tls_moved
from fastlb._core.base.types cimport Core, Exchange, Http, Upstream
from fastlb._core.exchange.lifecycle cimport let_snapshot_go
from fastlb._core.ext.atomic cimport fl_count, unlikely
from fastlb._core.http.decision cimport drop_decision
from fastlb._core.http.filters cimport end_filters
from fastlb._core.proto.frames cimport frames_follow
from fastlb._core.stages.record cimport record_http


cdef int open_tunnel(Core* core, Exchange* x) noexcept nogil:
    """From here on it is a relay: the server's socket becomes the exchange's own. NEXT, or END."""
    cdef Upstream* upstream = x.attempt.upstream
    cdef Http* http = x.http
    cdef uint16_t generation = x.server.generation
    cdef bint is_websocket = http.flags & HTTP_WEBSOCKET
    if not x.attempt.flags & TRY_SENT:
        x.reason = REASON_BAD_RESPONSE
        return END
    x.server = upstream.stream
    x.server.exchange = x
    x.server.generation = generation
    if unlikely(x.server.layer == LAYER_H2):
        x.server.h2.stream = &x.server
        upstream.stream.h2 = NULL
        upstream.stream.layer = LAYER_NONE
    elif poller_move(&core.poller, &upstream.stream, &x.server) < 0:
        x.server.fd = -1                # (all of it is still the upstream's)
        x.server.pending = NULL
        x.server.pipe = NULL
        x.server.tls = NULL
        x.server.layer = LAYER_NONE
        x.reason = REASON_NO_DESCRIPTOR
        return END
    upstream.stream.fd = -1
    upstream.stream.generation += 1
    upstream.stream.pending = NULL
    upstream.stream.pipe = NULL
    if unlikely(upstream.stream.tls != NULL):
        upstream.stream.tls = NULL
        upstream.stream.layer = LAYER_NONE
        tls_moved(&x.server)
    x.attempt.upstream = NULL
    give_upstream(core, upstream)
    x.to_server = &x.server
    if x.input != NULL:
        if is_websocket:
            frames_follow(&x.upward, chunk_bytes(x.input) + x.input.start,
                          x.input.end - x.input.start)
        x.server.pending = x.input
        fl_count(&core.counters.chunk_bytes, chunk_size(x.input.klass))
        x.input = NULL
    x.idle_timer = http.route.websocket_timer
    record_http(core, x, REASON_DONE)
    timer_cancel(&http.timer)
    timer_cancel(&http.pause_timer)
    timer_cancel(&http.pace.timer)
    if unlikely(http.flags & HTTP_FILTERED):
        end_filters(core, x)
    give_held(core, x.attempt.head)
    give_held(core, x.attempt.partial)
    give_held(core, http.lines)
    x.attempt.head = x.attempt.partial = http.lines = NULL
    give_http(core, http)
    x.http = NULL
    drop_decision(x)
    let_snapshot_go(core, x)
    x.flags &= <uint8_t> ~EXCHANGE_CLOSE
    x.stage = STAGE_WEBSOCKET if is_websocket else STAGE_RELAY
    timer_start(core, &x.timer, x.idle_timer)
    return NEXT
