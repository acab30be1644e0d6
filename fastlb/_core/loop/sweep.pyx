# Ends many exchanges of an engine at once: of a listener that goes, or in a stop.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.enums cimport (
    END, EXCHANGE_CLOSE, TRY_HOLDS_SERVER, LEAVE_LISTENER, LEAVE_NOW, LEAVE_PART, LEAVE_STOP,
    EXCHANGE_QUEUED, EXCHANGE_SHADOW, REASON_DONE, REASON_REMOVED, REASON_STOPPED, STAGE_CARRIER,
    STAGE_DEAD, STAGE_FREE,
)
from fastlb._core.base.limits cimport SLAB_EXCHANGES
from fastlb._core.base.types cimport Core, Exchange, Slab, Snapshot, Upstream
from fastlb._core.exchange.lifecycle cimport finish, hold_snapshot
from fastlb._core.ext.atomic cimport fl_load32
from fastlb._core.loop.conveyor cimport leave


cdef void close_idle_clients(Core* core, bint gone_only) noexcept nogil:
    """Those who wait to send their next request: of listeners that are no more, or in a stop of
    all; and what nobody waits for."""
    cdef Slab* slab = core.slabs
    cdef Exchange* x
    cdef int i
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            x = &slab.exchanges[i]
            if x.stage == STAGE_FREE or x.stage == STAGE_DEAD:
                continue
            if x.flags & EXCHANGE_SHADOW:
                if not gone_only:
                    x.reason = REASON_STOPPED
                    finish(core, x)
            elif x.h2 != NULL and x.h2.target != NULL:
                _close_server_carrier(core, x, gone_only)
            elif leave(core, x, LEAVE_LISTENER if gone_only else LEAVE_STOP) == END:
                finish(core, x)
        slab = slab.next


cdef void keep_for_crossing(Core* core, Snapshot* following) noexcept nogil:
    """Before a listener goes: what its clients of HTTP/2 send until they know is served as ever."""
    cdef Slab* slab = core.slabs
    cdef Exchange* x
    cdef int i
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            x = &slab.exchanges[i]
            if x.stage == STAGE_CARRIER and x.h2.target == NULL and not x.h2.leaving \
                    and not _is_in(core, following, x.bind_id):
                hold_snapshot(core, x)
        slab = slab.next


cdef bint _is_in(Core* core, Snapshot* snapshot, unsigned int bind_id) noexcept nogil:
    cdef uint32_t i
    for i in range(snapshot.n_binds):
        if snapshot.binds[i].id == bind_id and snapshot.binds[i].fds[core.id] >= 0:
            return True
    return False


cdef void _close_server_carrier(Core* core, Exchange* x, bint gone_only) noexcept nogil:
    """One to a server that no snapshot names any more, or any: when its requests have ended."""
    if gone_only and x.attempt.target.idle_lists[core.id].epoch == core.http.epoch:
        return
    x.flags |= EXCHANGE_CLOSE
    if x.h2.n_streams == 0 and x.stage == STAGE_CARRIER:
        x.reason = REASON_DONE
        finish(core, x)


cdef void end_cut(Core* core) noexcept nogil:
    """Those whose server has left its pool, and that were given time enough."""
    cdef Slab* slab = core.slabs
    cdef Exchange* x
    cdef int i
    core.cuts = fl_load32(&core.live.cuts)
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            x = &slab.exchanges[i]
            if x.stage != STAGE_FREE and x.stage != STAGE_DEAD \
                    and x.attempt.flags & TRY_HOLDS_SERVER and fl_load32(&x.attempt.target.cut):
                x.reason = REASON_REMOVED
                leave(core, x, LEAVE_NOW)
                finish(core, x)
        slab = slab.next


cdef void part_websockets(Core* core) noexcept nogil:
    """From here on, each of them is told that it ends as soon as nothing is halfway."""
    cdef Slab* slab = core.slabs
    cdef int i
    core.parting = True
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            leave(core, &slab.exchanges[i], LEAVE_PART)
        slab = slab.next


cdef void mark_slots(Core* core, uint8_t* used) noexcept nogil:
    """Which lengths of timeouts something of this engine waits for, or may."""
    cdef Slab* slab = core.slabs
    cdef Exchange* x
    cdef Upstream* idle = core.http.idle
    cdef int i
    for i in range(core.n_timers):
        if core.timers[i].head.next != &core.timers[i].head:
            used[i] = True
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            x = &slab.exchanges[i]
            if x.stage == STAGE_FREE:
                continue
            used[x.idle_timer] = True
            if x.throttle != NULL:
                used[x.throttle.speeds.timer] = True
            if x.h2 != NULL:
                used[x.h2.header_timer] = True
                used[x.h2.linger_timer] = True
                used[x.h2.stall_timer] = True
            if x.http != NULL and x.attempt.upstream != NULL:
                used[x.attempt.upstream.idle_timer] = True
        slab = slab.next
    while idle != NULL:
        used[idle.idle_timer] = True
        idle = idle.older


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
                leave(core, x, LEAVE_NOW)
                finish(core, x)
        slab = slab.next
    core.run_first = core.run_last = NULL       # (requests of HTTP/2 queue their connections)
