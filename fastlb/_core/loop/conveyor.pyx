# Which stage follows which, and what is done about a verdict. Stages decide; this acts.
from libc.stdint cimport uint8_t, uint64_t

from fastlb._core.base.enums cimport (
    AGAIN, ANSWER, ASK, CARRY, ELSEWHERE, END, ERROR, EXCHANGE_CLOSE, EXCHANGE_HAS_MORE,
    EXCHANGE_HTTP, EXCHANGE_QUEUED, EXCHANGE_SHADOW, FAIL, HAND, HTTP_ANSWERING, HTTP_HEAD_DONE,
    HTTP_OVERRUN, HTTP_RETRIED, HTTP_SENT, NEXT, READABLE, REASON_BAD_RESPONSE, REASON_CLIENT_GONE,
    REASON_DONE, REASON_LARGE_RESPONSE, REASON_NO_DESCRIPTOR, REASON_NO_MEMORY,
    REASON_SERVER_CLOSED, REASON_SERVER_RESET, REASON_TIMEOUT, RETRY, STAGE_ANSWER, STAGE_BALANCE,
    STAGE_CARRIER, STAGE_CONNECT, STAGE_DEAD, STAGE_FORWARD, STAGE_HANDSHAKE, STAGE_LINGER,
    STAGE_POLICY, STAGE_PROXIED, STAGE_RELAY, STAGE_REQUEST, STAGE_SNIFF, STAGE_WEBSOCKET,
    STREAM_EOF, TUNNEL,
)
from fastlb._core.base.flow cimport broken
from fastlb._core.base.limits cimport STEPS_MAX
from fastlb._core.base.mem cimport give_input
from fastlb._core.base.observations cimport RECORDING_TLS
from fastlb._core.base.queue cimport queue
from fastlb._core.base.routing cimport RETRY_CONNECT, RETRY_INVALID, RETRY_RESET, RETRY_TIMEOUT
from fastlb._core.base.stream cimport stream_shut
from fastlb._core.base.timers cimport timer_cancel, timer_start, timer_touch
from fastlb._core.base.tls cimport tls_speaks_h2
from fastlb._core.base.tlsfacts cimport drop_told
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.exchange.h2connection cimport begin_carrier, begin_server_carrier, carrier_step
from fastlb._core.exchange.handover cimport hand_over
from fastlb._core.exchange.hedge cimport hear_hedge, take_over
from fastlb._core.exchange.lifecycle cimport (
    drop_server, end_request, finish, hold_snapshot, leave_server, let_snapshot_go, may_answer,
)
from fastlb._core.exchange.mirror cimport begin_mirror
from fastlb._core.exchange.tunnel cimport open_tunnel
from fastlb._core.ext.atomic cimport fl_assert, fl_count, fl_load32, likely, unlikely
from fastlb._core.failing.outliers cimport server_failed
from fastlb._core.failing.queue cimport stop_waiting
from fastlb._core.failing.retry cimport (
    end_retrying, has_another, may_retry, note_tried, was_refused,
)
from fastlb._core.http.admit cimport admit_decided
from fastlb._core.http.mirror cimport part_from_hedge
from fastlb._core.http.upstream cimport end_upstream
from fastlb._core.policy.call cimport ask, has_left
from fastlb._core.policy.opening cimport first_step, pass_on_first
from fastlb._core.stages.accept cimport begin, begin_first, secure_or_begin
from fastlb._core.stages.answer cimport answer_step
from fastlb._core.stages.balance cimport balance_step
from fastlb._core.stages.connect cimport connect_step
from fastlb._core.stages.forward cimport forward_step
from fastlb._core.stages.handshake cimport handshake_step
from fastlb._core.stages.linger cimport linger_step
from fastlb._core.stages.proxied cimport proxied_step
from fastlb._core.stages.record cimport note_down, record_http
from fastlb._core.stages.relay cimport relay_step
from fastlb._core.stages.request cimport request_step
from fastlb._core.stages.sniff cimport sniff_step
from fastlb._core.stages.websocket cimport websocket_step


