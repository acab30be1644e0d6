# Which stage follows which, and what is done about a verdict. Stages decide; this acts.
from libc.errno cimport ETIMEDOUT
from libc.stdint cimport uint8_t, uint16_t, uint64_t

from fastlb._core.base.gate cimport gate_give
from fastlb._core.base.limits cimport SLAB_EXCHANGES, STEPS_MAX
from fastlb._core.base.mem cimport give_exchange, give_pending
from fastlb._core.base.net cimport net_close, net_reset_on_close, net_shut_both
from fastlb._core.base.pipe cimport give_pipe
from fastlb._core.base.poller cimport poller_forget, poller_remove
from fastlb._core.base.timers cimport timer_cancel, timer_expired, timer_start, timer_touch
from fastlb._core.base.types cimport (
    AGAIN, ERROR, EXCHANGE_HAS_MORE, EXCHANGE_HOLDS_SERVER, EXCHANGE_HOLDS_SNAPSHOT,
    EXCHANGE_QUEUED, FAIL, NEXT, REASON_CLIENT_RESET, REASON_CONNECT_TIMEOUT, REASON_IDLE,
    REASON_NO_DESCRIPTOR, REASON_NO_MEMORY, REASON_SERVER_RESET, REASON_STOPPED, STAGE_BALANCE,
    STAGE_CONNECT, STAGE_DEAD, STAGE_FREE, STAGE_RELAY, Core, Exchange, Slab, Stream,
)
from fastlb._core.ext.atomic cimport fl_add32, fl_count, likely, unlikely
from fastlb._core.stages.balance cimport balance_step
from fastlb._core.stages.connect cimport connect_failed, connect_step
from fastlb._core.stages.record cimport record_step
from fastlb._core.stages.relay cimport relay_step
from fastlb._core.tables.live cimport live_wake_engines


cdef void close_stream(Core* core, Stream* s, bint reset) noexcept nogil:
    if s.pending != NULL:
        give_pending(core, s)
    if s.pipe != NULL:
        give_pipe(core, s.pipe)
        s.pipe = NULL
        fl_count(&core.counters.pipes, <uint64_t> -1)
    if s.fd < 0:
        return
    if reset:
        net_reset_on_close(s.fd)
    if unlikely(core.forked):
        # A child may hold a copy of the socket, so that closing ours would end nothing.
        poller_remove(&core.poller, s)
        if not reset:
            net_shut_both(s.fd)
    else:
        poller_forget(&core.poller, s)
    net_close(s.fd)
    s.fd = -1
    s.generation += 1
    fl_count(&core.counters.descriptors, <uint64_t> -1)


cdef void _let_server_go(Core* core, Exchange* x) noexcept nogil:
    if x.flags & EXCHANGE_HOLDS_SERVER:
        x.flags &= <uint8_t> ~EXCHANGE_HOLDS_SERVER
        gate_give(&x.target.connections)


cdef void _let_snapshot_go(Core* core, Exchange* x) noexcept nogil:
    if x.flags & EXCHANGE_HOLDS_SNAPSHOT:
        x.flags &= <uint8_t> ~EXCHANGE_HOLDS_SNAPSHOT
        x.bind = NULL
        x.entry = NULL
        fl_add32(&x.snapshot.users[core.id], -1)
        x.snapshot = NULL


cdef void finish(Core* core, Exchange* x) noexcept nogil:
    """Close both sides as x.reason wants it; the struct is given back at the end of the turn."""
    # Bytes that never arrived must not look as if they had: an end that we force is a reset.
    cdef bint forced = (x.reason == REASON_IDLE or x.reason == REASON_STOPPED
                        or x.reason == REASON_NO_MEMORY)
    timer_cancel(x)
    record_step(core, x)
    close_stream(core, &x.server, forced or x.reason == REASON_CLIENT_RESET)
    close_stream(core, &x.client, forced or x.reason == REASON_SERVER_RESET)
    _let_server_go(core, x)
    _let_snapshot_go(core, x)
    x.stage = STAGE_DEAD
    if not x.flags & EXCHANGE_QUEUED:
        x.next_free = core.dead
        core.dead = x
    if gate_give(&core.live.connections) | gate_give(&x.listener.connections):
        live_wake_engines(core.live)
    if unlikely(core.resume_ms):
        core.resume_ms = core.now_ms        # descriptors came free


cdef void _queue(Core* core, Exchange* x) noexcept nogil:
    """Let it go on in this turn's second half or the next, after others had theirs."""
    if x.flags & EXCHANGE_QUEUED:
        return
    x.flags |= EXCHANGE_QUEUED
    x.next_run = NULL
    if core.run_last == NULL:
        core.run_first = x
    else:
        core.run_last.next_run = x
    core.run_last = x


cdef bint _try_another(Core* core, Exchange* x) noexcept nogil:
    """A connect failed. The client hasn't noticed: go back to balancing."""
    cdef int i = x.n_tried
    if x.reason == REASON_NO_DESCRIPTOR:
        return False
    timer_cancel(x)
    close_stream(core, &x.server, False)
    x.tried[i] = <uint16_t> (x.entry - x.bind.pool.servers)
    x.n_tried += 1
    _let_server_go(core, x)
    x.stage = STAGE_BALANCE
    return True


cdef void advance(Core* core, Exchange* x) noexcept nogil:
    cdef int verdict, steps
    for steps in range(STEPS_MAX):
        if likely(x.stage == STAGE_RELAY):
            verdict = relay_step(core, x)
            if likely(verdict == AGAIN):
                timer_touch(core, x)
                if x.flags & EXCHANGE_HAS_MORE:
                    x.flags &= <uint8_t> ~EXCHANGE_HAS_MORE
                    _queue(core, x)
                return
        elif x.stage == STAGE_BALANCE:
            verdict = balance_step(core, x)
            if verdict == NEXT:
                x.stage = STAGE_CONNECT
                continue
        else:
            if x.client.ready & ERROR:
                x.reason = REASON_CLIENT_RESET
                break
            verdict = connect_step(core, x)
            if verdict == NEXT:
                x.stage = STAGE_RELAY
                timer_start(core, x, x.idle_timer)
                _let_snapshot_go(core, x)
                continue
            if verdict == FAIL and _try_another(core, x):
                continue
        if verdict == AGAIN:
            return
        break
    finish(core, x)


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


cdef void expire(Core* core) noexcept nogil:
    cdef Exchange* x
    cdef int slot
    for slot in range(1, core.n_timers):
        while True:
            x = timer_expired(core, slot)
            if x == NULL:
                break
            if x.stage == STAGE_CONNECT:
                connect_failed(core, x, ETIMEDOUT)
                x.reason = REASON_CONNECT_TIMEOUT
                if _try_another(core, x):
                    advance(core, x)
                    continue
            x.reason = REASON_IDLE
            finish(core, x)


cdef void end_all(Core* core) noexcept nogil:
    cdef Slab* slab = core.slabs
    cdef Exchange* x
    cdef int i
    core.run_first = core.run_last = NULL
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            x = &slab.exchanges[i]
            if x.stage == STAGE_DEAD and x.flags & EXCHANGE_QUEUED:
                x.next_free = core.dead
                core.dead = x
            elif x.stage != STAGE_FREE and x.stage != STAGE_DEAD:
                x.flags &= <uint8_t> ~EXCHANGE_QUEUED
                x.reason = REASON_STOPPED
                finish(core, x)
        slab = slab.next


cdef void give_back(Core* core) noexcept nogil:
    cdef Exchange* x
    while core.dead != NULL:
        x = core.dead
        core.dead = x.next_free
        give_exchange(core, x)
