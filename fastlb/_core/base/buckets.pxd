# How much of a rate each key has used: a time per key, as GCRA has it (ITU-T I.371, annex A: the
# generic cell rate algorithm). The time is when the key has all of its burst again. So a time in
# the past says that nothing is used, and its place is free: nobody sweeps.
from libc.stdint cimport int32_t, uint32_t, uint64_t

from fastlb._core.base.siphash cimport SipKey

cdef enum:
    BUCKET_LEVELS = 4           # tables of 64 KiB, 512 KiB, 4 MiB and 32 MiB
    BUCKET_SETS_MIN = 1024      # of the first one; each further one has eight times as many
    BUCKET_WAYS = 4             # places of a set: a cache line

# Times ahead of now are at most 2^61 ns, 73 years: two of them and now make no overflow.
cdef enum:
    BUCKET_NS_BITS = 61

cdef struct Bucket:             # read and written as a pair
    uint64_t key                # a hash of what is counted; 0: nobody was ever here
    uint64_t due_ns

cdef struct Buckets:
    SipKey secret
    Bucket* levels[BUCKET_LEVELS]       # NULL: not needed so far
    int32_t n_levels
    uint64_t evicted            # keys that had used something, for want of room

cdef enum Charge:
    CHARGED = 1
    REFUSED = 2
    UNCOUNTED = 3               # there is no room for one more key: every place has a refused one


cdef inline uint64_t bucket_ns(double ns) noexcept nogil:
    """A time as buckets take it: rounded down, and cut where it is longer than they count."""
    cdef uint64_t most = <uint64_t> 1 << BUCKET_NS_BITS
    return most if ns >= <double> most else <uint64_t> ns if ns > 0 else 0


cdef bint buckets_open(Buckets* buckets, uint64_t first, uint64_t second) noexcept nogil
cdef void buckets_close(Buckets* buckets) noexcept nogil
cdef uint64_t bucket_due(Buckets* buckets, uint64_t key, uint64_t now_ns) noexcept nogil
cdef int bucket_charge(Buckets* buckets, uint64_t key, uint64_t now_ns, uint64_t cost_ns,
                       uint64_t burst_ns, uint64_t* due_ns) noexcept nogil
cdef void bucket_return(Buckets* buckets, uint64_t key, uint64_t cost_ns) noexcept nogil
cdef int bucket_add(Buckets* buckets, uint64_t key, uint64_t now_ns,
                    uint64_t cost_ns) noexcept nogil
cdef void buckets_rescale(Buckets* buckets, uint64_t now_ns, double factor) noexcept nogil
cdef void bucket_rescale(Buckets* buckets, uint64_t key, uint64_t now_ns,
                         double factor) noexcept nogil
cdef uint64_t buckets_used(const Buckets* buckets, uint64_t now_ns) noexcept nogil