cdef bint try_another(Core* core, Exchange* x) noexcept nogil:
    """A connect failed. The client hasn't noticed: go back to balancing, which knows whether there
    is anyone else."""
    if x.reason == REASON_NO_DESCRIPTOR or x.reason == REASON_NO_MEMORY:
        return False
    if unlikely(x.hedge != NULL):
        return take_over(core, x)
    note_tried(x)
    if has_another(x) and not may_retry(core, x, RETRY_CONNECT, 0):
        return False
    leave_server(core, x, x.reason)
    return True


cdef bint ask_another(Core* core, Exchange* x) noexcept nogil:
    """There was no answer, or none worth passing on: x.reason says why."""
    cdef int cause = 0
    if unlikely(was_refused(x)) and not x.http.flags & HTTP_ANSWERING:
        cause = RETRY_CONNECT           # (which is as safe)
    elif x.reason == REASON_SERVER_CLOSED or x.reason == REASON_SERVER_RESET:
        cause = RETRY_RESET
    elif x.reason == REASON_TIMEOUT and x.http.request.done:
        cause = RETRY_TIMEOUT
    elif x.reason == REASON_BAD_RESPONSE or x.reason == REASON_LARGE_RESPONSE:
        cause = RETRY_INVALID
    if cause == 0:
        return False
    server_failed(core, x.pool, x.target)
    if unlikely(x.hedge != NULL) and not x.http.flags & HTTP_HEAD_DONE:
        return take_over(core, x)
    if x.http.flags & HTTP_HEAD_DONE or not may_retry(core, x, cause, 0):
        return False
    leave_server(core, x, x.reason)
    return True


cdef void _again(Core* core, Exchange* x) noexcept nogil:
    if x.flags & EXCHANGE_HAS_MORE:
        x.flags &= <uint8_t> ~EXCHANGE_HAS_MORE
        queue(core, x)


