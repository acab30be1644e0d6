# What follows on the stages of connections, of which those of requests are some: a row each in the
# conveyor's table. `step` goes on, `late` is for when the stage's time is over, `leave` for when
# the exchange is to end. Each returns a verdict, as stages do.
from libc.errno cimport ETIMEDOUT

from fastlb._core.base.enums cimport (
    AGAIN, END, ERROR, EXCHANGE_CLOSE, EXCHANGE_HTTP, FAIL, GONE, HAND, LEAVE_LISTENER, LEAVE_NOW,
    LEAVE_PART, NEXT, REASON_CONNECT_TIMEOUT, REASON_DONE, REASON_HANDSHAKE, REASON_IDLE,
    REASON_NO_MEMORY, REASON_PENDING, STAGE_BALANCE, STAGE_CARRIER, STAGE_CONNECT, STAGE_FORWARD,
    STAGE_RELAY,
)
from fastlb._core.base.flow cimport broken
from fastlb._core.base.queue cimport queue
from fastlb._core.base.timers cimport timer_cancel, timer_start, timer_touch
from fastlb._core.base.tls cimport tls_speaks_h2
from fastlb._core.base.tlsfacts cimport drop_told
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.exchange.h2connection cimport begin_carrier, begin_server_carrier, expire_carrier
from fastlb._core.exchange.handover cimport hand_over
from fastlb._core.exchange.lifecycle cimport find_bind, let_snapshot_go
from fastlb._core.exchange.tries cimport try_another
from fastlb._core.ext.atomic cimport fl_count, fl_load64, likely, unlikely
from fastlb._core.failing.retry cimport end_retrying
from fastlb._core.http.copies cimport is_overrun
from fastlb._core.http.sources cimport give_handshake
from fastlb._core.policy.call cimport give_up_asking, has_left
from fastlb._core.policy.opening cimport first_step, pass_on_first
from fastlb._core.stages.accept cimport begin, begin_first, is_let_in, secure_or_begin
from fastlb._core.stages.balance cimport balance_step
from fastlb._core.stages.connect cimport connect_failed, connect_step
from fastlb._core.stages.handshake cimport handshake_step
from fastlb._core.stages.proxied cimport proxied_late, proxied_step
from fastlb._core.stages.record cimport note_down
from fastlb._core.stages.relay cimport relay_step
from fastlb._core.stages.sniff cimport sniff_step
from fastlb._core.stages.tarpit cimport hold
from fastlb._core.stages.throttle cimport begin_throttle, throttle_step
from fastlb._core.stages.websocket cimport part_websocket
from fastlb._core.udp.sessions cimport expire_session, resume_session


cdef int stay(Core* core, Exchange* x, int how) noexcept nogil:
    """`leave` of stages that end by themselves: in a moment, or when their work is done."""
    return AGAIN


cdef int never(Core* core, Exchange* x) noexcept nogil:
    """`step` of what is no exchange under way, and of sessions, which datagrams move."""
    return AGAIN


cdef int late_idle(Core* core, Exchange* x) noexcept nogil:
    x.reason = REASON_IDLE
    return END


# --- before it is known where it goes ---

cdef int _go_on(Core* core, Exchange* x) noexcept nogil:
    """It is known who the client is."""
    if not x.opening.is_let_in and not is_let_in(core, x):
        return NEXT if hold(core, x) else FAIL
    return NEXT if secure_or_begin(core, x) else FAIL


