# An HTTP/2 connection: an exchange that carries one exchange for each of its requests. It is a
# client's, or to a server.
from libc.errno cimport EAGAIN, EPROTO
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.enums cimport (
    AGAIN, END, ERROR, EXCHANGE_CLOSE, EXCHANGE_HAS_MORE, EXCHANGE_HOLDS_SNAPSHOT, EXCHANGE_HTTP,
    FAIL, H2_CLOSED, H2_DONE, H2_ENDED, H2_FAILED, H2_HEAD_READ, H2_REFUSED, HANGUP, LAYER_H2,
    NEXT, PEER_SHUT, READABLE, REASON_BAD_RESPONSE, REASON_CLIENT_GONE, REASON_CONNECT_REFUSED,
    REASON_DONE, REASON_NO_MEMORY, REASON_SERVER_CLOSED, REASON_SERVER_HANDSHAKE, ROLE_CLIENT,
    ROLE_SERVER, STAGE_CARRIER, STAGE_DEAD, STAGE_LINGER, STAGE_REQUEST, STREAM_CAUTIOUS,
    STREAM_EOF, STREAM_TUNED, WRITABLE,
)
from fastlb._core.base.flow cimport broken, flow_flush, flow_read, flow_write
from fastlb._core.base.limits cimport (
    H2_ANSWER_READ_MS, H2_GATHERED_CLASS, H2_STREAMS_MAX, HTTP_READ_BYTES, PUMP_READS_MAX,
)
from fastlb._core.base.mem cimport (
    chunk_bytes, chunk_size, give_chunk, give_exchange, give_input, take_chunk, take_exchange,
)
from fastlb._core.base.queue cimport queue
from fastlb._core.base.stream cimport stream_shut
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.tls cimport TLS_NOT_H2, tls_speaks_h2
from fastlb._core.base.types cimport H2, Chunk, Core, Exchange, H2Stream, Stream
from fastlb._core.exchange.lifecycle cimport hold_snapshot, let_snapshot_go
from fastlb._core.ext.atomic cimport fl_add32, unlikely
from fastlb._core.h2.client cimport H2_HEARD, h2_leave, h2_notice, h2_ping
from fastlb._core.h2.frames cimport h2_is_in_head
from fastlb._core.h2.pool cimport rest_or_work
from fastlb._core.h2.session cimport (
    h2_begin, h2_end_early, h2_end_stalled, h2_gather, h2_hear, h2_is_over, h2_receive, h2_take,
    h2_take_back, h2_terminate,
)
from fastlb._core.stages.connect cimport connect_failed, connect_succeeded


cdef enum:
    LINGER_BYTES = 262144           # that a client may still send, so that our last frames arrive


cdef bint begin_carrier(Core* core, Exchange* x) noexcept nogil:
    """Of a client. False when memory is gone."""
    if h2_take(core, x, &x.client) == NULL:
        x.reason = REASON_NO_MEMORY
        return False
    x.h2.window_max = x.bind.http.h2_window_max
    if not h2_begin(x.h2):
        x.reason = REASON_NO_MEMORY
        return False
    x.h2.requests_max = x.bind.http.requests_max
    x.stage = STAGE_CARRIER
    x.idle_timer = <unsigned short> x.bind.http.keepalive_timer
    x.h2.linger_timer = <unsigned short> x.bind.http.linger_timer
    x.h2.header_timer = <unsigned short> x.bind.http.header_timer
    x.h2.stall_timer = <unsigned short> x.bind.http.stall_timer
    x.h2.awaits_head = True             # (its preface, at first)
    timer_start(core, &x.timer, x.h2.header_timer)
    x.client.ready |= READABLE          # (some of it may have come with the handshake)
    let_snapshot_go(core, x)
    return True


