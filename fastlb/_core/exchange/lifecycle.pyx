# What an exchange holds while it lives, and its end. Stages close nothing: this does.
from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free

from fastlb._core.balance.load cimport latency_of, observe_latency
from fastlb._core.base.attempts cimport forget_times, note_left
from fastlb._core.base.clock cimport engine_ns
from fastlb._core.base.enums cimport (
    CONDITION_LEAVING, ERROR, EXCHANGE_HOLDS_SNAPSHOT, EXCHANGE_QUEUED, EXCHANGE_SHADOW,
    HTTP_DEADLINE, HTTP_FILTERED, HTTP_HEAD_DONE, HTTP_HEDGE, REASON_BAD_REQUEST,
    REASON_CLIENT_GONE, REASON_CLIENT_RESET, REASON_DONE, REASON_SERVER_RESET, REASON_TIMEOUT,
    REASON_TOO_LARGE, STAGE_BALANCE, STAGE_DEAD, STAGE_FORWARD, STAGE_HANDSHAKE, STAGE_POLICY,
    STAGE_REQUEST, STAGE_TARPIT, TRY_HOLDS_SERVER, TRY_SENT,
)
from fastlb._core.base.gate cimport gate_give
from fastlb._core.base.httpmem cimport give_http
from fastlb._core.base.mem cimport give_exchange, give_held, give_input
from fastlb._core.base.proxyfacts cimport drop_proxied
from fastlb._core.base.reasons cimport end_reason, is_of_client
from fastlb._core.base.sessions cimport Session, forget_port, session_heard, session_unlist
from fastlb._core.base.sources cimport source_give
from fastlb._core.base.stream cimport close_stream
from fastlb._core.base.timers cimport timer_cancel
from fastlb._core.base.tlsfacts cimport drop_told
from fastlb._core.base.types cimport Acceptor, BindEntry, Core, Exchange, H2Stream, Http, Snapshot
from fastlb._core.ext.atomic cimport fl_add32, fl_assert, fl_count, fl_load32, likely, unlikely
from fastlb._core.failing.queue cimport stop_waiting, wake_pending
from fastlb._core.failing.retry cimport end_retrying
from fastlb._core.h2.frames cimport RESET_COST, h2_count_bad
from fastlb._core.h2.pool cimport leave_h2
from fastlb._core.h2.session cimport h2_end
from fastlb._core.http.admit cimport forget_request
from fastlb._core.http.copies cimport part_from_hedge, part_from_mirror
from fastlb._core.http.decision cimport drop_decision
from fastlb._core.http.filters cimport end_filters
from fastlb._core.http.note cimport drop_note
from fastlb._core.http.sources cimport give_handshake
from fastlb._core.http.upstream cimport drop_idle, end_upstream
from fastlb._core.policy.questions cimport stop_asking
from fastlb._core.stages.record cimport record_http, record_step
from fastlb._core.tables.live cimport live_notify, live_wake_engines


cdef double NO_ANSWER_US = 1e6      # what a request without an answer counts for, at least


cdef void let_server_go(Core* core, Exchange* x) noexcept nogil:
    cdef int leaving
    if x.attempt.flags & TRY_HOLDS_SERVER:
        x.attempt.flags &= <uint8_t> ~TRY_HOLDS_SERVER
        leaving = fl_load32(&x.attempt.target.conditions) & CONDITION_LEAVING
        gate_give(&x.attempt.target.connections)
        if unlikely(leaving):
            live_notify(core.live)          # somebody may wait for the last one
        if unlikely(x.attempt.loaded != NULL):
            gate_give(&x.attempt.loaded.in_flight)
            wake_pending(core, x.attempt.loaded)
            x.attempt.loaded = NULL


cdef void let_snapshot_go(Core* core, Exchange* x) noexcept nogil:
    if x.flags & EXCHANGE_HOLDS_SNAPSHOT:
        x.flags &= <uint8_t> ~EXCHANGE_HOLDS_SNAPSHOT
        x.bind = NULL
        x.pool = NULL
        x.attempt.entry = NULL
        fl_add32(&x.snapshot.users[core.id], -1)
        x.snapshot = NULL


cdef BindEntry* find_bind(Core* core, uint32_t id) noexcept nogil:
    """A bind of the latest snapshot, whether it is accepted on or, in a stop, not any more."""
    cdef Snapshot* snapshot = <Snapshot*> core.snapshot
    cdef uint32_t i
    for i in range(snapshot.n_binds):
        if snapshot.binds[i].id == id:
            return &snapshot.binds[i]
    return NULL


