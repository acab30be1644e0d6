# Ends many exchanges of an engine at once: of a listener that goes, or in a stop.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.enums cimport (
    EXCHANGE_CLOSE, EXCHANGE_HOLDS_SERVER, EXCHANGE_QUEUED, EXCHANGE_SHADOW, READABLE, REASON_DONE,
    REASON_REMOVED, REASON_STOPPED, STAGE_CARRIER, STAGE_DEAD, STAGE_FREE, STAGE_REQUEST,
    STAGE_WEBSOCKET,
)
from fastlb._core.base.limits cimport SLAB_EXCHANGES
from fastlb._core.base.queue cimport queue
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport BindEntry, Core, Exchange, Slab, Snapshot, Upstream
from fastlb._core.exchange.lifecycle cimport find_bind, finish, hold_snapshot
from fastlb._core.ext.atomic cimport fl_load32
from fastlb._core.stages.websocket cimport part_websocket


cdef void close_idle_clients(Core* core, bint gone_only) noexcept nogil:
    """Those who wait to send their next request: of listeners that are no more, or all, and what
    nobody waits for. In a stop, a request may be on its way: these get the time that
    `shutdown_idle_timeout` gives. Who has just come and asked nothing yet was promised an answer.
    """
    cdef Slab* slab = core.slabs
    cdef Exchange* x
    cdef int i
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            x = &slab.exchanges[i]
            if x.flags & EXCHANGE_SHADOW and not gone_only and x.stage != STAGE_FREE \
                    and x.stage != STAGE_DEAD:
                x.reason = REASON_STOPPED
                finish(core, x)
                continue
            if x.h2 != NULL and x.h2.target != NULL and x.stage != STAGE_DEAD:
                _close_server_carrier(core, x, gone_only)
                continue
            if x.stage == STAGE_CARRIER and not (
                    gone_only and find_bind(core, x.bind_id) != NULL):
                x.flags |= EXCHANGE_CLOSE       # it takes no more requests, and says so
                queue(core, x)
                continue
            if x.stage != STAGE_REQUEST or x.carrier != NULL or x.requests == 0 or x.input != NULL \
                    or x.client.ready & READABLE:
                continue
            if _may_still_ask(core, x, gone_only):
                continue
            x.reason = REASON_DONE
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
    if gone_only and x.target.idle_lists[core.id].epoch == core.http.epoch:
        return
    x.flags |= EXCHANGE_CLOSE
    if x.h2.n_streams == 0 and x.stage == STAGE_CARRIER:
        x.reason = REASON_DONE
        finish(core, x)


cdef bint _may_still_ask(Core* core, Exchange* x, bint gone_only) noexcept nogil:
    cdef BindEntry* bind = find_bind(core, x.bind_id)
    if gone_only or bind == NULL:
        return bind != NULL
    if core.hasty or bind.http == NULL or bind.http.leaving_timer == 0:
        return False
    timer_start(core, &x.timer, bind.http.leaving_timer)
    return True


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
                    and x.flags & EXCHANGE_HOLDS_SERVER and fl_load32(&x.target.cut):
                x.reason = REASON_REMOVED
                if x.stage == STAGE_WEBSOCKET:
                    part_websocket(core, x)
                finish(core, x)
        slab = slab.next


cdef void part_websockets(Core* core) noexcept nogil:
    """From here on, each of them is told that it ends as soon as nothing is halfway."""
    cdef Slab* slab = core.slabs
    cdef Exchange* x
    cdef int i
    core.parting = True
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            x = &slab.exchanges[i]
            if x.stage == STAGE_WEBSOCKET:
                queue(core, x)
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
            if x.h2 != NULL:
                used[x.h2.header_timer] = True
                used[x.h2.linger_timer] = True
                used[x.h2.stall_timer] = True
            if x.http != NULL and x.http.upstream != NULL:
                used[x.http.upstream.idle_timer] = True
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
                if x.stage == STAGE_WEBSOCKET:
                    part_websocket(core, x)
                finish(core, x)
        slab = slab.next
    core.run_first = core.run_last = NULL       # (requests of HTTP/2 queue their connections)