cdef bint begin_server_carrier(Core* core, Exchange* x) noexcept nogil:
    """Of one that is connected to its server. The connect's timer goes on: it has to say what it
    allows in that time. False: x.reason."""
    if unlikely(x.server.tls != NULL and not tls_speaks_h2(&x.server)):
        connect_failed(core, x, TLS_NOT_H2)
        x.reason = REASON_SERVER_HANDSHAKE
        return False
    if not h2_begin(x.h2):
        x.reason = REASON_NO_MEMORY
        return False
    x.stage = STAGE_CARRIER
    x.server.ready |= READABLE
    x.server.flags |= STREAM_CAUTIOUS
    return True


cdef bint _begin_request(Core* core, Exchange* x, H2Stream* st) noexcept nogil:
    """An exchange for a request whose head is whole; False: it can't be had."""
    cdef Exchange* child = take_exchange(core)
    if unlikely(child == NULL):
        return False
    child.bind_id = x.bind_id
    if unlikely(x.flags & EXCHANGE_HOLDS_SNAPSHOT):     # its listener is no more
        child.bind = x.bind
        child.snapshot = x.snapshot
        child.flags |= EXCHANGE_HOLDS_SNAPSHOT
        fl_add32(&x.snapshot.users[core.id], 1)
    elif unlikely(not hold_snapshot(core, child)):
        h2_leave(x.h2)                  # its listener is no more
        child.stage = STAGE_DEAD
        give_exchange(core, child)
        return False
    child.carrier = x
    child.listener = x.listener
    child.peer = x.peer
    child.flags |= EXCHANGE_HTTP | EXCHANGE_CLOSE
    child.chunk_class = x.chunk_class
    child.bulk_class = x.bulk_class
    child.client.role = ROLE_CLIENT
    child.client.flags = STREAM_TUNED | STREAM_CAUTIOUS
    child.client.ready = READABLE | WRITABLE
    child.client.layer = LAYER_H2
    child.client.h2 = st
    st.stream = &child.client
    child.server.role = ROLE_SERVER
    child.stage = STAGE_REQUEST
    x.h2.n_exchanges += 1
    x.h2.requests += 1
    if unlikely(x.h2.requests_max != 0) and x.h2.requests >= x.h2.requests_max:
        x.flags |= EXCHANGE_CLOSE
        if x.h2.requests == x.h2.requests_max + <uint32_t> H2_STREAMS_MAX:
            h2_leave(x.h2)              # no more than that can have crossed the notice
    timer_start(core, &child.timer, child.bind.http.header_timer)
    queue(core, child)
    return True


cdef void _begin_requests(Core* core, Exchange* x) noexcept nogil:
    """For all whose head has come since."""
    cdef H2Stream* st = x.h2.look
    while st != NULL:
        # (who has taken a request back already, in the same read, gets no server to work for it)
        if st.stream == NULL and st.flags & H2_HEAD_READ \
                and not st.flags & (H2_CLOSED | H2_DONE | H2_FAILED):
            if x.h2.leaving or not _begin_request(core, x, st):
                st.flags |= H2_FAILED | H2_REFUSED
        st = st.next_look


cdef int _left(Exchange* x, Stream* s, ssize_t n) noexcept nogil:
    x.reason = REASON_DONE if x.h2.n_streams == 0 else \
        REASON_CLIENT_GONE if x.h2.target == NULL else REASON_SERVER_CLOSED
    return END if n == 0 else broken(x, s)


cdef void _half_close(Core* core, Exchange* x) noexcept nogil:
    """A client says nothing more: what it has asked for is answered, as over HTTP/1.1, unless some
    of its body is missing. (A GOAWAY is for those who might ask for more.) One that has gone looks
    the same, until something is sent to it."""
    cdef H2Stream* st = x.h2.streams
    x.h2.half_closed = x.h2.leaving = True
    h2_ping(x.h2)
    while st != NULL:
        if not st.flags & H2_ENDED:
            h2_take_back(x.h2, st)
        elif st.stream != NULL:
            st.stream.ready |= PEER_SHUT        # (on_client_close may end it)
            queue(core, st.stream.exchange)
        st = st.next