cdef bint hold_snapshot(Core* core, Exchange* x) noexcept nogil:
    """The next request goes by the latest snapshot; False if its listener is no more."""
    cdef Acceptor* acceptor = core.acceptors
    cdef BindEntry* bind
    if x.flags & EXCHANGE_HOLDS_SNAPSHOT:
        return True
    while acceptor != NULL and acceptor.id != x.bind_id:
        acceptor = acceptor.next
    bind = acceptor.bind if likely(acceptor != NULL) else find_bind(core, x.bind_id)
    if bind == NULL:
        return False
    x.bind = bind
    x.snapshot = <Snapshot*> core.snapshot
    x.flags |= EXCHANGE_HOLDS_SNAPSHOT
    fl_add32(&x.snapshot.users[core.id], 1)
    return True


cdef void _note_silence(Core* core, Exchange* x) noexcept nogil:
    """No answer: as slow as it was, and slower than most. Where the client has left, all that is
    known is that an answer takes longer than that."""
    cdef double us
    if unlikely(x.attempt.measured_ns != 0):
        us = <double> (engine_ns(core) - x.attempt.measured_ns) / 1000
        x.attempt.measured_ns = 0
        if not is_of_client(x.reason):
            us += NO_ANSWER_US
        elif us < latency_of(x.attempt.target, core.now_ms):
            return
        observe_latency(x.pool, x.attempt.target, core.now_ms, us)


cdef void leave_server(Core* core, Exchange* x, int outcome) noexcept nogil:
    """Nothing came of this try, and why is a reason or a status: back to where a server is picked,
    with the request as it was."""
    cdef Http* http = x.http
    note_left(x, x.attempt.target, outcome, core.now_ns)
    timer_cancel(&x.timer)
    if http != NULL:
        timer_cancel(&http.pause_timer)
        timer_cancel(&http.pace.timer)
        if x.stage == STAGE_FORWARD:
            fl_count(&x.attempt.counters.errors, 1)
        _note_silence(core, x)
        end_upstream(core, x, True)
        x.to_server = &x.server
        give_held(core, x.attempt.partial)
        x.attempt.partial = NULL
        fl_assert(x.attempt.head != NULL)
        x.attempt.head.start = 0
        x.attempt.flags &= <uint8_t> TRY_HOLDS_SERVER
    else:
        close_stream(core, &x.server, False)
    let_server_go(core, x)
    x.stage = STAGE_BALANCE


cdef inline bint _is_given_up_for_client(const Exchange* x) noexcept nogil:
    """Whether a server has worked for nothing, by what the client sent. (What a client takes back
    by itself is counted as it says so.)"""
    return x.attempt.flags & TRY_SENT and (
        x.reason == REASON_TOO_LARGE or x.reason == REASON_BAD_REQUEST
        or (x.reason == REASON_TIMEOUT and x.http.flags & HTTP_DEADLINE))


cdef void end_request(Core* core, Exchange* x, bint reset) noexcept nogil:
    """Give back all that a request holds, its server and its connection too."""
    cdef Http* http = x.http
    if http == NULL:
        return
    if unlikely(x.carrier != NULL) and x.carrier.h2 != NULL and _is_given_up_for_client(x):
        h2_count_bad(x.carrier.h2, RESET_COST)
    if unlikely(http.flags & HTTP_FILTERED):
        end_filters(core, x)
    if unlikely(x.hedge != NULL):
        part_from_hedge(core, x)
    timer_cancel(&http.pause_timer)
    timer_cancel(&http.pace.timer)
    _note_silence(core, x)
    timer_cancel(&http.timer)
    end_upstream(core, x, reset)
    x.to_server = &x.server
    give_held(core, x.attempt.head)
    give_held(core, x.attempt.partial)
    give_held(core, http.lines)
    x.attempt.head = x.attempt.partial = http.lines = NULL
    give_http(core, http)
    x.http = NULL
    drop_note(core, x)
    forget_times(x)
    drop_decision(x)
    end_retrying(x)
    let_server_go(core, x)


cdef void _finish_shadow(Core* core, Exchange* x) noexcept nogil:
    """A copy counts for no listener, and has no client."""
    cdef bint hedge = x.http.flags & HTTP_HEDGE
    if x.mirror != NULL:
        part_from_mirror(core, x, False)
    end_request(core, x, x.reason != REASON_DONE)
    if x.input != NULL:
        give_input(core, x)
    let_server_go(core, x)
    let_snapshot_go(core, x)
    drop_proxied(core, x)
    fl_count(&core.counters.hedges if hedge else &core.counters.mirrors, <uint64_t> -1)
    x.stage = STAGE_DEAD
    if not x.flags & EXCHANGE_QUEUED:
        x.next_free = core.dead
        core.dead = x


cdef void _finish_carried(Core* core, Exchange* x) noexcept nogil:
    """The requests of a connection of HTTP/2 that ends before them."""
    cdef H2Stream* st = x.h2.streams
    cdef Exchange* child
    x.h2.inside = True
    while st != NULL:
        child = st.stream.exchange if st.stream != NULL else NULL
        if child != NULL:
            child.reason = x.reason if x.reason != REASON_DONE else REASON_CLIENT_GONE
            child.client.ready |= ERROR
            finish(core, child)
        st = st.next
    h2_end(x, True)


