# Rates by key, exact over all engines and without a lock.
# A key lies in one of eight places: two sets of a level, chosen by its hash. Where all eight are in
# use, the next level is begun, and what lies in the levels before stays there. So memory follows
# the number of keys, and a key is looked for in four levels at most.
from libc.stdint cimport int32_t, uint32_t, uint64_t

from fastlb._core.ext.atomic cimport (
    fl_add64, fl_cas32, fl_cas64, fl_cas_pair, fl_load32, fl_load64, unlikely,
)
from fastlb._core.ext.linux cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap,
)

cdef enum:
    CANDIDATES = 8              # places of a level where a key can lie: two sets
    TRIES_MAX = 64              # at one key; each that fails is another engine's success
    COUNTED_SETS = 16384        # of a level, for an estimate of how many of its places are used


cdef inline uint64_t _any_amount() noexcept nogil:
    """As a burst: nothing is refused."""
    return <uint64_t> 1 << 63


cdef inline uint64_t _later(uint64_t due_ns, uint64_t now_ns, uint64_t cost_ns) noexcept nogil:
    """The time of a key that is charged."""
    return min(max(due_ns, now_ns) + cost_ns, now_ns + (<uint64_t> 1 << BUCKET_NS_BITS))


cdef inline uint32_t _sets(int level) noexcept nogil:
    return <uint32_t> BUCKET_SETS_MIN << 3 * level


cdef inline size_t _bytes(int level) noexcept nogil:
    return <size_t> _sets(level) * BUCKET_WAYS * sizeof(Bucket)