cdef int _read(Core* core, Exchange* x) noexcept nogil:
    """AGAIN (perhaps with EXCHANGE_HAS_MORE), NEXT (no more can be read), END, FAIL."""
    cdef uint8_t* into = chunk_bytes(core.http.scratch)
    cdef Stream* s = x.h2.socket
    cdef ssize_t n
    cdef int reads
    cdef bint fine
    if unlikely(x.h2.half_closed):
        return AGAIN if not s.ready & (ERROR | HANGUP) else _left(x, s, -1)
    if unlikely(x.input != NULL):       # what showed that it is HTTP/2
        fine = h2_receive(x.h2, chunk_bytes(x.input) + x.input.start, x.input.end - x.input.start)
        give_input(core, x)
        if not fine:
            return NEXT
        _begin_requests(core, x)
    for reads in range(PUMP_READS_MAX):
        if not s.ready & READABLE and not s.flags & STREAM_EOF:
            return AGAIN
        n = flow_read(s, into, HTTP_READ_BYTES)
        if n == -EAGAIN:
            return AGAIN
        if n == 0 and x.h2.target == NULL and (x.h2.n_streams or s.pending != NULL):
            _half_close(core, x)
            return AGAIN
        if n <= 0:
            return _left(x, s, n)
        if not h2_receive(x.h2, into, <uint32_t> n):
            return NEXT
        if x.h2.target == NULL:
            _begin_requests(core, x)
        else:
            x.h2.heard_ns = core.now_ns
    x.flags |= EXCHANGE_HAS_MORE
    return AGAIN


cdef int _write(Core* core, Exchange* x) noexcept nogil:
    """NEXT when all that there is has gone, AGAIN, or FAIL."""
    cdef Chunk* gathered
    cdef uint32_t size
    cdef int verdict
    if x.h2.socket.pending != NULL:
        verdict = flow_flush(core, x, x.h2.socket)
        if verdict != NEXT:
            return verdict
    gathered = take_chunk(core, H2_GATHERED_CLASS)
    if unlikely(gathered == NULL):
        x.reason = REASON_NO_MEMORY
        return FAIL
    verdict = NEXT
    while verdict == NEXT:
        size = h2_gather(x.h2, chunk_bytes(gathered), chunk_size(gathered.klass))
        if size == 0:
            break
        verdict = flow_write(core, x, x.h2.socket, &gathered, 0, size)
    give_chunk(core, gathered)
    return verdict


cdef int _end(Core* core, Exchange* x) noexcept nogil:
    """All is said. What the client still sends is thrown away, or it would lose our last frames."""
    stream_shut(&x.client)
    x.linger_left = LINGER_BYTES
    x.books.begin_ns = core.now_ns
    x.stage = STAGE_LINGER
    timer_start(core, &x.timer, x.h2.linger_timer)
    return NEXT


cdef void _set_timer(Core* core, Exchange* x, bint had) noexcept nogil:
    """Exchanges have timers of their own. Heads that don't end, connections without a request, and
    the rests of answers that nobody takes have none."""
    cdef H2* h2 = x.h2
    cdef bint waited = h2.awaits_head
    if h2.n_holding and h2.stall.link.next == NULL:
        timer_start(core, &h2.stall, h2.stall_timer)
    if unlikely(h2.noticed and not h2.leaving):
        return                              # (linger_timer runs)
    h2.awaits_head = not h2.is_ready or h2_is_in_head(h2)
    if unlikely(h2.awaits_head):
        if not waited or h2.head_timed != h2.heads:
            h2.head_timed = h2.heads
            timer_start(core, &x.timer, h2.header_timer)
    elif h2.n_exchanges == 0 and (had or waited or h2.moved or x.timer.link.next == NULL):
        timer_start(core, &x.timer, x.idle_timer)
    elif h2.n_exchanges and x.timer.link.next != NULL:
        timer_cancel(&x.timer)


