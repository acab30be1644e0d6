# Timeouts that are over, and policies that have answered: each lets its exchange go on.
# An engine that has stood still (its machine was paused, or a policy held it) reads what has come
# meanwhile first: who was in time is not late because we are.
from libc.stdint cimport uint64_t
from libc.stdlib cimport free

from fastlb._core.base.enums cimport (
    EXCHANGE_HTTP, HTTP_KEPT_BACK, HTTP_PAUSED, STAGE_FIRST, STAGE_REQUEST, TIMER_EXCHANGE,
    TIMER_PACE, TIMER_PAUSE, TIMER_STALL, TIMER_THROTTLE, TIMER_UPSTREAM,
)
from fastlb._core.base.limits cimport EVENTS_MAX, LATE_MS, LOOKS_MAX
from fastlb._core.base.parts cimport Timer
from fastlb._core.base.questions cimport Answered
from fastlb._core.base.timers cimport timer_cancel, timer_expired
from fastlb._core.base.types cimport H2, Core, Exchange, Http, Upstream
from fastlb._core.exchange.h2connection cimport look_for_stalled
from fastlb._core.exchange.hedge cimport begin_hedge
from fastlb._core.ext.atomic cimport unlikely
from fastlb._core.http.upstream cimport drop_idle
from fastlb._core.loop.conveyor cimport advance, be_late, be_late_as_sender, be_late_as_whole
from fastlb._core.policy.questions cimport take_answer, take_answers
from fastlb._core.udp.sessions cimport resume_session


cdef void _end_pause(Core* core, Http* http) noexcept nogil:
    """A server has paused for long: before its answer, or within it."""
    if not http.flags & HTTP_KEPT_BACK:
        begin_hedge(core, http)
        return
    http.flags |= HTTP_PAUSED
    advance(core, http.exchange)


cdef bint _looks_again(Core* core, const Timer* timer, int n_events) noexcept nogil:
    """Whether there may be events that nobody has seen, from before a timeout was over."""
    if core.now_ms - timer.deadline_ms < <uint64_t> LATE_MS or core.looks == LOOKS_MAX \
            or (core.looks and n_events < EVENTS_MAX):
        return False
    core.looks += 1
    return True


cdef void expire(Core* core, int n_events) noexcept nogil:
    """`n_events`: those of this turn."""
    cdef Timer* timer
    cdef int slot
    for slot in range(1, core.n_timers):
        while True:
            timer = timer_expired(core, slot)
            if timer == NULL:
                break
            if unlikely(_looks_again(core, timer, n_events)):
                return                  # (the next turn is at once)
            timer_cancel(timer)
            if timer.kind == TIMER_EXCHANGE:
                be_late(core, <Exchange*> timer.owner)
            elif timer.kind == TIMER_UPSTREAM:
                drop_idle(core, <Upstream*> timer.owner)
            elif timer.kind == TIMER_STALL:
                look_for_stalled(core, <H2*> timer.owner)
            elif timer.kind == TIMER_PAUSE:
                _end_pause(core, <Http*> timer.owner)
            elif timer.kind == TIMER_THROTTLE:
                advance(core, <Exchange*> timer.owner)
            elif timer.kind == TIMER_PACE:
                be_late_as_sender(core, (<Http*> timer.owner).exchange)
            else:
                be_late_as_whole(core, (<Http*> timer.owner).exchange)
    core.looks = 0


cdef void hear_answers(Core* core) noexcept nogil:
    """Continue the exchanges whose policies on the control plane have answered."""
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
