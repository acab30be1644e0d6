# Policies that look at what servers are doing: connections or requests in flight, and latency.
from libc.math cimport INFINITY, exp
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from fastlb._core.base.enums cimport BALANCE_PEAK_EWMA
from fastlb._core.base.limits cimport COMPARED_MAX, EWMA_MS
from fastlb._core.base.random cimport random_below
from fastlb._core.base.types cimport Core, Exchange, PoolEntry, ServerEntry, ServerLive
from fastlb._core.ext.atomic cimport fl_cas64, fl_load32, fl_load64
from fastlb._core.policies.take cimport (
    CHANCE_NO, CHANCE_TRIAL, chance_of, take, take_in_turn,
)

cdef enum:
    NEIGHBOURS = 8              # looked at for a second one that is another

cdef double UNMEASURED_US = 1e9     # busy and never measured: after all others


# A server's latency is one word, so that engines can change it without a lock: the average in us as
# a float, and the time of its last change in ms, modulo 2^32.

cdef inline double _average(uint64_t word) noexcept nogil:
    cdef uint32_t bits = <uint32_t> (word >> 32)
    cdef float average
    memcpy(&average, &bits, 4)
    return average


cdef inline uint64_t _word(double us, uint64_t now_ms) noexcept nogil:
    cdef float average = <float> us
    cdef uint32_t bits
    memcpy(&bits, &average, 4)
    return <uint64_t> bits << 32 | <uint32_t> now_ms


cdef inline double _decay(uint64_t word, uint64_t now_ms) noexcept nogil:
    """What is left of an average since its last change."""
    cdef uint32_t age_ms = <uint32_t> now_ms - <uint32_t> word
    return exp(-<double> age_ms / EWMA_MS) if age_ms < <uint32_t> 1 << 31 else 1.0


cdef void observe_latency(ServerLive* live, uint64_t now_ms, double us) noexcept nogil:
    """One more measurement: a peak counts at once, what is better only in time (peak EWMA, as in
    Finagle)."""
    cdef uint64_t old, word
    cdef double average, kept
    while True:
        old = fl_load64(&live.latency)
        average = _average(old)
        if us < average:
            kept = _decay(old, now_ms)
            average = average * kept + us * (1 - kept)
        else:
            average = us
        word = _word(average, now_ms)
        if fl_cas64(&live.latency, old, word):
            return


cdef double latency_of(const ServerLive* live, uint64_t now_ms) noexcept nogil:
    """The average by now, in us; it fades while nothing is measured. 0: never measured."""
    cdef uint64_t word = fl_load64(&live.latency)
    return _average(word) * _decay(word, now_ms) if word else 0


cdef double _cost(Core* core, const PoolEntry* pool, uint32_t server) noexcept nogil:
    """What one more would wait for, by the measure of the pool's policy."""
    cdef const ServerEntry* entry = &pool.servers[server]
    cdef double load = <double> fl_load32(&entry.live.connections.count) / entry.weight
    cdef double latency
    if pool.balance != BALANCE_PEAK_EWMA:
        return load
    latency = latency_of(entry.live, core.now_ms)
    return latency * (load + 1) if latency else UNMEASURED_US * load


cdef bint take_least_connections(Core* core, Exchange* x, int which, bint* full) noexcept nogil:
    """The one with the fewest connections for its weight; of more than COMPARED_MAX servers, of so
    many by chance. Equal ones take turns, as the search begins anywhere."""
    cdef PoolEntry* pool = x.pool
    cdef uint32_t n = pool.n_servers, compared = n if n < COMPARED_MAX else COMPARED_MAX
    cdef uint32_t i, server, best = n
    cdef double cost, least = INFINITY
    cdef int chance
    if pool.n_sequence == 0:
        return False
    server = <uint32_t> random_below(core, n)
    for i in range(compared):
        if n > COMPARED_MAX:
            server = <uint32_t> random_below(core, n)
        else:
            server = server + 1 if server + 1 < n else 0
        chance = chance_of(core, x, server)
        if chance == CHANCE_NO:
            continue
        if chance == CHANCE_TRIAL:
            if take(core, x, server, which, full):
                return True
            continue
        cost = <double> (fl_load32(&pool.servers[server].live.connections.count) + 1) \
            / pool.servers[server].weight
        if cost < least:
            least = cost
            best = server
    if best < n and take(core, x, best, which, full):
        return True
    return take_in_turn(core, x, which, random_below(core, pool.n_sequence), full)


cdef bint take_of_two(Core* core, Exchange* x, int which, bint* full) noexcept nogil:
    """The better of two by chance (Mitzenmacher: The Power of Two Choices, 2001). The weights
    decide how often a server is among them, and what its load is divided by."""
    cdef PoolEntry* pool = x.pool
    cdef uint32_t one, other, place, i
    cdef int chance_one, chance_other
    if pool.n_sequence == 0:
        return False
    one = pool.sequence[random_below(core, pool.n_sequence)]
    place = <uint32_t> random_below(core, pool.n_sequence)
    other = pool.sequence[place]
    for i in range(<uint32_t> NEIGHBOURS):
        if other != one:
            break
        place = place + 1 if place + 1 < pool.n_sequence else 0
        other = pool.sequence[place]
    chance_one = chance_of(core, x, one)
    chance_other = chance_of(core, x, other)
    if chance_one == CHANCE_TRIAL and take(core, x, one, which, full):
        return True
    if chance_other == CHANCE_TRIAL and take(core, x, other, which, full):
        return True
    if chance_one == CHANCE_NO or (chance_other != CHANCE_NO
                                   and _cost(core, pool, other) < _cost(core, pool, one)):
        one, other = other, one
    if take(core, x, one, which, full) or take(core, x, other, which, full):
        return True
    return take_in_turn(core, x, which, random_below(core, pool.n_sequence), full)
