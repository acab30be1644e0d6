# Pick a server of the pool, and take a place in its gate.
# Reads the pool, the live state of its servers and what was tried; writes x.attempt, and
# x.pool where another one falls in.
# Ends: NEXT (picked), AGAIN (it waits for a place), FAIL (x.reason).
from libc.stdint cimport int32_t, uint32_t, uint8_t

from fastlb._core.balance.hashing cimport session_hash
from fastlb._core.balance.sticky cimport take_bound
from fastlb._core.base.balancing cimport TakeServer, balance_rows
from fastlb._core.base.enums cimport (
    AGAIN, ERROR, EXCHANGE_SHADOW, FAIL, HANGUP, NEXT, PASS_ANY, PASS_HEALTHY, PEER_SHUT,
    REASON_CLIENT_GONE, REASON_NO_SERVER, REASON_QUEUE_FULL, REASON_SERVERS_FULL,
)
from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.flow cimport broken
from fastlb._core.base.gate cimport Gate, gate_give, gate_take, gate_wait
from fastlb._core.base.limits cimport SHARE_ONE, TRIES_MAX
from fastlb._core.base.places cimport Nearest, Place, find_code
from fastlb._core.base.random cimport random_below
from fastlb._core.base.routing cimport CLOSE_CANCELS_HALF
from fastlb._core.base.text cimport mix64
from fastlb._core.base.types cimport Core, Exchange, Group, PoolEntry, PoolLive
from fastlb._core.ext.atomic cimport fl_load32, likely, unlikely
from fastlb._core.facts.geography cimport place_of
from fastlb._core.failing.queue cimport (
    is_next, may_wait, stop_waiting, wait_for_place, wake_pending,
)
from fastlb._core.failing.retry cimport count_request
from fastlb._core.tables.hashring cimport hash_client


cdef bint _pick_well(Core* core, Exchange* x, const Group* group, bint* full) noexcept nogil:
    """One that isn't failing."""
    cdef int which = x.pool.first_pass
    cdef TakeServer take = balance_rows[x.pool.balance].take
    return take(core, x, group, which, full) or (
        which != PASS_HEALTHY and take(core, x, group, PASS_HEALTHY, full))


cdef uint32_t _first_group(Core* core, Exchange* x) noexcept nogil:
    """By the groups' shares; a key stays with one while they don't change."""
    cdef const PoolEntry* pool = x.pool
    cdef int32_t at = <int32_t> (mix64(x.hash) % SHARE_ONE if pool.is_keyed
                                 else random_below(core, SHARE_ONE))
    cdef uint32_t i
    for i in range(pool.n_groups):
        if at < fl_load32(&pool.live.shares[i]):
            return i
    return 0


cdef const uint8_t* _order(Core* core, Exchange* x) noexcept nogil:
    """The pool's groups as they are near to the client."""
    cdef const Nearest* nearest = x.pool.nearest
    cdef const Place* place = place_of(core, x)
    cdef uint32_t row = nearest.n_countries + nearest.n_continents
    if place != NULL and not find_code(
            nearest.countries, nearest.n_countries, place.country, &row) and find_code(
            nearest.continents, nearest.n_continents, place.continent, &row):
        row += nearest.n_countries
    return nearest.orders + row * x.pool.n_groups


cdef bint _pick_nearest(Core* core, Exchange* x, bint* full) noexcept nogil:
    """Pick a server of the first group in the client's order that has one."""
    cdef const PoolEntry* pool = x.pool
    cdef const uint8_t* order = _order(core, x)
    cdef uint32_t i
    for i in range(pool.n_groups):
        if _pick_well(core, x, &pool.groups[order[i]], full):
            return True
    for i in range(0 if full[0] else pool.n_groups):    # to wait for who is well is better
        if balance_rows[pool.balance].take(core, x, &pool.groups[order[i]], PASS_ANY, full):
            return True
    return False


cdef bint _pick_among(Core* core, Exchange* x, bint* full) noexcept nogil:
    """Of the group whose turn it is, and then of the others in their order."""
    cdef const PoolEntry* pool = x.pool
    cdef uint32_t i, first = _first_group(core, x)
    if _pick_well(core, x, &pool.groups[first], full):
        return True
    for i in range(pool.n_groups):
        if i != first and _pick_well(core, x, &pool.groups[i], full):
            return True
    return False


