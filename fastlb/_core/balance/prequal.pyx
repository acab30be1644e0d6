# Balancing by probes of load and latency (Wydrowski et al.: Load is not what you should balance,
# 2024). With every pick, some servers are looked at. Of all that were looked at lately, those with
# more in flight than most are hot. Of the others the quickest is picked, and where all are hot the
# one with the least in flight. What is looked at is what we know of a server, or what it has said
# of itself (control/health) when that is fresh.
from libc.stdint cimport int32_t, uint32_t, uint64_t

from fastlb._core.balance.candidates cimport (
    CHANCE_NO, CHANCE_TRIAL, chance_of, take_in_turn, take_place,
)
from fastlb._core.balance.load cimport latency_at
from fastlb._core.base.balancing cimport (
    BALANCE_BY_LATENCY, BALANCE_BY_LOAD, BALANCE_IN_TURN, register_balance,
)
from fastlb._core.base.enums cimport BALANCE_PREQUAL
from fastlb._core.base.limits cimport (
    HOT_SHARE, LOADS_KNOWN, LOADS_LOOK, LOADS_MAX, PROBES_EACH, PROBES_MAX, PROBE_AGE_MAX_MS,
    PROBE_USES_MAX, REPORT_AGE_MAX_MS,
)
from fastlb._core.base.parts cimport Probe, ProbePool
from fastlb._core.base.random cimport random_below
from fastlb._core.base.types cimport Core, Exchange, Group, ServerEntry, ServerLive
from fastlb._core.ext.atomic cimport fl_load32, fl_load64, fl_prefetch


cdef inline float _share(const Group* group, const ServerEntry* entry) noexcept nogil:
    """What one request is for a server's weight."""
    return <float> (group.total_weight / (<double> entry.weight * group.n_servers))


cdef float _load(Core* core, const Group* group, const ServerEntry* entry,
                 float* latency_us) noexcept nogil:
    """Requests in flight for its weight, of which the mean is 1, and how long they take."""
    cdef const ServerLive* live = entry.live
    cdef int32_t count = fl_load32(&live.connections.count)
    cdef uint64_t report
    cdef uint64_t at_ms = fl_load64(&live.report_at_ms)
    if at_ms and core.now_ms < at_ms + REPORT_AGE_MAX_MS:
        report = fl_load64(&live.report)
        count += <int32_t> (report >> 32) - <int32_t> <uint32_t> report
        latency_us[0] = <float> fl_load64(&live.report_us)
    else:
        latency_us[0] = <float> latency_at(live, count)
    if count < 0:
        count = 0
    return <float> count if group.is_even else <float> count * _share(group, entry)


cdef void _see(ProbePool* pool, float load) noexcept nogil:
    """One more load; and from time to time, what is hot by now."""
    cdef uint32_t place = <uint32_t> load if load < LOADS_MAX - 1 else LOADS_MAX - 1
    cdef uint32_t i, sum = 0
    cdef uint64_t wanted
    pool.loads[place] += 1
    pool.n_loads += 1
    pool.unseen += 1
    if pool.unseen < LOADS_LOOK:
        return
    pool.unseen = 0
    wanted = <uint64_t> pool.n_loads * HOT_SHARE
    for i in range(<uint32_t> LOADS_MAX):
        sum += pool.loads[i]
        if <uint64_t> sum * 1000 >= wanted:
            break
    pool.hot = <float> (i + 1)
    if pool.n_loads >= LOADS_KNOWN:
        pool.n_loads = 0
        for i in range(<uint32_t> LOADS_MAX):
            pool.loads[i] //= 2
            pool.n_loads += pool.loads[i]


cdef bint _is_better(const ProbePool* pool, const Probe* a, const Probe* b) noexcept nogil:
    """The hot-cold rule."""
    cdef bint a_is_hot = a.load > pool.hot, b_is_hot = b.load > pool.hot
    if a_is_hot != b_is_hot:
        return b_is_hot
    # Averages of a few measurements differ by luck: of those within a factor of two, the one with
    # less in flight, or all would run after the luckiest.
    if a_is_hot or (a.latency_us < 2 * b.latency_us and b.latency_us < 2 * a.latency_us) \
            or a.latency_us == b.latency_us:
        return a.load < b.load
    return a.latency_us < b.latency_us


