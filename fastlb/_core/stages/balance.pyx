# Pick a server of the pool, and take a place in its gate.
# Reads the pool, the live state of its servers and what was tried; writes x.entry and x.target, and
# x.pool where another one falls in.
# Ends: NEXT (picked), AGAIN (it waits for a place), FAIL (x.reason).
from libc.stdint cimport uint64_t

from fastlb._core.base.enums cimport (
    AGAIN, BALANCE_LEAST_CONNECTIONS, BALANCE_LEAST_REQUEST, BALANCE_MAGLEV, BALANCE_PEAK_EWMA,
    BALANCE_RANDOM, BALANCE_RENDEZVOUS, BALANCE_RING_HASH, ERROR, FAIL, HANGUP, NEXT, PEER_SHUT,
    REASON_CLIENT_GONE, REASON_CLIENT_RESET, REASON_NO_SERVER, REASON_QUEUE_FULL,
    REASON_SERVERS_FULL,
)
from fastlb._core.base.gate cimport gate_give, gate_take
from fastlb._core.base.limits cimport TRIES_MAX
from fastlb._core.base.random cimport random_below
from fastlb._core.base.types cimport Core, Exchange, PoolEntry, PoolLive
from fastlb._core.base.routing cimport HASH_CLIENT_IP
from fastlb._core.ext.atomic cimport fl_add64, fl_load32, fl_load64, likely, unlikely
from fastlb._core.policies.keyed cimport take_by_table, take_from_ring
from fastlb._core.policies.load cimport take_least_connections, take_of_two
from fastlb._core.policies.pending cimport (
    is_next, may_wait, stop_waiting, wait_for_place, wake_pending,
)
from fastlb._core.policies.retry cimport count_request
from fastlb._core.policies.take cimport (
    PASS_ANY, PASS_BOUNDED, PASS_HEALTHY, take_in_turn,
)
from fastlb._core.tables.hashring cimport hash_client


cdef bint _pick(Core* core, Exchange* x, int which, uint64_t turn, bint* full) noexcept nogil:
    cdef int balance = x.pool.balance
    if balance == BALANCE_RING_HASH:
        return take_from_ring(core, x, which, full)
    if balance == BALANCE_MAGLEV or balance == BALANCE_RENDEZVOUS:
        return take_by_table(core, x, which, full)
    if balance == BALANCE_LEAST_REQUEST or balance == BALANCE_PEAK_EWMA:
        return take_of_two(core, x, which, full)
    if balance == BALANCE_LEAST_CONNECTIONS:
        return take_least_connections(core, x, which, full)
    return take_in_turn(core, x, which, turn, full)


cdef bint _pick_of(Core* core, Exchange* x, bint* full) noexcept nogil:
    cdef PoolEntry* pool = x.pool
    cdef uint64_t turn = 0
    cdef int which = PASS_BOUNDED if pool.bounded_load else PASS_HEALTHY
    if pool.is_keyed:
        if x.http == NULL:
            x.hash = hash_client(&x.peer, pool.hash_key.on)
    elif pool.n_sequence:
        if pool.balance == BALANCE_RANDOM:
            turn = random_below(core, pool.n_sequence)
        elif likely(x.n_tried == 0):
            turn = fl_add64(&pool.live.turn, 1) % pool.n_sequence
        else:                           # another try takes no turn, or a bad server gets them all
            turn = fl_load64(&pool.live.turn) % pool.n_sequence
    if x.n_tried < TRIES_MAX and pool.n_servers:
        while which <= PASS_ANY:
            if _pick(core, x, which, turn, full):
                return True
            which += 1
            if which == PASS_ANY and full[0]:
                break                   # to wait for who is well is better
    return False


cdef bint _take_of(Core* core, Exchange* x, bint* full) noexcept nogil:
    """A server of x.pool, within the pool's own limit."""
    cdef PoolEntry* pool = x.pool
    if likely(not pool.is_counted):
        return _pick_of(core, x, full)
    if not gate_take(&pool.live.in_flight, pool.in_flight_max):
        full[0] = True
        return False
    if _pick_of(core, x, full):
        x.loaded = pool.live
        return True
    gate_give(&pool.live.in_flight)
    return False


cdef bint _take_anywhere(Core* core, Exchange* x, bint* full) noexcept nogil:
    """The same, or of the pools that fall in when nobody is there."""
    while not _take_of(core, x, full):
        if full[0] or x.pool.fallback == NULL:
            return False
        if x.http != NULL and not x.pool.is_keyed:
            x.hash = hash_client(&x.peer, HASH_CLIENT_IP)
        x.pool = x.pool.fallback
        x.n_tried = 0
    return True


cdef int _wait(Core* core, Exchange* x) noexcept nogil:
    """There is no place now. One may have come free while it joined those who wait."""
    cdef bint full = False
    if not may_wait(x):
        x.reason = REASON_QUEUE_FULL if x.pool.pending_max else REASON_SERVERS_FULL
        return FAIL
    wait_for_place(core, x)
    if is_next(x) and _take_of(core, x, &full):
        stop_waiting(x)
        return NEXT
    return AGAIN


cdef int _go_on_waiting(Core* core, Exchange* x) noexcept nogil:
    cdef PoolLive* live = x.pool.live
    cdef bint full = False
    if x.client.ready & (ERROR | HANGUP) or (
            x.client.ready & PEER_SHUT and x.http != NULL and x.http.route.cancel):
        stop_waiting(x)
        x.reason = REASON_CLIENT_RESET if x.client.ready & ERROR else REASON_CLIENT_GONE
        return FAIL
    if not is_next(x):
        return AGAIN
    if not _take_of(core, x, &full):
        if full:
            return AGAIN
        stop_waiting(x)                 # everybody has gone down meanwhile
        x.reason = REASON_NO_SERVER
        return FAIL
    stop_waiting(x)
    wake_pending(core, live)            # there may be another place
    return NEXT


cdef int balance_step(Core* core, Exchange* x) noexcept nogil:
    cdef bint full = False
    if unlikely(x.pending != NULL):
        return _go_on_waiting(core, x)
    if x.attempts == 0:
        count_request(core, x.pool)
    x.attempts += 1
    if unlikely(x.pool.pending_max) and fl_load32(&x.pool.live.pending.count) > 0:
        return _wait(core, x)           # others were here before
    if likely(_take_anywhere(core, x, &full)):
        return NEXT
    if full:
        return _wait(core, x)
    x.reason = REASON_NO_SERVER
    return FAIL