cdef void _finish_server_carrier(Core* core, Exchange* x) noexcept nogil:
    """A connection of HTTP/2 to a server: nobody counts it, and its requests go on without."""
    leave_h2(core, x)
    close_stream(core, &x.server, x.reason != REASON_DONE)
    let_snapshot_go(core, x)
    x.stage = STAGE_DEAD
    if not x.flags & EXCHANGE_QUEUED:
        x.next_free = core.dead
        core.dead = x
    if unlikely(core.resume_ms):
        core.resume_ms = core.now_ms        # descriptors came free


cdef void leave_source(Exchange* x) noexcept nogil:
    """Count it no more by its client's address."""
    if unlikely(x.sources != NULL):
        source_give(x.sources, &x.peer)
        x.sources = NULL


cdef void _end_session(Core* core, Exchange* x) noexcept nogil:
    cdef Session* session = x.session
    session_unlist(core.datagrams, session)
    session_heard(session)
    gate_give(&core.live.sessions)
    forget_port(core.live.own_ports, session)
    (<Acceptor*> session.acceptor).sessions -= 1
    x.session = NULL
    free(session.header)
    free(session)
    fl_count(&core.counters.sessions, <uint64_t> -1)


cdef void _end_throttle(Exchange* x) noexcept nogil:
    timer_cancel(&x.throttle.timer)
    free(x.throttle)
    x.throttle = NULL


cdef void finish(Core* core, Exchange* x) noexcept nogil:
    """Close both sides as x.reason wants it; the struct is given back at the end of the turn."""
    # Bytes that never arrived must not look as if they had: an end that we force is a reset.
    cdef bint forced = end_reason(x.reason).cut
    cdef bint was_held = x.stage == STAGE_TARPIT
    stop_waiting(x)
    stop_asking(core, x, False)
    timer_cancel(&x.timer)
    if unlikely(x.stage == STAGE_POLICY or x.stage == STAGE_REQUEST):
        forget_request(core, x)         # (it wasn't admitted, and counts as none)
    elif unlikely(x.stage == STAGE_HANDSHAKE):
        give_handshake(x)
    if unlikely(x.flags & EXCHANGE_SHADOW):
        _finish_shadow(core, x)
        return
    if unlikely(x.h2 != NULL):
        if x.h2.target != NULL:
            _finish_server_carrier(core, x)
            return
        _finish_carried(core, x)
    if likely(x.carrier == NULL):
        record_step(core, x)
    if unlikely(x.session != NULL):
        _end_session(core, x)
    if unlikely(x.throttle != NULL):
        _end_throttle(x)
    leave_source(x)
    if x.http != NULL:
        if x.reason != REASON_DONE:     # cut: there was no whole answer
            x.http.status = 0
        record_http(core, x, x.reason)
        end_request(core, x, True)
    if x.input != NULL:
        give_input(core, x)
    drop_note(core, x)
    drop_told(&x.client)
    drop_proxied(core, x)
    if unlikely(x.kept != NULL):
        drop_idle(core, x.kept)
    close_stream(core, &x.server, forced or x.reason == REASON_CLIENT_RESET)
    close_stream(core, &x.client, forced or x.reason == REASON_SERVER_RESET)
    drop_decision(x)
    end_retrying(x)
    let_server_go(core, x)
    let_snapshot_go(core, x)
    x.stage = STAGE_DEAD
    if not x.flags & EXCHANGE_QUEUED:
        x.next_free = core.dead
        core.dead = x
    if unlikely(x.carrier != NULL):
        return
    if unlikely(was_held):
        gate_give(&x.listener.held)
    elif gate_give(&core.live.connections) | gate_give(&x.listener.connections):
        live_wake_engines(core.live)
    if unlikely(core.resume_ms):
        core.resume_ms = core.now_ms        # descriptors came free


cdef bint may_answer(Core* core, Exchange* x) noexcept nogil:
    """A request failed: whether its client can still be told, and what."""
    cdef int status = end_reason(x.reason).status
    if x.http == NULL or x.flags & EXCHANGE_SHADOW or status == 0 \
            or x.http.flags & HTTP_HEAD_DONE \
            or x.client.pending != NULL or x.client.pipe != NULL:
        return False
    x.status = <uint16_t> status
    return True


cdef void drop_server(Core* core, Exchange* x) noexcept nogil:
    """What we answer by ourselves needs none."""
    timer_cancel(&x.http.timer)
    timer_cancel(&x.http.pause_timer)
    timer_cancel(&x.http.pace.timer)
    end_upstream(core, x, True)
    x.to_server = &x.server


cdef void give_back(Core* core) noexcept nogil:
    cdef Exchange* x
    while core.dead != NULL:
        x = core.dead
        core.dead = x.next_free
        give_exchange(core, x)