cdef int step_proxied(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict = proxied_step(core, x)
    if verdict == NEXT:
        timer_cancel(&x.timer)
        return _go_on(core, x)
    return verdict


cdef int late_proxied(Core* core, Exchange* x) noexcept nogil:
    if proxied_late(core, x) != NEXT:
        return END
    return _go_on(core, x)


cdef int step_handshake(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict = handshake_step(core, x)
    if verdict != NEXT:
        return verdict
    timer_cancel(&x.timer)
    give_handshake(x)
    x.stage = STAGE_CARRIER
    if x.bind.http != NULL and tls_speaks_h2(&x.client):
        return NEXT if begin_carrier(core, x) else FAIL
    begin(core, x)
    return NEXT


cdef int late_handshake(Core* core, Exchange* x) noexcept nogil:
    fl_count(&core.counters.handshakes_failed, 1)
    x.reason = REASON_HANDSHAKE
    return END


cdef int step_sniff(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict = sniff_step(core, x)
    if verdict == HAND:
        return NEXT if hand_over(core, x) else FAIL
    if verdict == NEXT and x.policy != NULL:
        begin_first(core, x)
    elif verdict == NEXT:
        x.stage = STAGE_BALANCE
    return verdict


cdef int late_sniff(Core* core, Exchange* x) noexcept nogil:
    x.opening.over = True               # it goes by what there is
    return NEXT


cdef int step_first(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict = first_step(core, x)
    if verdict == NEXT:
        x.stage = STAGE_BALANCE
    return verdict


cdef int late_first(Core* core, Exchange* x) noexcept nogil:
    x.opening.all_seen = True           # its policy has to do with what there is
    return NEXT


cdef int step_policy(Core* core, Exchange* x) noexcept nogil:
    if x.flags & EXCHANGE_HTTP:
        return END if has_left(x) else AGAIN
    return first_step(core, x)


cdef int late_policy(Core* core, Exchange* x) noexcept nogil:
    give_up_asking(core, x)
    if unlikely(x.session != NULL):
        resume_session(core, x)
        return GONE
    return NEXT


cdef int leave_tarpit(Core* core, Exchange* x, int how) noexcept nogil:
    """It is released at once, whatever happens."""
    return END


cdef int late_tarpit(Core* core, Exchange* x) noexcept nogil:
    return END


# --- its server ---

cdef int step_balance(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict
    if unlikely(is_overrun(x)):
        return END
    verdict = balance_step(core, x)
    if likely(verdict == NEXT):
        x.stage = STAGE_CONNECT
        x.attempt.picked_ns = core.now_ns
    elif verdict == FAIL and x.flags & EXCHANGE_HTTP:
        note_down(core, x)
    return verdict


cdef int late_balance(Core* core, Exchange* x) noexcept nogil:
    x.reason = REASON_PENDING
    return FAIL


cdef int step_connect(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict
    if unlikely(is_overrun(x)):
        return END
    if unlikely(x.client.ready & ERROR):
        broken(x, &x.client)
        return END
    verdict = connect_step(core, x)
    if unlikely(x.h2 != NULL):          # (its requests try another server by themselves)
        return verdict if verdict != NEXT or begin_server_carrier(core, x) else FAIL
    if verdict == FAIL and try_another(core, x):
        return NEXT
    if verdict != NEXT:
        return verdict
    if x.flags & EXCHANGE_HTTP:
        x.stage = STAGE_FORWARD
        x.attempt.upstream.requests += 1
        fl_count(&x.attempt.counters.requests, 1)
    elif unlikely(not _begin_relay(core, x)):
        x.reason = REASON_NO_MEMORY
        return END
    return NEXT


cdef bint _begin_relay(Core* core, Exchange* x) noexcept nogil:
    """Both sides are connected: nothing of the snapshot is needed any more. False: there is no
    memory."""
    if likely(x.bind.speeds == NULL):
        x.stage = STAGE_RELAY
    elif not begin_throttle(x):
        return False
    timer_start(core, &x.timer, x.idle_timer)
    if unlikely(x.input != NULL):
        pass_on_first(core, x)
    if unlikely(x.client.tls != NULL) and fl_load64(&core.live.recorded) == 0:
        drop_told(&x.client)
    end_retrying(x)
    x.books.pool_name = x.pool.live.name
    let_snapshot_go(core, x)
    return True


cdef int late_connect(Core* core, Exchange* x) noexcept nogil:
    connect_failed(core, x, ETIMEDOUT)
    x.reason = REASON_CONNECT_TIMEOUT
    if unlikely(x.h2 != NULL):
        return END
    return NEXT if try_another(core, x) else FAIL


# --- bytes both ways ---

cdef int step_relay(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict = relay_step(core, x)
    if likely(verdict == AGAIN):
        timer_touch(core, &x.timer)
    return verdict


cdef int step_throttle(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict = throttle_step(core, x)
    if likely(verdict == AGAIN):
        timer_touch(core, &x.timer)
    return verdict


cdef int leave_websocket(Core* core, Exchange* x, int how) noexcept nogil:
    if how == LEAVE_PART:
        queue(core, x)                  # it is told that it ends when nothing is halfway
    elif how == LEAVE_NOW:
        part_websocket(core, x)
    return AGAIN


# --- HTTP/2 ---

cdef int late_carrier(Core* core, Exchange* x) noexcept nogil:
    if x.h2.target == NULL:
        return expire_carrier(core, x)
    x.reason = REASON_DONE
    if not x.h2.is_ready:
        connect_failed(core, x, ETIMEDOUT)
        x.reason = REASON_CONNECT_TIMEOUT
    return END


cdef int leave_carrier(Core* core, Exchange* x, int how) noexcept nogil:
    """It takes no more requests, and says so, unless its listener goes on."""
    if how < LEAVE_PART and not (how == LEAVE_LISTENER and find_bind(core, x.bind_id) != NULL):
        x.flags |= EXCHANGE_CLOSE
        queue(core, x)
    return AGAIN


# --- UDP ---

cdef int late_session(Core* core, Exchange* x) noexcept nogil:
    expire_session(core, x)
    return GONE
