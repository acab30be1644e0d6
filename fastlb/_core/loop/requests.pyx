# What follows on the stages of requests: rows of the conveyor's table, as in loop/connections.
# Stages say NEXT when their work is done; here it is said which stage comes then.
from libc.stdint cimport uint64_t

from fastlb._core.base.enums cimport (
    AGAIN, ANSWER, ASK, CARRY, ELSEWHERE, END, ERROR, EXCHANGE_CLOSE, EXCHANGE_HAS_MORE,
    EXCHANGE_SHADOW, FAIL, HEDGED, HTTP_FILTERED, LEAVE_LISTENER, LEAVE_PART, NEXT, READABLE,
    REASON_DONE, REASON_TIMEOUT, REASON_TOO_SLOW, RETRY, STAGE_ANSWER, STAGE_BALANCE,
    STAGE_FORWARD, STAGE_LINGER, STAGE_REQUEST, STREAM_EOF, TRY_SENT, TUNNEL,
)
from fastlb._core.base.mem cimport give_input
from fastlb._core.base.stream cimport stream_shut
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport BindEntry, Core, Exchange
from fastlb._core.exchange.h2connection cimport begin_carrier
from fastlb._core.exchange.lifecycle cimport (
    drop_server, end_request, find_bind, hold_snapshot, let_snapshot_go, may_answer,
)
from fastlb._core.exchange.tries cimport ask_another, ask_elsewhere, connect_again
from fastlb._core.exchange.tunnel cimport open_tunnel
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.failing.queue cimport stop_waiting
from fastlb._core.http.admit cimport forget_request
from fastlb._core.http.copies cimport is_overrun, part_from_hedge
from fastlb._core.http.filters cimport filters_prepared
from fastlb._core.http.pace cimport look_at_body, look_at_head
from fastlb._core.http.trailers cimport end_call
from fastlb._core.policy.questions cimport stop_asking
from fastlb._core.stages.answer cimport answer_step
from fastlb._core.stages.forward cimport forward_step
from fastlb._core.stages.record cimport record_http
from fastlb._core.stages.request cimport request_step


# --- request ---

