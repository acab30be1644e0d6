# Limits of single keys, as a function of the user's has given them. One thread of the control plane
# writes, and engines read without a lock. A key that nobody knows, or that is due to be asked about
# again, is put on a stack for the control plane.
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.gate cimport Gate
from fastlb._core.base.head cimport Text

cdef enum:
    PLAN_SETS = 65536           # 16 MiB in all, whose pages are taken as they are used
    PLAN_WAYS = 8               # places of a set
    PLAN_ASKED = 4096           # keys that were asked about lately, each in the one place it has
    PLAN_AGAIN_MS = 1000        # before a key without an answer is asked about again
    PLAN_WAITING_MAX = 1024     # keys of one limit that the function hasn't been called for yet
    PLAN_KEY_BYTES_MAX = 4096   # a longer key has the limit that is configured

cdef struct Plan:
    uint64_t key                # as buckets have it; 0: a free place
    double unit_ns              # 0: as configured
    double burst                # units
    uint64_t expires_ns         # of the engines' clock; it holds on until it is replaced

cdef struct KeyAsked:           # the key's bytes follow
    KeyAsked* next
    uint64_t key
    uint32_t size
    uint8_t is_source           # it is an address, and stands for a /64 if that is IPv6

cdef struct Plans:
    Plan* all                   # [PLAN_SETS][PLAN_WAYS]
    uint64_t* asked             # [PLAN_ASKED]: the upper bits of a key, and when in the others
    uint64_t waiting            # KeyAsked*: the latest first
    Gate gate                   # for those that wait
    uint64_t dropped            # there was no room for one more to wait
    uint64_t known              # places in use

cdef enum PlanFound:
    PLAN_UNKNOWN = 0
    PLAN_KNOWN = 1
    PLAN_STALE = 2              # it holds on, and is to be asked about again


cdef Plans* plans_open() noexcept nogil
cdef void plans_close(Plans* plans) noexcept nogil
cdef int plan_find(const Plans* plans, uint64_t key, uint64_t now_ns, Plan* found) noexcept nogil
cdef bint plan_wants(Plans* plans, uint64_t key, uint64_t now_ns) noexcept nogil
cdef void plan_ask(Plans* plans, uint64_t key, Text text, bint is_source) noexcept nogil
cdef KeyAsked* plans_take(Plans* plans) noexcept nogil
cdef void plan_put(Plans* plans, const Plan* plan, Plan* before) noexcept nogil
cdef void plan_drop(Plan* plan) noexcept nogil