cdef int _go_on_with_server(Core* core, Exchange* x, int verdict) noexcept nogil:
    """The snapshot is held until the server has said what it allows: then it is connected to. NEXT,
    that nothing more can be read, is an end too: what it said is no HTTP/2, or it was told so."""
    cdef H2* h2 = x.h2
    if unlikely(x.flags & EXCHANGE_HOLDS_SNAPSHOT and h2.is_ready):
        timer_cancel(&x.timer)
        connect_succeeded(core, x)
        let_snapshot_go(core, x)
    if verdict == AGAIN:
        return AGAIN if not h2.is_ready or rest_or_work(core, h2) else END
    if verdict == NEXT:
        x.reason = REASON_BAD_RESPONSE if h2.n_streams else REASON_DONE
    if not h2.is_ready:
        connect_failed(core, x, EPROTO)
        x.reason = REASON_CONNECT_REFUSED
    return FAIL if verdict == FAIL else END


cdef int expire_carrier(Core* core, Exchange* x) noexcept nogil:
    """The time of a client is over, to send a head or anything at all. It hears so before it
    goes, and requests that are under way may end: AGAIN, or END."""
    cdef H2* h2 = x.h2
    if h2.noticed and not h2.leaving:
        h2_leave(h2)                    # it says nothing to that
        timer_start(core, &x.timer, h2.header_timer if h2.awaits_head else x.idle_timer)
        queue(core, x)
        return AGAIN
    if h2.n_exchanges == 0 and (x.flags & EXCHANGE_CLOSE or x.client.pending != NULL):
        x.reason = REASON_DONE          # it has been told, or doesn't listen
        return END
    x.flags |= EXCHANGE_CLOSE
    timer_start(core, &x.timer, h2.header_timer if h2.awaits_head else x.idle_timer)
    if h2.awaits_head and h2.n_exchanges == 0:
        h2_terminate(h2)
    queue(core, x)
    return AGAIN


cdef void look_for_stalled(Core* core, H2* h2) noexcept nogil:
    """Streams of a client that takes nothing of them are reset when they are seen twice."""
    h2_end_stalled(h2)
    if h2.n_holding:
        timer_start(core, &h2.stall, h2.stall_timer)
    queue(core, h2.carrier)


cdef int carrier_step(Core* core, Exchange* x) noexcept nogil:
    """Frames in, frames out. AGAIN (EXCHANGE_HAS_MORE: stopped by its budget), NEXT (it lingers),
    END, FAIL."""
    cdef H2* h2 = x.h2
    cdef bint had = h2.n_exchanges != 0
    cdef int verdict, written
    h2.inside = True
    verdict = _read(core, x)
    if unlikely(core.closing or x.flags & EXCHANGE_CLOSE) and not h2.leaving:
        if h2.target != NULL:
            h2.leaving = True           # (servers that hear a GOAWAY may answer nothing any more)
        elif not h2.noticed:
            h2_notice(h2)
            timer_start(core, &x.timer, h2.linger_timer)
        elif h2.noticed == H2_HEARD:
            h2_leave(h2)
    if unlikely(h2.early_ms != 0) and core.now_ms - h2.early_ms >= <uint64_t> H2_ANSWER_READ_MS:
        h2_end_early(core, h2)
    written = NEXT
    while written == NEXT:
        h2_hear(core, h2)
        written = _write(core, x)
        if h2.look == NULL:             # (what was sent may have ended requests)
            break
    h2.inside = False
    if unlikely(h2.leaving and x.flags & EXCHANGE_HOLDS_SNAPSHOT) and h2.target == NULL:
        let_snapshot_go(core, x)
    if unlikely(h2.failed):
        x.reason = REASON_NO_MEMORY
        verdict = FAIL
    elif written == FAIL:
        verdict = FAIL
    elif verdict == AGAIN and written == NEXT and (
            h2_is_over(h2) or (h2.half_closed and h2.n_streams == 0)):
        verdict = NEXT
    if h2.target != NULL:
        return _go_on_with_server(core, x, verdict)
    if verdict == NEXT:
        return _end(core, x)
    if verdict == AGAIN:
        _set_timer(core, x, had)
        h2.moved = False
    return verdict
