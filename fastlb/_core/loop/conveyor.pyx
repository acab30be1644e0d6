# The table of stages in the order of the flow, and what is done about a verdict. Stages decide;
# this acts. An exchange goes on by `advance`, when the time of its stage is over by `be_late`, and
# when it is to end by `leave`.
from fastlb._core.base.enums cimport (
    AGAIN, ANSWER, EXCHANGE_HAS_MORE, EXCHANGE_QUEUED, EXCHANGE_SHADOW, FAIL, GONE, HEDGED, NEXT,
    STAGE_ANSWER, STAGE_BALANCE, STAGE_CARRIER, STAGE_CONNECT, STAGE_COUNT, STAGE_DEAD,
    STAGE_FIRST, STAGE_FORWARD, STAGE_FREE, STAGE_HANDSHAKE, STAGE_LINGER, STAGE_POLICY,
    STAGE_PROXIED, STAGE_RELAY, STAGE_REQUEST, STAGE_SESSION, STAGE_SNIFF, STAGE_TARPIT,
    STAGE_THROTTLE, STAGE_WEBSOCKET,
)
from fastlb._core.base.limits cimport STEPS_MAX
from fastlb._core.base.queue cimport queue
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.exchange.h2connection cimport carrier_step
from fastlb._core.exchange.hedge cimport hear_hedge
from fastlb._core.exchange.lifecycle cimport finish, may_answer
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.loop.connections cimport (
    late_balance, late_carrier, late_connect, late_first, late_handshake, late_idle, late_policy,
    late_proxied, late_session, late_sniff, late_tarpit, leave_carrier, leave_tarpit,
    leave_websocket, never, stay, step_balance, step_connect, step_first, step_handshake,
    step_policy, step_proxied, step_relay, step_sniff, step_throttle,
)
from fastlb._core.loop.requests cimport (
    begin_answer, late_forward, late_linger, late_pace, late_request, late_whole_request,
    leave_request, step_answer, step_forward, step_request,
)
from fastlb._core.stages.linger cimport linger_step
from fastlb._core.stages.tarpit cimport tarpit_step
from fastlb._core.stages.websocket cimport websocket_step

ctypedef int (*Step)(Core* core, Exchange* x) noexcept nogil
ctypedef int (*Leave)(Core* core, Exchange* x, int how) noexcept nogil

cdef struct Row:                # what is done with an exchange in one stage; all return verdicts
    Step step                   # an event has come, or it is its turn
    Step late                   # the stage's time is over
    Leave leave                 # it is to end: see Leaving. AGAIN: it goes on, END

cdef Row[STAGE_COUNT] _table


cdef void _row(int stage, Step step, Step late, Leave leave) noexcept:
    _table[stage].step = step
    _table[stage].late = late
    _table[stage].leave = leave


_row(STAGE_FREE, never, never, stay)
_row(STAGE_DEAD, never, never, stay)
_row(STAGE_PROXIED, step_proxied, late_proxied, stay)
_row(STAGE_HANDSHAKE, step_handshake, late_handshake, stay)
_row(STAGE_SNIFF, step_sniff, late_sniff, stay)
_row(STAGE_FIRST, step_first, late_first, stay)
_row(STAGE_CARRIER, carrier_step, late_carrier, leave_carrier)
_row(STAGE_REQUEST, step_request, late_request, leave_request)
_row(STAGE_POLICY, step_policy, late_policy, stay)
_row(STAGE_BALANCE, step_balance, late_balance, stay)
_row(STAGE_CONNECT, step_connect, late_connect, stay)
_row(STAGE_FORWARD, step_forward, late_forward, stay)
_row(STAGE_ANSWER, step_answer, late_idle, stay)
_row(STAGE_LINGER, linger_step, late_linger, stay)
_row(STAGE_RELAY, step_relay, late_idle, stay)
_row(STAGE_THROTTLE, step_throttle, late_idle, stay)
_row(STAGE_WEBSOCKET, websocket_step, late_idle, leave_websocket)
_row(STAGE_SESSION, never, late_session, stay)
_row(STAGE_TARPIT, tarpit_step, late_tarpit, leave_tarpit)


cdef inline Exchange* _act(Core* core, Exchange* x, int verdict) noexcept nogil:
    """Do what a verdict says; returns the exchange that goes on at once, or NULL."""
    if verdict == NEXT:
        return x
    if likely(verdict == AGAIN):
        if x.flags & EXCHANGE_HAS_MORE:
            x.flags &= <unsigned char> ~EXCHANGE_HAS_MORE
            queue(core, x)
        return NULL
    if unlikely(verdict == GONE):
        return NULL
    if unlikely(verdict == HEDGED):
        return hear_hedge(core, x)
    if (verdict == ANSWER or (verdict == FAIL and may_answer(core, x))) \
            and likely(not x.flags & EXCHANGE_SHADOW):
        begin_answer(core, x)
        return x
    finish(core, x)
    return NULL


cdef void advance(Core* core, Exchange* x) noexcept nogil:
    """Go on until it waits or has ended, for some steps at most: then others have their turn."""
    cdef int steps
    for steps in range(STEPS_MAX):
        x = _act(core, x, _table[x.stage].step(core, x))
        if x == NULL:
            return
    queue(core, x)


cdef void be_late(Core* core, Exchange* x) noexcept nogil:
    """The time of its stage is over."""
    x = _act(core, x, _table[x.stage].late(core, x))
    if x != NULL:
        advance(core, x)


cdef void be_late_as_whole(Core* core, Exchange* x) noexcept nogil:
    """The time of its request as a whole is over."""
    x = _act(core, x, late_whole_request(core, x))
    if x != NULL:
        advance(core, x)


cdef void be_late_as_sender(Core* core, Exchange* x) noexcept nogil:
    """It is time to look how fast its client sends."""
    x = _act(core, x, late_pace(core, x))
    if x != NULL:
        advance(core, x)


cdef int leave(Core* core, Exchange* x, int how) noexcept nogil:
    """It is to end, as Leaving says: AGAIN where it goes on for now, or END, with x.reason."""
    return _table[x.stage].leave(core, x, how)


cdef void run_queue(Core* core) noexcept nogil:
    """Go on with those that stopped for others' sake; who stops again waits for the next turn."""
    cdef Exchange* x = core.run_first
    cdef Exchange* following
    core.run_first = core.run_last = NULL
    while x != NULL:
        following = x.next_run
        x.flags &= <unsigned char> ~EXCHANGE_QUEUED
        if x.stage == STAGE_DEAD:
            x.next_free = core.dead
            core.dead = x
        else:
            advance(core, x)
        x = following
