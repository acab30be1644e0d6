# Rate limits: what is known of one while it runs, and what a route wants of it. See tables/rates.
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.buckets cimport Buckets, bucket_ns
from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.head cimport Text
from fastlb._core.base.plans cimport Plans

cdef enum:
    RATES_MAX = 8               # of one route

cdef struct RateCounters:       # one a limit and engine, a cache line each
    uint64_t allowed
    uint64_t refused
    uint64_t reported           # would have been refused
    uint64_t uncounted          # let pass, as there was no room for another key
    uint64_t[4] padding

cdef enum:
    TOP_KEYS = 64               # that are kept: ten are shown, and those beside them vary
    TOP_TEXT_BYTES = 46         # of a key: an IPv6 address

cdef struct TopKey:
    uint64_t hash               # 0: nobody
    uint64_t count
    uint64_t over               # of `count`, what may be another key's
    uint8_t size
    uint8_t is_source           # it is an address, and stands for a /64 if that is IPv6
    uint8_t[TOP_TEXT_BYTES] text

cdef struct TopKeys:            # of one engine, which alone writes: see base/topkeys
    uint64_t version            # odd: it is being written
    TopKey[TOP_KEYS] all

cdef struct RateLive:
    Buckets buckets
    double unit_ns              # what one request, or one byte, uses up. It changes with the
                                # limit: what was charged before is counted in the new unit then
    RateCounters* counters      # [engine]
    TopKeys** refused           # [engine]; NULL: nobody was refused yet
    Plans* plans                # limits of single keys; NULL: they never had any

cdef enum CostFrom:
    COST_FIXED = 0
    COST_REQUEST = 1            # a field of the request says it
    COST_RESPONSE = 2           # a field of the response: `cost` is reserved until then
    COST_BYTES = 3              # of both bodies, once they are known

cdef enum RateHeaders:
    RATE_HEADERS_OFF = 0
    RATE_HEADERS_DRAFT = 1      # draft-ietf-httpapi-ratelimit-headers
    RATE_HEADERS_X = 2          # X-RateLimit-*, as many services had before

cdef struct RateRule:
    RateLive* live
    Text name
    FactRef key
    double burst                # units
    uint32_t cost               # units
    FactRef cost_field
    uint8_t cost_from           # CostFrom
    uint8_t headers             # RateHeaders
    uint8_t report              # nobody is refused
    uint8_t is_secret           # no more than the first bytes of keys are shown
    uint8_t has_plans           # keys have limits of their own

cdef struct RateTable:          # of one route
    uint32_t n
    RateRule* rules

cdef struct RateState:          # of one request
    uint64_t[RATES_MAX] keys
    uint64_t[RATES_MAX] dues_ns
    double[RATES_MAX] unit_ns   # what one unit takes, and
    double[RATES_MAX] bursts    # how many may come at once: of these keys
    uint32_t[RATES_MAX] units   # that were charged, or would have been
    uint32_t refused_by         # 1 is the first rule; 0: nobody
    uint32_t reported           # a bit for each rule that would have refused it
    uint32_t planned            # a bit for each rule whose key has a limit of its own
    uint8_t is_settled


cdef inline uint64_t units_ns(const RateState* state, uint32_t i, double units) noexcept nogil:
    """Return the time that some units of a rule take."""
    return bucket_ns(units * state.unit_ns[i])      # (rounded down, so that all of a burst fits)


cdef inline uint64_t cost_ns(const RateState* state, uint32_t i) noexcept nogil:
    return units_ns(state, i, state.units[i])


cdef inline uint64_t burst_ns(const RateState* state, uint32_t i) noexcept nogil:
    return units_ns(state, i, state.bursts[i])