cdef const FactRef* _key(const Exchange* x) noexcept nogil:
    """What is hashed of a session: its route comes before the pool."""
    if unlikely(x.opening.route != NULL) and x.opening.route.hash_on.fact:
        return &x.opening.route.hash_on
    return &x.pool.hash_key


cdef bint _pick_of(Core* core, Exchange* x, bint* full) noexcept nogil:
    cdef PoolEntry* pool = x.pool
    cdef uint32_t i
    if pool.is_keyed and x.http == NULL and not x.is_hashed:
        x.hash = session_hash(core, x, _key(x))
    if x.n_tried >= TRIES_MAX or pool.n_groups == 0:
        return False
    if unlikely(x.bound_to != 0):
        if take_bound(core, x, full):
            return True
        if full[0] and pool.pending_max:
            return False                # its server is worth waiting for
    if likely(pool.n_groups == 1):
        if likely(_pick_well(core, x, &pool.groups[0], full)):
            return True
    elif unlikely(pool.nearest != NULL):
        return _pick_nearest(core, x, full)
    elif _pick_among(core, x, full):
        return True
    if full[0]:
        return False                    # to wait for who is well is better
    for i in range(pool.n_groups):
        if balance_rows[pool.balance].take(core, x, &pool.groups[i], PASS_ANY, full):
            return True
    return False


cdef bint _take_of(Core* core, Exchange* x, bint* full) noexcept nogil:
    """A server of x.pool, within the pool's own limit."""
    cdef PoolEntry* pool = x.pool
    if likely(not pool.is_counted):
        return _pick_of(core, x, full)
    cdef Gate* gate = &pool.live.in_flight
    # (who waits says so: a place may be held by somebody who is about to find all servers full)
    if not gate_take(gate, pool.in_flight_max) and (
            x.pending == NULL or gate_wait(gate, pool.in_flight_max)
            or not gate_take(gate, pool.in_flight_max)):
        full[0] = True
        return False
    if _pick_of(core, x, full):
        x.attempt.loaded = pool.live
        return True
    if gate_give(gate):
        wake_pending(core, pool.live)
    return False


cdef bint _take_anywhere(Core* core, Exchange* x, bint* full) noexcept nogil:
    """The same, or of the pools that fall in when nobody is there."""
    while not _take_of(core, x, full):
        # (a second try stays in the pool, as its server becomes the first one's)
        if full[0] or x.pool.fallback == NULL or (x.hedge != NULL and x.flags & EXCHANGE_SHADOW):
            return False
        if x.http != NULL and not x.pool.is_keyed:
            x.hash = hash_client(&x.peer, False)
        x.pool = x.pool.fallback
        x.bound_to = 0
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
            x.client.ready & PEER_SHUT and x.http != NULL
            and x.http.route.on_close == CLOSE_CANCELS_HALF):
        stop_waiting(x)
        if x.client.ready & ERROR:
            return broken(x, &x.client)
        x.reason = REASON_CLIENT_GONE
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


cdef bint pick_now(Core* core, Exchange* x) noexcept nogil:
    """For who can't wait; False: x.reason."""
    cdef bint full = False
    count_request(core, x.pool)
    x.books.attempts += 1
    if likely(_take_anywhere(core, x, &full)):
        return True
    x.reason = REASON_SERVERS_FULL if full else REASON_NO_SERVER
    return False


cdef int balance_step(Core* core, Exchange* x) noexcept nogil:
    cdef bint full = False
    if unlikely(x.pending != NULL):
        return _go_on_waiting(core, x)
    if x.books.attempts == 0:
        count_request(core, x.pool)
    x.books.attempts += 1
    if unlikely(x.pool.pending_max) and fl_load32(&x.pool.live.pending.count) > 0:
        return _wait(core, x)           # others were here before
    if likely(_take_anywhere(core, x, &full)):
        return NEXT
    if full:
        return _wait(core, x)
    x.reason = REASON_NO_SERVER
    return FAIL
