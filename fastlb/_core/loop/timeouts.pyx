# What happens to an exchange whose time is over, or whose policy has answered.
from libc.errno cimport ETIMEDOUT
from libc.stdlib cimport free

from fastlb._core.base.enums cimport (
    EXCHANGE_CLOSE, EXCHANGE_HTTP, NEXT, REASON_CONNECT_TIMEOUT, REASON_DONE, REASON_HANDSHAKE,
    REASON_IDLE, REASON_PENDING, REASON_TIMEOUT, STAGE_BALANCE, STAGE_CARRIER, STAGE_CONNECT,
    STAGE_FIRST, STAGE_FORWARD, STAGE_HANDSHAKE, STAGE_LINGER, STAGE_POLICY, STAGE_PROXIED,
    STAGE_RELAY, STAGE_REQUEST, STAGE_SNIFF, STAGE_WEBSOCKET, TIMER_EXCHANGE, TIMER_HEDGE,
    TIMER_STALL, TIMER_UPSTREAM,
)
from fastlb._core.base.parts cimport Timer
from fastlb._core.base.questions cimport Answered
from fastlb._core.base.timers cimport timer_cancel, timer_expired, timer_start
from fastlb._core.base.types cimport H2, Core, Exchange, Http, Upstream
from fastlb._core.exchange.h2connection cimport expire_carrier, look_for_stalled
from fastlb._core.exchange.hedge cimport begin_hedge
from fastlb._core.exchange.lifecycle cimport finish, may_answer
from fastlb._core.ext.atomic cimport fl_count, unlikely
from fastlb._core.http.trailers cimport end_call
from fastlb._core.http.upstream cimport drop_idle
from fastlb._core.loop.conveyor cimport advance, ask_another, begin_answer, try_another
from fastlb._core.policy.call cimport give_up_asking
from fastlb._core.policy.questions cimport take_answer, take_answers
from fastlb._core.stages.accept cimport secure_or_begin
from fastlb._core.stages.connect cimport connect_failed
from fastlb._core.stages.proxied cimport proxied_late
from fastlb._core.udp.sessions cimport expire_session, resume_session


cdef void _expire_http(Core* core, Exchange* x, bint again) noexcept nogil:
    """The time of one of its phases is over; `again`: there may be time for another server."""
    if x.stage == STAGE_REQUEST and x.input != NULL:
        x.status = 408
        x.reason = REASON_TIMEOUT
        x.flags |= EXCHANGE_CLOSE
        begin_answer(core, x)
    elif x.stage == STAGE_FORWARD:
        x.reason = REASON_TIMEOUT
        if again and ask_another(core, x):
            advance(core, x)
            return
        if not may_answer(core, x):
            end_call(x)
            finish(core, x)
            return
        if not x.http.request.done:
            x.status = 408              # the client's part, and not the server's
        begin_answer(core, x)
    else:
        x.reason = REASON_DONE if x.stage == STAGE_REQUEST or x.stage == STAGE_LINGER \
            else REASON_IDLE
        finish(core, x)
        return
    advance(core, x)


cdef void _expire_request(Core* core, Http* http) noexcept nogil:
    """The time of the whole request is over, whatever it is doing."""
    cdef Exchange* x = http.exchange
    if x.stage == STAGE_CONNECT or x.stage == STAGE_BALANCE:
        x.reason = REASON_TIMEOUT
        if may_answer(core, x):
            begin_answer(core, x)
            advance(core, x)
            return
        finish(core, x)
        return
    _expire_http(core, x, False)


cdef void expire(Core* core) noexcept nogil:
    cdef Timer* timer
    cdef int slot
    for slot in range(1, core.n_timers):
        while True:
            timer = timer_expired(core, slot)
            if timer == NULL:
                break
            timer_cancel(timer)
            if timer.kind == TIMER_EXCHANGE:
                _expire_exchange(core, <Exchange*> timer.owner)
            elif timer.kind == TIMER_UPSTREAM:
                drop_idle(core, <Upstream*> timer.owner)
            elif timer.kind == TIMER_STALL:
                look_for_stalled(core, <H2*> timer.owner)
            elif timer.kind == TIMER_HEDGE:
                begin_hedge(core, <Http*> timer.owner)
            else:
                _expire_request(core, <Http*> timer.owner)


cdef void hear_answers(Core* core) noexcept nogil:
    """What policies on the control plane have decided."""
    cdef Answered* answered = take_answers(core)
    cdef Answered* following
    cdef Exchange* x
    while answered != NULL:
        following = answered.next
        x = <Exchange*> answered.exchange
        if take_answer(core, x, answered):
            if unlikely(x.session != NULL):
                resume_session(core, x)
            else:
                x.stage = STAGE_REQUEST if x.flags & EXCHANGE_HTTP else STAGE_FIRST
                advance(core, x)
        free(answered)
        answered = following


cdef void _expire_exchange(Core* core, Exchange* x) noexcept nogil:
    if unlikely(x.session != NULL):
        if x.stage == STAGE_POLICY:
            give_up_asking(core, x)
            resume_session(core, x)
        else:
            expire_session(core, x)
        return
    if unlikely(x.stage == STAGE_POLICY):
        give_up_asking(core, x)
        advance(core, x)
        return
    if unlikely(x.stage == STAGE_FIRST):
        x.status = 1                        # its policy has to do with what there is
        advance(core, x)
        return
    if unlikely(x.stage == STAGE_SNIFF):
        x.sniffed.over = True
        advance(core, x)
        return
    if unlikely(x.stage == STAGE_PROXIED):
        if proxied_late(core, x) != NEXT:
            finish(core, x)
            return
        secure_or_begin(core, x)
        advance(core, x)
        return
    if unlikely(x.stage == STAGE_HANDSHAKE):
        fl_count(&core.counters.handshakes_failed, 1)
        x.reason = REASON_HANDSHAKE
        finish(core, x)
        return
    if x.stage == STAGE_CONNECT:
        connect_failed(core, x, ETIMEDOUT)
        x.reason = REASON_CONNECT_TIMEOUT
        if unlikely(x.h2 != NULL):              # (its requests try another by themselves)
            finish(core, x)
            return
        if try_another(core, x):
            advance(core, x)
            return
    elif x.stage == STAGE_BALANCE:
        x.reason = REASON_PENDING
        if may_answer(core, x):
            begin_answer(core, x)
            advance(core, x)
            return
        finish(core, x)
        return
    elif unlikely(x.stage == STAGE_CARRIER):
        if x.h2.target != NULL:
            x.reason = REASON_DONE
            if not x.h2.is_ready:
                connect_failed(core, x, ETIMEDOUT)
                x.reason = REASON_CONNECT_TIMEOUT
            finish(core, x)
            return
        expire_carrier(core, x)
        return
    elif x.flags & EXCHANGE_HTTP and x.stage != STAGE_RELAY and x.stage != STAGE_WEBSOCKET:
        _expire_http(core, x, True)
        return
    x.reason = REASON_IDLE
    finish(core, x)
