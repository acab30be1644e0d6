# Rate limits while they run.
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastlb._core.base.buckets cimport (
    bucket_charge, bucket_due, bucket_rescale, buckets_close, buckets_open, buckets_rescale,
    buckets_used,
)
from fastlb._core.base.plans cimport (
    PLAN_SETS, PLAN_WAYS, KeyAsked, Plan, plan_drop, plan_find, plan_put, plans_close, plans_open,
    plans_take,
)
from fastlb._core.base.rates cimport RATES_MAX, TOP_KEYS, RateCounters, TopKeys
from fastlb._core.base.siphash cimport siphash
from fastlb._core.base.topkeys cimport top_copy
from fastlb._core.ext.atomic cimport fl_load64, fl_load_pointer
from fastlb._core.tables.states cimport per_engine, sums

import os

MAX = <int> RATES_MAX      # of one route
_COUNTED = ("allowed", "refused", "reported", "uncounted")      # in the order of RateCounters


def _count(one):
    return one[2]


cdef class RateLimit:
    """The state of one rate limit, shared by all engines. It lives as long as a snapshot names
    it."""

    def __cinit__(self, str name, int engines, Clock clock):
        self.name = name
        self._engines = engines
        self._clock = clock
        self.live.counters = <RateCounters*> per_engine(engines, sizeof(RateCounters))
        self.live.refused = <TopKeys**> calloc(engines, sizeof(TopKeys*))
        if self.live.refused == NULL:
            raise MemoryError
        if not buckets_open(&self.live.buckets, int.from_bytes(os.urandom(8), "little"),
                            int.from_bytes(os.urandom(8), "little")):
            raise MemoryError

    def __dealloc__(self):
        cdef int i
        buckets_close(&self.live.buckets)
        plans_close(self.live.plans)
        for i in range(self._engines if self.live.refused != NULL else 0):
            free(self.live.refused[i])
        free(self.live.refused)
        free(self.live.counters)

    cdef uint64_t _now_ns(self):
        return self._clock.now_ns()

    def begin(self, double unit_ns) -> None:
        """One unit takes so long, unless the limit is in use already."""
        if self.live.unit_ns == 0:
            self.live.unit_ns = unit_ns

    def use(self, double unit_ns, bint has_plans=False, bint is_bytes=False) -> None:
        """One unit takes so long from now on, but for keys with a plan; without `has_plans`, or
        where bytes are counted instead of requests, these have none any more. Keys keep the number
        of units that they have used."""
        cdef double factor = unit_ns / self.live.unit_ns if self.live.unit_ns else 1
        # Engines go on meanwhile, and a key has rather used too little for a moment than too much.
        if factor > 1:
            self.live.unit_ns = unit_ns
        if factor != 1:
            buckets_rescale(&self.live.buckets, self._now_ns(), factor)
        self.live.unit_ns = unit_ns
        has_plans = has_plans and is_bytes == self._is_bytes
        self._is_bytes = is_bytes
        if self.live.plans != NULL and self.live.plans.known and (factor != 1 or not has_plans):
            self._keep_plans(factor, has_plans)

    cdef void _keep_plans(self, double factor, bint has_plans):
        """All keys were rescaled by a factor: those with a plan get it back, or lose the plan."""
        cdef uint64_t now_ns = self._now_ns()
        cdef Plan* plan
        cdef double back
        cdef int i
        for i in range(<int> (PLAN_SETS * PLAN_WAYS)):
            plan = &self.live.plans.all[i]
            if plan.key == 0:
                continue
            if plan.unit_ns > 0:
                back = 1 / factor if has_plans else self.live.unit_ns / (plan.unit_ns * factor)
                bucket_rescale(&self.live.buckets, plan.key, now_ns, back)
            if not has_plans:
                plan_drop(plan)
                self.live.plans.known -= 1

    def charge(self, bytes key, uint64_t cost_ns, uint64_t burst_ns) -> tuple[int, int]:
        """Charge a key: a Charge (base/buckets), and in how many ns it has all of its burst."""
        cdef uint64_t now_ns = self._now_ns(), due_ns = 0, hash = self._hash(key)
        cdef int charge
        with nogil:
            charge = bucket_charge(
                &self.live.buckets, hash, now_ns, cost_ns, burst_ns, &due_ns)
        return charge, due_ns - now_ns

    def used_ns(self, bytes key) -> int:
        """In how many ns a key has all of its burst."""
        cdef uint64_t now_ns = self._now_ns()
        return bucket_due(&self.live.buckets, self._hash(key), now_ns) - now_ns

    # --- limits of single keys ---

    def open_plans(self) -> None:
        """Make room for the limits of single keys. MemoryError: there is none."""
        if self.live.plans == NULL:
            self.live.plans = plans_open()
            if self.live.plans == NULL:
                raise MemoryError

    def take_asked(self) -> list[tuple[int, bytes, bool]]:
        """Return the keys whose limits engines have asked about since the last call: for plan(),
        the first request's value, and whether that is an address, which is the /64 if it is IPv6.
        """
        cdef KeyAsked* one
        cdef KeyAsked* following
        found = []
        if self.live.plans == NULL:
            return found
        one = plans_take(self.live.plans)
        while one != NULL:
            following = one.next
            found.append((one.key, (<const char*> (one + 1))[:one.size], one.is_source != 0))
            free(one)
            one = following
        return found

    def plan(self, uint64_t key, double unit_ns, double burst, uint64_t ttl_ms) -> None:
        """Give a key a limit of its own, or with a `unit_ns` of 0 the one that is configured.
        After `ttl_ms` it is asked about again. It keeps the number of units that it has used."""
        cdef uint64_t now_ns = self._now_ns()
        cdef double factor
        cdef Plan plan, before
        if self.live.plans == NULL:
            return
        before.unit_ns = 0
        plan_find(self.live.plans, key, now_ns, &before)
        factor = self._factor(before.unit_ns, unit_ns)
        plan.key, plan.unit_ns, plan.burst = key, unit_ns, burst
        plan.expires_ns = now_ns + ttl_ms * 1000000
        if factor < 1:                  # (as in use())
            bucket_rescale(&self.live.buckets, key, now_ns, factor)
        plan_put(self.live.plans, &plan, &before)
        if factor > 1:
            bucket_rescale(&self.live.buckets, key, now_ns, factor)
        if before.key != key and before.key != 0:       # (it has made room)
            bucket_rescale(&self.live.buckets, before.key, now_ns,
                           self._factor(before.unit_ns, 0))

    cdef double _factor(self, double before_ns, double unit_ns):
        """How many times as long a unit takes; 0: as configured."""
        return (unit_ns or self.live.unit_ns) / (before_ns or self.live.unit_ns)

    @property
    def plans(self) -> dict[str, int]:
        """How many keys have a plan, or had one when they came last (`known`), and how often a key
        wasn't asked about as too many waited (`dropped`)."""
        if self.live.plans == NULL:
            return {"known": 0, "dropped": 0}
        return {"known": fl_load64(&self.live.plans.known),
                "dropped": fl_load64(&self.live.plans.dropped)}

    cdef uint64_t _hash(self, bytes key):
        return siphash(&self.live.buckets.secret, <const unsigned char*> <const char*> key,
                       <uint32_t> len(key)) or 1

    @property
    def keys(self) -> int:
        """How many keys have used something; an estimate where there are very many."""
        return buckets_used(&self.live.buckets, self._now_ns())

    @property
    def evicted(self) -> int:
        """Keys that were forgotten while they had used something."""
        return fl_load64(&self.live.buckets.evicted)

    def refused_most(self) -> list[tuple[bytes, bool, int, int]]:
        """Return the keys that were refused most, or would have been: the first bytes of each,
        whether these are an address, how often, and how many of these may be another key's."""
        cdef TopKeys copy
        cdef TopKeys* top
        cdef int i, k
        cdef bint good
        found = {}
        for i in range(self._engines):
            top = <TopKeys*> fl_load_pointer(<void**> &self.live.refused[i])
            if top == NULL:
                continue
            with nogil:
                good = top_copy(top, &copy)
            for k in range(<int> TOP_KEYS if good else 0):
                if copy.all[k].hash == 0:
                    continue
                text = (<const char*> copy.all[k].text)[:copy.all[k].size]
                _, _, count, over = found.get(copy.all[k].hash, (b"", False, 0, 0))
                found[copy.all[k].hash] = (text, copy.all[k].is_source != 0,
                                           count + copy.all[k].count, over + copy.all[k].over)
        return sorted(found.values(), key=_count, reverse=True)

    def totals(self) -> dict[str, int]:
        """Requests that were allowed, refused, reported and not counted."""
        return sums(self.live.counters, sizeof(RateCounters), self._engines, _COUNTED)
