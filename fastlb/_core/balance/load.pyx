# Balancing by what servers are doing: requests in flight, and latency.
from libc.math cimport INFINITY, exp
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastlb._core.balance.candidates cimport (
    CHANCE_NO, CHANCE_TRIAL, CHANCE_YES, chance_of, take_in_turn, take_place,
)
from fastlb._core.base.balancing cimport (
    BALANCE_BY_LATENCY, BALANCE_BY_LOAD, BALANCE_IN_TURN, register_balance,
)
from fastlb._core.base.enums cimport (
    BALANCE_LEAST_CONNECTIONS, BALANCE_LEAST_REQUEST, BALANCE_PEAK_EWMA, BALANCE_PREQUAL,
)
from fastlb._core.base.limits cimport COMPARED_MAX, EWMA_MS, LOAD_STEPS
from fastlb._core.base.random cimport random_below
from fastlb._core.base.types cimport Core, Exchange, Group, PoolEntry, ServerEntry, ServerLive
from fastlb._core.ext.atomic cimport fl_cas64, fl_load32, fl_load64

cdef enum:
    MEASUREMENTS = 16           # of a server, that an average without peaks is mostly made of
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


cdef void _observe(uint64_t* latency, uint64_t now_ms, double us, bint peaks) noexcept nogil:
    cdef uint64_t old, word
    cdef double average, kept
    while True:
        old = fl_load64(latency)
        average = _average(old)
        if old != 0 and not peaks:
            average += (us - average) / MEASUREMENTS
        elif us < average:
            kept = _decay(old, now_ms)
            average = average * kept + us * (1 - kept)
        else:
            average = us
        word = _word(average, now_ms)
        if fl_cas64(latency, old, word):
            return


cdef uint32_t _step(int32_t in_flight) noexcept nogil:
    """0, 1, 2 to 3, 4 to 7 and so on."""
    cdef uint32_t step = 0
    while in_flight > 0 and step < LOAD_STEPS - 1:
        in_flight >>= 1
        step += 1
    return step


cdef void observe_latency(const PoolEntry* pool, ServerLive* live, uint64_t now_ms,
                          double us) noexcept nogil:
    """One more measurement, while what was measured is still in flight. A peak counts at once, what
    is better only in time (peak EWMA, as in Finagle); of prequal, it is one of some."""
    if pool.balance == BALANCE_PREQUAL:
        _observe(&live.latencies[_step(fl_load32(&live.connections.count) - 1)], now_ms, us, False)
    _observe(&live.latency, now_ms, us, True)


cdef double latency_at(const ServerLive* live, int32_t in_flight) noexcept nogil:
    """Of prequal: what it was with so much in flight, in us, or with the nearest to that; 0: never
    measured."""
    cdef uint32_t step = _step(in_flight), away
    cdef uint64_t word
    if fl_load64(&live.latency) == 0:
        return 0
    for away in range(<uint32_t> LOAD_STEPS):
        word = fl_load64(&live.latencies[step - away]) if away <= step else 0
        if word == 0 and step + away < LOAD_STEPS:
            word = fl_load64(&live.latencies[step + away])
        if word:
            return _average(word)
    return 0


cdef double latency_of(const ServerLive* live, uint64_t now_ms) noexcept nogil:
    """The average by now, in us; it fades while nothing is measured. 0: never measured."""
    cdef uint64_t word = fl_load64(&live.latency)
    return _average(word) * _decay(word, now_ms) if word else 0


cdef double _cost(Core* core, const PoolEntry* pool, const ServerEntry* entry) noexcept nogil:
    """What one more would wait for, by the measure of the pool's policy."""
    cdef double load = <double> fl_load32(&entry.live.connections.count) / entry.weight
    cdef double latency
    if pool.balance != BALANCE_PEAK_EWMA:
        return load
    latency = latency_of(entry.live, core.now_ms)
    return latency * (load + 1) if latency else UNMEASURED_US * load


cdef bint _take_least_connections(Core* core, Exchange* x, const Group* group, int which,
                                 bint* full) noexcept nogil:
    """The one with the fewest connections for its weight; of more than COMPARED_MAX servers, of so
    many by chance. Equal ones take turns, as the search begins anywhere."""
    cdef uint32_t n = group.n_servers, compared = n if n < COMPARED_MAX else COMPARED_MAX
    cdef uint32_t i, server
    cdef ServerEntry* entry
    cdef ServerEntry* best = NULL
    cdef double cost, least = INFINITY
    cdef int chance
    if group.n_sequence == 0:
        return False
    server = <uint32_t> random_below(core, n)
    for i in range(compared):
        if n > COMPARED_MAX:
            server = <uint32_t> random_below(core, n)
        else:
            server = server + 1 if server + 1 < n else 0
        entry = &group.servers[server]
        chance = chance_of(core, x, entry, which)
        if chance == CHANCE_NO:
            continue
        if chance == CHANCE_TRIAL:
            if take_place(core, x, group, entry, which, full):
                return True
            continue
        cost = <double> (fl_load32(&entry.live.connections.count) + 1) / entry.weight
        if cost < least:
            least = cost
            best = entry
    if best != NULL and take_place(core, x, group, best, which, full):
        return True
    return take_in_turn(core, x, group, which, random_below(core, group.n_sequence), full)


cdef bint _take_of_two(Core* core, Exchange* x, const Group* group, int which,
                      bint* full) noexcept nogil:
    """The better of two by chance (Mitzenmacher: The Power of Two Choices, 2001). The weights
    decide how often a server is among them, and what its load is divided by."""
    cdef uint32_t one, other, place, i
    cdef ServerEntry* first
    cdef ServerEntry* second
    cdef int chance_first, chance_second
    if group.n_sequence == 0:
        return False
    one = group.sequence[random_below(core, group.n_sequence)]
    place = <uint32_t> random_below(core, group.n_sequence)
    other = group.sequence[place]
    for i in range(<uint32_t> NEIGHBOURS):
        if other != one:
            break
        place = place + 1 if place + 1 < group.n_sequence else 0
        other = group.sequence[place]
    first, second = &group.servers[one], &group.servers[other]
    chance_first = chance_of(core, x, first, which)
    chance_second = chance_of(core, x, second, which)
    if chance_second == CHANCE_TRIAL or chance_first == CHANCE_NO or (
            chance_first == CHANCE_YES and chance_second == CHANCE_YES
            and _cost(core, x.pool, second) < _cost(core, x.pool, first)):
        first, second = second, first
        chance_first, chance_second = chance_second, chance_first
    if chance_first != CHANCE_NO and take_place(core, x, group, first, which, full):
        return True
    if chance_second != CHANCE_NO and take_place(core, x, group, second, which, full):
        return True
    return take_in_turn(core, x, group, which, random_below(core, group.n_sequence), full)


register_balance(
    BALANCE_LEAST_CONNECTIONS, "least_connections", BALANCE_BY_LOAD | BALANCE_IN_TURN,
    _take_least_connections, "the fewest connections for its weight, of all servers up to 32")
register_balance(BALANCE_LEAST_REQUEST, "least_request", BALANCE_BY_LOAD | BALANCE_IN_TURN,
                 _take_of_two, "the fewer requests in flight, of two by chance")
register_balance(
    BALANCE_PEAK_EWMA, "peak_ewma", BALANCE_BY_LOAD | BALANCE_BY_LATENCY | BALANCE_IN_TURN,
    _take_of_two, "the shorter wait, of two by chance")