cdef void advance(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict, steps
    for steps in range(STEPS_MAX):
        if likely(x.stage == STAGE_RELAY):
            verdict = relay_step(core, x)
            if likely(verdict == AGAIN):
                timer_touch(core, &x.timer)
                _again(core, x)
                return
        elif unlikely(x.stage == STAGE_HANDSHAKE):
            verdict = handshake_step(core, x)
            if verdict == NEXT and _begin(core, x):
                continue
        elif unlikely(x.stage == STAGE_PROXIED):
            verdict = proxied_step(core, x)
            if verdict == NEXT:
                timer_cancel(&x.timer)
                secure_or_begin(core, x)
                continue
        elif unlikely(x.stage == STAGE_CARRIER):
            verdict = carrier_step(core, x)
            if verdict == NEXT:
                continue
            if verdict == AGAIN:
                _again(core, x)
                return
        elif x.flags & EXCHANGE_HTTP:
            if _advance_http(core, x):
                continue
            return
        elif x.stage == STAGE_BALANCE:
            verdict = balance_step(core, x)
            if verdict == NEXT:
                x.stage = STAGE_CONNECT
                x.picked_ns = core.now_ns
                continue
        elif unlikely(x.stage != STAGE_CONNECT):
            verdict = _decide(core, x)
            if verdict == NEXT:
                continue
            if verdict == AGAIN:
                _again(core, x)
                return
        else:
            if x.client.ready & ERROR:
                broken(x, &x.client)
                break
            verdict = connect_step(core, x)
            if unlikely(x.h2 != NULL):
                if verdict == NEXT and begin_server_carrier(core, x):
                    continue
            elif verdict == NEXT:
                x.stage = STAGE_RELAY
                timer_start(core, &x.timer, x.idle_timer)
                if unlikely(x.input != NULL):
                    pass_on_first(core, x)
                if unlikely(x.client.tls != NULL) and not (
                        fl_load32(&core.live.recording) & RECORDING_TLS):
                    drop_told(&x.client)
                end_retrying(x)
                x.pool_name = x.pool.live.name
                let_snapshot_go(core, x)
                continue
            elif verdict == FAIL and try_another(core, x):
                continue
        if verdict == AGAIN:
            return
        break
    else:
        queue(core, x)                 # others first
        return
    finish(core, x)


cdef int _decide(Core* core, Exchange* x) noexcept nogil:
    """Where a connection goes, by its first bytes: NEXT once that is known, AGAIN, or FAIL."""
    cdef int verdict
    if x.stage != STAGE_SNIFF:
        verdict = first_step(core, x)
        if verdict == NEXT:
            x.stage = STAGE_BALANCE
        return verdict
    verdict = sniff_step(core, x)
    if verdict == HAND:
        return NEXT if hand_over(core, x) else FAIL
    if verdict == NEXT and x.policy != NULL:
        begin_first(core, x)
    elif verdict == NEXT:
        x.stage = STAGE_BALANCE
    return verdict


cdef bint _begin(Core* core, Exchange* x) noexcept nogil:
    """A connection is secured; False: it has to end."""
    timer_cancel(&x.timer)
    if x.bind.http == NULL or not tls_speaks_h2(&x.client):
        begin(core, x)
        return True
    return begin_carrier(core, x)


# --- http ---

cdef bint _advance_http(Core* core, Exchange* x) noexcept nogil:
    """One step of a request; False when it waits, or the connection has ended."""
    cdef int verdict
    if unlikely(x.flags & EXCHANGE_SHADOW) and x.http.flags & HTTP_OVERRUN:
        x.reason = REASON_CLIENT_GONE
        finish(core, x)
        return False
    if x.stage == STAGE_REQUEST:
        verdict = _begin_request(core, x)
        if likely(verdict == NEXT):
            return True
        if unlikely(verdict == CARRY) and begin_carrier(core, x):
            return True
    elif x.stage == STAGE_BALANCE:
        verdict = balance_step(core, x)
        if likely(verdict == NEXT):
            x.stage = STAGE_CONNECT
            x.picked_ns = core.now_ns
            return True
        if verdict == FAIL:
            note_down(core, x)
    elif x.stage == STAGE_CONNECT:
        if unlikely(x.client.ready & ERROR):
            broken(x, &x.client)
            finish(core, x)
            return False
        verdict = connect_step(core, x)
        if likely(verdict == NEXT):
            x.stage = STAGE_FORWARD
            x.http.upstream.requests += 1
            fl_count(&x.counters.requests, 1)
            return True
        if verdict == FAIL and try_another(core, x):
            return True
    elif x.stage == STAGE_FORWARD:
        if unlikely(x.flags & EXCHANGE_SHADOW) and x.hedge != NULL and x.http.flags & HTTP_SENT:
            _hear_hedge(core, x)
            return False
        verdict = forward_step(core, x)
        if likely(verdict == NEXT):
            return _complete(core, x)
        if verdict == RETRY:
            _retry(core, x)
            return True
        if verdict == ELSEWHERE:
            if x.hedge == NULL or not take_over(core, x):
                leave_server(core, x, core.http.head.status)
            return True
        if verdict == FAIL and ask_another(core, x):
            return True
        if verdict == TUNNEL:
            return open_tunnel(core, x)
    elif x.stage == STAGE_POLICY:
        if has_left(x):
            finish(core, x)
        return False
    elif x.stage == STAGE_ANSWER:
        verdict = answer_step(core, x)
        if verdict == NEXT:
            return _complete(core, x)
        if verdict == FAIL:
            finish(core, x)
            return False
    elif x.stage == STAGE_WEBSOCKET:
        verdict = websocket_step(core, x)
    else:
        verdict = linger_step(core, x)
    if verdict == AGAIN:
        _again(core, x)
        return False
    if (verdict == ANSWER or (verdict == FAIL and may_answer(core, x))) \
            and likely(not x.flags & EXCHANGE_SHADOW):
        begin_answer(core, x)
        return True
    finish(core, x)
    return False


cdef int _begin_request(Core* core, Exchange* x) noexcept nogil:
    """NEXT also where its policy couldn't be asked, so that it begins anew."""
    cdef int verdict
    if not hold_snapshot(core, x):
        x.reason = REASON_DONE
        return END
    verdict = request_step(core, x)
    if unlikely(verdict == ASK):
        if not ask(core, x):
            return AGAIN
        if not x.policy.is_sync:
            return NEXT
        verdict = admit_decided(core, x)
    if likely(verdict == NEXT):
        x.stage = STAGE_BALANCE
        if unlikely(x.http.route.mirror >= 0):
            begin_mirror(core, x)
    elif verdict == AGAIN and x.input == NULL and x.requests:
        let_snapshot_go(core, x)            # idle: a reload needs not wait for it
    return verdict


cdef void _hear_hedge(Core* core, Exchange* x) noexcept nogil:
    cdef Exchange* other = hear_hedge(core, x)
    if other != NULL:
        advance(core, other)


cdef void begin_answer(Core* core, Exchange* x) noexcept nogil:
    """By ourselves: a body that is still owed would be in the way of the next request."""
    stop_waiting(x)
    if x.http != NULL:
        if unlikely(x.hedge != NULL):
            part_from_hedge(core, x)
        if not x.http.request.done:
            x.flags |= EXCHANGE_CLOSE
        drop_server(core, x)
    x.stage = STAGE_ANSWER
    timer_start(core, &x.timer, x.bind.http.header_timer)


cdef void _retry(Core* core, Exchange* x) noexcept nogil:
    """The server had closed a connection that we thought was waiting: once more, on a new one."""
    end_upstream(core, x.http, True)
    x.to_server = &x.server
    x.http.flags &= <unsigned int> ~HTTP_SENT
    x.http.flags |= HTTP_RETRIED
    fl_assert(x.http.head != NULL)
    x.http.head.start = 0
    fl_count(&core.counters.retries, 1)
    x.stage = STAGE_CONNECT


cdef bint _complete(Core* core, Exchange* x) noexcept nogil:
    """An answer is written. True: go on with what the client has sent since."""
    cdef bint owed = x.http == NULL or not x.http.request.done
    cdef int linger_timer = x.bind.http.linger_timer
    cdef int keepalive_timer = x.bind.http.keepalive_timer
    cdef uint64_t linger_bytes_max = x.bind.http.linger_bytes_max
    if unlikely(x.flags & EXCHANGE_SHADOW):
        x.reason = REASON_DONE
        finish(core, x)
        return False
    record_http(core, x, x.reason if x.stage == STAGE_ANSWER else REASON_DONE)
    if unlikely(x.carrier != NULL):
        end_request(core, x, False)
        x.reason = REASON_DONE
        finish(core, x)
        return False
    end_request(core, x, False)
    let_snapshot_go(core, x)
    if x.flags & EXCHANGE_CLOSE or owed or core.closing:
        if (owed or x.input != NULL or x.client.ready & READABLE) and not (
                x.client.ready & ERROR or x.client.flags & STREAM_EOF):
            if x.input != NULL:
                give_input(core, x)
            stream_shut(&x.client)
            x.stage = STAGE_LINGER
            x.linger_left = linger_bytes_max
            x.begin_ns = core.now_ns
            timer_start(core, &x.timer, linger_timer)
            return True
        x.reason = REASON_DONE
        finish(core, x)
        return False
    x.stage = STAGE_REQUEST
    timer_start(core, &x.timer, keepalive_timer)
    if x.input != NULL:
        x.flags |= EXCHANGE_HAS_MORE
        _again(core, x)                 # pipelined: others first
        return False
    return x.client.ready & READABLE or x.client.flags & STREAM_EOF


cdef void run_queue(Core* core) noexcept nogil:
    """Go on with those that stopped for others' sake; who stops again waits for the next turn."""
    cdef Exchange* x = core.run_first
    cdef Exchange* following
    core.run_first = core.run_last = NULL
    while x != NULL:
        following = x.next_run
        x.flags &= <uint8_t> ~EXCHANGE_QUEUED
        if x.stage == STAGE_DEAD:
            x.next_free = core.dead
            core.dead = x
        else:
            advance(core, x)
        x = following