cdef void _drop(ProbePool* pool, uint32_t place) noexcept nogil:
    pool.n_probes -= 1
    pool.probes[place] = pool.probes[pool.n_probes]


cdef uint32_t _place_for(ProbePool* pool, uint32_t server) noexcept nogil:
    """Where a look at a server is kept: instead of the last one, or where there is room. If there
    is none, the oldest goes, and the next time the worst, so that bad news doesn't pile up."""
    cdef uint32_t i, place = 0
    if pool.n_probes < PROBES_MAX:
        for i in range(pool.n_probes):
            if pool.probes[i].server == server:
                return i
        pool.n_probes += 1
        return pool.n_probes - 1
    if pool.turn:
        for i in range(<uint32_t> PROBES_MAX):
            if pool.probes[i].server == server:
                return i
            if pool.probes[i].at_ms < pool.probes[place].at_ms:
                place = i
    else:
        for i in range(<uint32_t> PROBES_MAX):
            if pool.probes[i].server == server:
                return i
            if _is_better(pool, &pool.probes[place], &pool.probes[i]):
                place = i
    pool.turn ^= 1
    return place


cdef void _note(Core* core, Exchange* x, const Group* group, ProbePool* pool,
                ServerEntry* entry) noexcept nogil:
    cdef uint32_t server = <uint32_t> (entry - x.pool.servers)
    cdef float latency_us
    cdef float load = _load(core, group, entry, &latency_us)
    cdef Probe* probe = &pool.probes[_place_for(pool, server)]
    _see(pool, load)
    probe.server = server
    probe.load = load
    probe.latency_us = latency_us
    probe.uses = 0
    probe.at_ms = core.now_ms


cdef ServerEntry* _best(Core* core, Exchange* x, const Group* group,
                        ProbePool* pool) noexcept nogil:
    """The best of those that were looked at, which counts as a use; NULL: there is none."""
    cdef uint32_t i = 0, best = PROBES_MAX
    cdef ServerEntry* entry
    cdef Probe* probe
    while i < pool.n_probes:
        probe = &pool.probes[i]
        if probe.uses >= PROBE_USES_MAX or core.now_ms - probe.at_ms > PROBE_AGE_MAX_MS \
                or probe.server >= x.pool.n_servers:
            _drop(pool, i)
            continue
        entry = &x.pool.servers[probe.server]
        if group.servers <= entry < group.servers + group.n_servers and (
                best == PROBES_MAX or _is_better(pool, probe, &pool.probes[best])):
            best = i
        i += 1
    if best == PROBES_MAX:
        return NULL
    probe = &pool.probes[best]
    entry = &x.pool.servers[probe.server]
    probe.uses += 1
    probe.load += 1 if group.is_even else _share(group, entry)
    return entry


cdef bint _take_prequal(Core* core, Exchange* x, const Group* group, int which,
                       bint* full) noexcept nogil:
    cdef ProbePool* pool = &x.pool.live.probes[core.id]
    cdef ServerEntry* entry
    cdef ServerEntry* looked_at[PROBES_EACH]
    cdef int i, chance
    if group.n_sequence == 0:
        return False
    # Of many servers none is in the cache: they are fetched side by side, and not one by one.
    for i in range(PROBES_EACH):
        looked_at[i] = &group.servers[group.sequence[random_below(core, group.n_sequence)]]
        fl_prefetch(&looked_at[i].live)
    for i in range(PROBES_EACH):
        fl_prefetch(looked_at[i].live)
    for i in range(PROBES_EACH):
        entry = looked_at[i]
        chance = chance_of(core, x, entry, which)
        if chance == CHANCE_TRIAL:
            if take_place(core, x, group, entry, which, full):
                return True
        elif chance != CHANCE_NO:
            _note(core, x, group, pool, entry)
    for i in range(PROBES_EACH):
        entry = _best(core, x, group, pool)
        if entry == NULL:
            break
        if chance_of(core, x, entry, which) != CHANCE_NO \
                and take_place(core, x, group, entry, which, full):
            return True
    return take_in_turn(core, x, group, which, random_below(core, group.n_sequence), full)


register_balance(
    BALANCE_PREQUAL, "prequal", BALANCE_BY_LOAD | BALANCE_BY_LATENCY | BALANCE_IN_TURN,
    _take_prequal, "of those looked at lately: the quickest that has no more in flight than most")