cdef int step_request(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict
    if not hold_snapshot(core, x):
        x.reason = REASON_DONE
        return END
    verdict = request_step(core, x)
    if likely(verdict == NEXT):
        x.stage = STAGE_BALANCE
        if unlikely(x.http.flags & HTTP_FILTERED):
            filters_prepared(core, x)
    elif unlikely(verdict == ASK):
        return AGAIN
    elif verdict == AGAIN and x.input == NULL and x.requests:
        let_snapshot_go(core, x)            # idle: a reload needs not wait for it
    elif unlikely(verdict == CARRY):
        return NEXT if begin_carrier(core, x) else FAIL
    return verdict


cdef int late_request(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict
    x.reason = REASON_DONE
    if x.input == NULL:
        return END
    verdict = look_at_head(core, x)
    if verdict == AGAIN:
        return AGAIN
    forget_request(core, x)
    x.status = 408
    x.reason = REASON_TIMEOUT if verdict == NEXT else REASON_TOO_SLOW
    x.flags |= EXCHANGE_CLOSE
    return ANSWER


cdef int leave_request(Core* core, Exchange* x, int how) noexcept nogil:
    """Those who wait to send their next request end when their listener has gone, and in a stop. In
    a stop, a request may be on its way: they get the time that `shutdown_idle_timeout` gives. Who
    has just come and asked nothing yet was promised an answer."""
    cdef BindEntry* bind
    if how >= LEAVE_PART or x.carrier != NULL or x.requests == 0 or x.input != NULL \
            or x.client.ready & READABLE:
        return AGAIN
    bind = find_bind(core, x.bind_id)
    if bind != NULL and how == LEAVE_LISTENER:
        return AGAIN
    if bind != NULL and not core.hasty and bind.http != NULL and bind.http.leaving_timer:
        timer_start(core, &x.timer, bind.http.leaving_timer)
        return AGAIN
    x.reason = REASON_DONE
    return END


# --- forward ---

cdef int step_forward(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict
    if unlikely(x.flags & EXCHANGE_SHADOW):
        if is_overrun(x):
            return END
        if x.hedge != NULL and x.attempt.flags & TRY_SENT:
            return HEDGED
    verdict = forward_step(core, x)
    if likely(verdict == NEXT):
        return _complete(core, x)
    if verdict == RETRY:
        connect_again(core, x)
        return NEXT
    if verdict == ELSEWHERE:
        ask_elsewhere(core, x)
        return NEXT
    if verdict == FAIL and ask_another(core, x):
        return NEXT
    if verdict == TUNNEL:
        return open_tunnel(core, x)
    return verdict


cdef int late_forward(Core* core, Exchange* x) noexcept nogil:
    """The time for one part of it is over: there may be time for another server."""
    x.reason = REASON_TIMEOUT
    return NEXT if ask_another(core, x) else _too_late(core, x)


cdef int _too_late(Core* core, Exchange* x) noexcept nogil:
    if not may_answer(core, x):
        end_call(x)
        return END
    if not x.http.request.done:
        x.status = 408              # the client's part, and not the server's
    return ANSWER


cdef int late_whole_request(Core* core, Exchange* x) noexcept nogil:
    """The time for a whole request is over, and it has a server, or looks for one."""
    x.reason = REASON_TIMEOUT
    return _too_late(core, x) if x.stage == STAGE_FORWARD else FAIL


cdef int late_pace(Core* core, Exchange* x) noexcept nogil:
    """It is time to look how fast the client sends its body."""
    if x.stage != STAGE_FORWARD or look_at_body(core, x) == AGAIN:
        return AGAIN
    x.reason = REASON_TOO_SLOW
    return _too_late(core, x)


# --- answer ---

cdef void begin_answer(Core* core, Exchange* x) noexcept nogil:
    """By ourselves: a body that is still owed would be in the way of the next request."""
    stop_waiting(x)
    stop_asking(core, x, False)
    if x.http != NULL:
        if unlikely(x.hedge != NULL):
            part_from_hedge(core, x)
        if not x.http.request.done:
            x.flags |= EXCHANGE_CLOSE
        drop_server(core, x)
    x.stage = STAGE_ANSWER
    timer_start(core, &x.timer, x.bind.http.header_timer)


cdef int step_answer(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict = answer_step(core, x)
    if verdict == NEXT:
        return _complete(core, x)
    return END if verdict == FAIL else verdict


cdef int _complete(Core* core, Exchange* x) noexcept nogil:
    """An answer is written: NEXT to go on with what the client has sent since, AGAIN, or END."""
    cdef bint owed = x.http == NULL or not x.http.request.done
    cdef int linger_timer = x.bind.http.linger_timer
    cdef int keepalive_timer = x.bind.http.keepalive_timer
    cdef uint64_t linger_bytes_max = x.bind.http.linger_bytes_max
    if unlikely(x.flags & EXCHANGE_SHADOW):
        x.reason = REASON_DONE
        return END
    record_http(core, x, x.reason if x.stage == STAGE_ANSWER else REASON_DONE)
    end_request(core, x, False)
    if unlikely(x.carrier != NULL):
        x.reason = REASON_DONE
        return END
    let_snapshot_go(core, x)
    if x.flags & EXCHANGE_CLOSE or owed or core.closing:
        if (owed or x.input != NULL or x.client.ready & READABLE) and not (
                x.client.ready & ERROR or x.client.flags & STREAM_EOF):
            if x.input != NULL:
                give_input(core, x)
            stream_shut(&x.client)
            x.stage = STAGE_LINGER
            x.linger_left = linger_bytes_max
            x.books.begin_ns = core.now_ns
            timer_start(core, &x.timer, linger_timer)
            return NEXT
        x.reason = REASON_DONE
        return END
    x.stage = STAGE_REQUEST
    timer_start(core, &x.timer, keepalive_timer)
    if x.input != NULL:
        x.flags |= EXCHANGE_HAS_MORE        # pipelined: others first
        return AGAIN
    return NEXT if x.client.ready & READABLE or x.client.flags & STREAM_EOF else AGAIN


cdef int late_linger(Core* core, Exchange* x) noexcept nogil:
    x.reason = REASON_DONE
    return END
