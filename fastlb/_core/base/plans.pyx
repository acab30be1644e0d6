# Limits of single keys, which a function of the user's has given; see plans.pxd.
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from fastlb._core.base.gate cimport gate_give, gate_take
from fastlb._core.base.head cimport Text
from fastlb._core.base.stack cimport stack_push, stack_take
from fastlb._core.ext.atomic cimport (
    fl_add64, fl_load64, fl_load_double, fl_store64, fl_store_double, unlikely,
)
from fastlb._core.ext.linux cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap,
)

cdef enum:
    WHEN_BITS = 20              # of a place of `asked`: ms, which come again after 17 minutes
    PLANS = PLAN_SETS * PLAN_WAYS


cdef Plans* plans_open() noexcept nogil:
    """NULL without memory."""
    cdef Plans* plans = <Plans*> calloc(1, sizeof(Plans))
    if plans == NULL:
        return NULL
    plans.asked = <uint64_t*> calloc(PLAN_ASKED, sizeof(uint64_t))
    plans.all = <Plan*> mmap(NULL, PLANS * sizeof(Plan), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if plans.all == MAP_FAILED:
        plans.all = NULL
    if plans.asked == NULL or plans.all == NULL:
        plans_close(plans)
        return NULL
    return plans


cdef void plans_close(Plans* plans) noexcept nogil:
    cdef KeyAsked* one
    cdef KeyAsked* following
    if plans == NULL:
        return
    one = <KeyAsked*> stack_take(&plans.waiting)
    while one != NULL:
        following = one.next
        free(one)
        one = following
    if plans.all != NULL:
        munmap(plans.all, PLANS * sizeof(Plan))
    free(plans.asked)
    free(plans)


cdef inline Plan* _set(const Plans* plans, uint64_t key) noexcept nogil:
    return &plans.all[(key >> 32 & (PLAN_SETS - 1)) * PLAN_WAYS]


cdef int plan_find(const Plans* plans, uint64_t key, uint64_t now_ns, Plan* found) noexcept nogil:
    """A PlanFound. Unless it is PLAN_UNKNOWN, `found` is the key's plan."""
    cdef Plan* plan = _set(plans, key)
    cdef int i
    for i in range(<int> PLAN_WAYS):
        if fl_load64(&plan[i].key) != key:
            continue
        found.unit_ns = fl_load_double(&plan[i].unit_ns)
        found.burst = fl_load_double(&plan[i].burst)
        found.expires_ns = fl_load64(&plan[i].expires_ns)
        if unlikely(fl_load64(&plan[i].key) != key):        # (it is being written)
            break
        return PLAN_KNOWN if now_ns < found.expires_ns else PLAN_STALE
    return PLAN_UNKNOWN


cdef bint plan_wants(Plans* plans, uint64_t key, uint64_t now_ns) noexcept nogil:
    """Whether to ask about a key now: nobody did in the last second. Keys that share a place are
    asked about more often."""
    cdef uint64_t* place = &plans.asked[key & (PLAN_ASKED - 1)]
    cdef uint64_t bits = (<uint64_t> 1 << WHEN_BITS) - 1
    cdef uint64_t before = fl_load64(place), now_ms = now_ns // 1000000
    if (before ^ key) & ~bits == 0 and (now_ms - before & bits) < PLAN_AGAIN_MS:
        return False
    fl_store64(place, key & ~bits | now_ms & bits)
    return True


cdef void plan_ask(Plans* plans, uint64_t key, Text text, bint is_source) noexcept nogil:
    """Put a key on the stack for the control plane, which is to be woken then. Without room or
    memory, that is counted."""
    cdef KeyAsked* asked = NULL
    if gate_take(&plans.gate, PLAN_WAITING_MAX):
        asked = <KeyAsked*> malloc(sizeof(KeyAsked) + text.size)
        if asked == NULL:
            gate_give(&plans.gate)
    if asked == NULL:
        fl_add64(&plans.dropped, 1)
        return
    asked.key = key
    asked.size = text.size
    asked.is_source = is_source
    if text.size:
        memcpy(asked + 1, text.at, text.size)
    stack_push(&plans.waiting, asked)


# --- for the control plane's thread ---

cdef KeyAsked* plans_take(Plans* plans) noexcept nogil:
    """The keys that are asked about, the earliest first; the caller frees them."""
    cdef KeyAsked* first = <KeyAsked*> stack_take(&plans.waiting)
    cdef KeyAsked* one = first
    while one != NULL:
        gate_give(&plans.gate)
        one = one.next
    return first


cdef void plan_put(Plans* plans, const Plan* plan, Plan* before) noexcept nogil:
    """Let engines go by a plan. `before` is what was in its place: an earlier plan of the key, or
    where all places were in use, the plan of another key that expired first."""
    cdef Plan* set_ = _set(plans, plan.key)
    cdef Plan* place = NULL
    cdef Plan* free_place = NULL
    cdef Plan* oldest = set_
    cdef int i
    for i in range(<int> PLAN_WAYS):
        if set_[i].key == plan.key:
            place = &set_[i]
            break
        if set_[i].key == 0 and free_place == NULL:
            free_place = &set_[i]
        if set_[i].expires_ns < oldest.expires_ns:
            oldest = &set_[i]
    if place == NULL:
        place = free_place if free_place != NULL else oldest
    before[0] = place[0]
    if place.key == 0:
        plans.known += 1
    plan_drop(place)
    fl_store_double(&place.unit_ns, plan.unit_ns)
    fl_store_double(&place.burst, plan.burst)
    fl_store64(&place.expires_ns, plan.expires_ns)
    fl_store64(&place.key, plan.key)


cdef void plan_drop(Plan* plan) noexcept nogil:
    """Let engines not find it any more."""
    fl_store64(&plan.key, 0)
