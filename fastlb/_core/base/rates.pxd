# Rate limits: what is known of one while it runs, and what a route wants of it. See tables/rates.
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.buckets cimport Buckets
from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.head cimport Text

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

cdef struct RateTable:          # of one route
    uint32_t n
    RateRule* rules

cdef struct RateState:          # of one request
    uint64_t[RATES_MAX] keys
    uint64_t[RATES_MAX] dues_ns
    uint32_t[RATES_MAX] units   # that were charged, or would have been
    uint32_t refused_by         # 1 is the first rule; 0: nobody
    uint32_t reported           # a bit for each rule that would have refused it
    uint8_t is_settled
