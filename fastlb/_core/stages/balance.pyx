# Pick a server of the pool, and take a place in its gate.
# Reads the pool, the live state of its servers and what was tried; writes x.entry and x.target, and
# x.pool where another one falls in.
# Ends: NEXT (picked), FAIL (REASON_NO_SERVER, REASON_SERVERS_FULL).
from libc.stdint cimport uint64_t

from fastlb._core.base.enums cimport (
    BALANCE_LEAST_CONNECTIONS, BALANCE_LEAST_REQUEST, BALANCE_MAGLEV, BALANCE_PEAK_EWMA,
    BALANCE_RANDOM, BALANCE_RENDEZVOUS, BALANCE_RING_HASH, FAIL, NEXT, REASON_NO_SERVER,
    REASON_SERVERS_FULL,
)
from fastlb._core.base.limits cimport TRIES_MAX
from fastlb._core.base.random cimport random_below
from fastlb._core.base.types cimport Core, Exchange, PoolEntry
from fastlb._core.base.routing cimport HASH_CLIENT_IP
from fastlb._core.ext.atomic cimport fl_add64, likely
from fastlb._core.policies.keyed cimport take_by_table, take_from_ring
from fastlb._core.policies.load cimport take_least_connections, take_of_two
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
        else:
            turn = fl_add64(&pool.live.turn, 1) % pool.n_sequence
    if x.n_tried < TRIES_MAX and pool.n_servers:
        while which <= PASS_ANY:
            if _pick(core, x, which, turn, full):
                return True
            which += 1
            if which == PASS_ANY and full[0]:
                break                   # to wait for who is well is better
    return False


cdef int balance_step(Core* core, Exchange* x) noexcept nogil:
    cdef bint full = False
    if x.attempts == 0:
        count_request(core, x.pool)
    x.attempts += 1
    while True:
        if likely(_pick_of(core, x, &full)):
            return NEXT
        if full or x.pool.fallback == NULL:
            break
        if x.http != NULL and not x.pool.is_keyed:
            x.hash = hash_client(&x.peer, HASH_CLIENT_IP)
        x.pool = x.pool.fallback
        x.n_tried = 0
    x.reason = REASON_SERVERS_FULL if full else REASON_NO_SERVER
    return FAIL