cdef bint _open_level(Buckets* buckets, int level) noexcept nogil:
    """Begin a level, unless another engine has; False without memory, or if it was the last. Its
    pages are taken as they are used."""
    cdef void* made
    if level >= BUCKET_LEVELS:
        return False
    if fl_load32(&buckets.n_levels) > level:
        return True
    made = mmap(NULL, _bytes(level), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if made == MAP_FAILED:
        return False
    if not fl_cas64(<uint64_t*> &buckets.levels[level], 0, <uint64_t> made):
        munmap(made, _bytes(level))
    fl_cas32(&buckets.n_levels, level, level + 1)
    return True


cdef bint buckets_open(Buckets* buckets, uint64_t first, uint64_t second) noexcept nogil:
    """`first` and `second` are the secret, by chance; False when memory is gone."""
    cdef int level
    buckets.secret.words[0], buckets.secret.words[1] = first, second
    buckets.n_levels = 0
    buckets.evicted = 0
    for level in range(<int> BUCKET_LEVELS):
        buckets.levels[level] = NULL
    return _open_level(buckets, 0)


cdef void buckets_close(Buckets* buckets) noexcept nogil:
    cdef int level
    for level in range(buckets.n_levels):
        munmap(buckets.levels[level], _bytes(level))
    buckets.n_levels = 0


cdef inline Bucket* _candidate(const Buckets* buckets, int level, uint64_t key,
                               int i) noexcept nogil:
    cdef uint64_t chosen = key if i < BUCKET_WAYS else key >> 32
    return &buckets.levels[level][(chosen & (_sets(level) - 1)) * BUCKET_WAYS + i % BUCKET_WAYS]


cdef Bucket* _find(Buckets* buckets, uint64_t key, const Bucket* but) noexcept nogil:
    """The first place of a key, from the newest level on, other than `but`; or NULL."""
    cdef int level, i
    cdef Bucket* bucket
    for level in range(fl_load32(&buckets.n_levels) - 1, -1, -1):
        for i in range(<int> CANDIDATES):
            bucket = _candidate(buckets, level, key, i)
            if fl_load64(&bucket.key) == key and bucket != but:
                return bucket
    return NULL


cdef Bucket* _least(Buckets* buckets, int level, uint64_t key, uint64_t now_ns,
                    bint* is_free) noexcept nogil:
    """A free place of a level, in the set that has more of them (which fills both evenly: Azar et
    al., Balanced Allocations, 1994); or else the place that has used least."""
    cdef int n_free[2]
    cdef Bucket* free_place[2]
    cdef Bucket* bucket
    cdef Bucket* least = NULL
    cdef uint64_t due_ns, least_ns = 0
    cdef int i
    n_free[0] = n_free[1] = 0
    free_place[0] = free_place[1] = NULL
    for i in range(<int> CANDIDATES):
        bucket = _candidate(buckets, level, key, i)
        due_ns = fl_load64(&bucket.due_ns)
        if due_ns <= now_ns:
            n_free[i // BUCKET_WAYS] += 1
            free_place[i // BUCKET_WAYS] = bucket
        elif least == NULL or due_ns < least_ns:
            least = bucket
            least_ns = due_ns
    is_free[0] = n_free[0] + n_free[1] > 0
    return free_place[n_free[1] > n_free[0]] if is_free[0] else least


cdef bint _join_twins(Buckets* buckets, uint64_t key, uint64_t now_ns) noexcept nogil:
    """Engines may have begun a key at once, each in another place. Whoever sees two of them takes
    the one with the higher address away: somebody does, as each looks after it has written. True
    if it was us."""
    cdef Bucket* first
    cdef Bucket* later
    cdef uint64_t due_ns, before_ns
    cdef bint joined = False
    cdef int i, k
    for i in range(<int> TRIES_MAX):
        first = _find(buckets, key, NULL)
        later = _find(buckets, key, first)
        if first == NULL or later == NULL:
            break
        if later < first:               # (one may have come while the other was looked for)
            first, later = later, first
        due_ns = fl_load64(&later.due_ns)
        if fl_cas_pair(&later.key, key, due_ns, 0, 0):
            joined = True
            # (the first one may be taken away meanwhile, by somebody who sees one before it)
            for k in range(<int> TRIES_MAX):
                if due_ns <= now_ns or first == NULL:
                    break
                before_ns = fl_load64(&first.due_ns)
                if fl_cas_pair(&first.key, key, before_ns, key,
                               _later(before_ns, now_ns, due_ns - now_ns)):
                    break
                first = _find(buckets, key, NULL)
    return joined


cdef uint64_t bucket_due(Buckets* buckets, uint64_t key, uint64_t now_ns) noexcept nogil:
    """When a key has all of its burst again; `now_ns`: it has."""
    cdef Bucket* bucket = _find(buckets, key, NULL)
    cdef uint64_t due_ns
    if bucket == NULL:
        return now_ns
    due_ns = fl_load64(&bucket.due_ns)
    return due_ns if due_ns > now_ns and fl_load64(&bucket.key) == key else now_ns


cdef int bucket_charge(Buckets* buckets, uint64_t key, uint64_t now_ns, uint64_t cost_ns,
                       uint64_t burst_ns, uint64_t* due_ns) noexcept nogil:
    """Charge a key, if it has used no more than `burst_ns` then: a Charge. `due_ns` becomes the
    time that bucket_due() returns."""
    cdef Bucket* bucket
    cdef uint64_t before_ns, before, begin_ns, after_ns
    cdef bint is_free = False
    cdef int i, level
    for i in range(<int> TRIES_MAX):
        bucket = _find(buckets, key, NULL)
        if bucket != NULL:
            before_ns = fl_load64(&bucket.due_ns)
            if unlikely(fl_load64(&bucket.key) != key):
                continue
            begin_ns = max(before_ns, now_ns)
            if begin_ns - now_ns + cost_ns > burst_ns:
                due_ns[0] = begin_ns
                return REFUSED
            after_ns = _later(before_ns, now_ns, cost_ns)
            if fl_cas_pair(&bucket.key, key, before_ns, key, after_ns):
                due_ns[0] = after_ns
                return CHARGED
            continue
        due_ns[0] = now_ns
        if cost_ns > burst_ns:
            return REFUSED
        if cost_ns == 0:                # (nobody makes room for nothing)
            return CHARGED
        level = fl_load32(&buckets.n_levels) - 1
        bucket = _least(buckets, level, key, now_ns, &is_free)
        before = fl_load64(&bucket.key)
        before_ns = fl_load64(&bucket.due_ns)
        if before_ns > now_ns:
            if is_free:                 # (somebody was quicker)
                continue
            if _open_level(buckets, level + 1):
                continue
            if burst_ns != _any_amount() and before_ns - now_ns + cost_ns > burst_ns:
                return UNCOUNTED        # a key that is refused isn't forgotten for one that is new
        if not fl_cas_pair(&bucket.key, before, before_ns, key, now_ns + cost_ns):
            continue
        if before_ns > now_ns:
            fl_add64(&buckets.evicted, 1)
        due_ns[0] = now_ns + cost_ns
        if unlikely(_join_twins(buckets, key, now_ns)):
            due_ns[0] = bucket_due(buckets, key, now_ns)
            if due_ns[0] - now_ns > burst_ns:           # (together they are too many)
                bucket_return(buckets, key, cost_ns)
                return REFUSED
        return CHARGED
    due_ns[0] = now_ns
    return UNCOUNTED


cdef void bucket_return(Buckets* buckets, uint64_t key, uint64_t cost_ns) noexcept nogil:
    """Take back what a key was charged."""
    cdef Bucket* bucket
    cdef uint64_t due_ns
    cdef int i
    for i in range(<int> TRIES_MAX):
        bucket = _find(buckets, key, NULL)
        if bucket == NULL:
            return
        due_ns = fl_load64(&bucket.due_ns)
        if fl_cas_pair(&bucket.key, key, due_ns, key, due_ns - min(cost_ns, due_ns)):
            return


cdef int bucket_add(Buckets* buckets, uint64_t key, uint64_t now_ns,
                    uint64_t cost_ns) noexcept nogil:
    """Charge a key more than was known before, even beyond its burst: a Charge."""
    cdef uint64_t due_ns
    return bucket_charge(buckets, key, now_ns, cost_ns, _any_amount(), &due_ns)


cdef inline bint _rescale(Bucket* bucket, uint64_t key, uint64_t now_ns,
                          double factor) noexcept nogil:
    """False if somebody changed it meanwhile."""
    cdef uint64_t due_ns = fl_load64(&bucket.due_ns)
    return due_ns <= now_ns or fl_cas_pair(
        &bucket.key, key, due_ns, key, now_ns + bucket_ns((due_ns - now_ns) * factor))


cdef void buckets_rescale(Buckets* buckets, uint64_t now_ns, double factor) noexcept nogil:
    """The limit is another one: what each key has used takes so many times as long."""
    cdef Bucket* bucket
    cdef uint64_t i
    cdef int level, k
    for level in range(fl_load32(&buckets.n_levels)):
        for i in range(<uint64_t> _sets(level) * BUCKET_WAYS):
            bucket = &buckets.levels[level][i]
            for k in range(<int> TRIES_MAX):
                if _rescale(bucket, fl_load64(&bucket.key), now_ns, factor):
                    break


cdef void bucket_rescale(Buckets* buckets, uint64_t key, uint64_t now_ns,
                         double factor) noexcept nogil:
    """The limit of one key is another one: what it has used takes so many times as long."""
    cdef Bucket* bucket
    cdef int i
    for i in range(<int> TRIES_MAX):
        bucket = _find(buckets, key, NULL)
        if bucket == NULL or _rescale(bucket, key, now_ns, factor):
            return


cdef uint64_t buckets_used(const Buckets* buckets, uint64_t now_ns) noexcept nogil:
    """How many keys have used something; of a large table, by a sample of its sets."""
    cdef uint64_t i, n, used, all_used = 0
    cdef int level
    for level in range(buckets.n_levels):
        used = 0
        n = min(_sets(level), <uint32_t> COUNTED_SETS)
        for i in range(n * BUCKET_WAYS):
            if fl_load64(&buckets.levels[level][i].due_ns) > now_ns:
                used += 1
        all_used += used * (_sets(level) // n)
    return all_used
