# What a listener allows each source, which is an IPv4 address or a /64 of IPv6: so many new
# connections in a time, and so many TLS handshakes at a time. A source that was denied too often is
# told to the control plane, which bans it.
from libc.stdint cimport uint64_t, uint8_t
from libc.stdlib cimport free, malloc

from fastlb._core.base.access cimport OFFENDERS_MAX, Access, Ban, BanLive, Offender
from fastlb._core.base.buckets cimport (
    CHARGED, REFUSED, Buckets, bucket_charge, bucket_ns, bucket_return,
)
from fastlb._core.base.enums cimport REHEARSES_NOT
from fastlb._core.base.gate cimport gate_give, gate_take
from fastlb._core.base.live cimport ListenerLive
from fastlb._core.base.networks cimport is_denied
from fastlb._core.base.parts cimport Address
from fastlb._core.base.ranges cimport NetworkLive
from fastlb._core.base.siphash cimport siphash
from fastlb._core.base.source cimport source_of
from fastlb._core.base.sources cimport source_give, source_take
from fastlb._core.base.types cimport BindEntry, Core, Exchange
from fastlb._core.ext.atomic cimport (
    fl_add32, fl_cas64, fl_count, fl_exchange32, fl_load32, fl_load64, fl_store64, likely, unlikely,
)
from fastlb._core.ext.linux cimport AF_UNIX
from fastlb._core.tables.live cimport live_notify


cdef uint64_t _key(const Buckets* buckets, const Address* client) noexcept nogil:
    """Return the hash that a source is counted by. Never 0."""
    cdef uint64_t source = source_of(client)
    cdef uint64_t hash = siphash(&buckets.secret, <const uint8_t*> &source, sizeof(source))
    return hash if hash else 1


# --- bans ---

cdef void _tell(Core* core, BanLive* live, const Address* client) noexcept nogil:
    """Have a source banned. If too many wait for that, it is told once it was denied again."""
    cdef Offender* offender
    cdef uint64_t first
    if fl_load32(&live.n_offenders) >= <int> OFFENDERS_MAX:
        return
    offender = <Offender*> malloc(sizeof(Offender))
    if unlikely(offender == NULL):
        return
    offender.address = client[0]
    fl_add32(&live.n_offenders, 1)
    while True:
        first = fl_load64(&live.offenders)
        offender.next = <Offender*> <size_t> first
        if fl_cas64(&live.offenders, first, <uint64_t> <size_t> offender):
            break
    live_notify(core.live)


cdef void note_denial(Core* core, const BindEntry* bind, const Address* client) noexcept nogil:
    """Count what a source was denied. After as many denials as its listener lets pass it begins
    anew, so that a source is told once for all of them."""
    cdef const Ban* ban = bind.access.ban if bind.access != NULL else NULL
    cdef uint64_t key, unit_ns, due_ns = 0
    if likely(ban == NULL) or core.rehearses != REHEARSES_NOT or client.family == AF_UNIX \
            or client.family == 0:
        return
    key = _key(&ban.live.denials, client)
    unit_ns = bucket_ns(ban.live.unit_ns)
    if bucket_charge(&ban.live.denials, key, core.now_ns, unit_ns,
                     bucket_ns(ban.burst * ban.live.unit_ns), &due_ns) == REFUSED:
        bucket_return(&ban.live.denials, key, due_ns - core.now_ns)
        _tell(core, ban.live, client)


# --- who is let in ---

cdef bint is_on_list(Core* core, const BindEntry* bind, const Access* access,
                     const Address* client) noexcept nogil:
    """Whether the lists of a listener, or of one of its routes, deny a client."""
    cdef const NetworkLive* denying
    if likely(not is_denied(core, access, client, &denying)):
        return False
    # (a ban isn't made longer by those who try again)
    if bind.access != NULL and bind.access.ban != NULL and denying != bind.access.ban.banned:
        note_denial(core, bind, client)
    return True


cdef void _note_refusal(Core* core, ListenerLive* listener, const Address* client) noexcept nogil:
    """Have it logged, once in a while. It has been counted: the line says how many there were."""
    fl_store64(&listener.refused_source, source_of(client))
    if fl_load32(&listener.refusing) == 0 and fl_exchange32(&listener.refusing, 1) == 0:
        live_notify(core.live)


cdef bint is_too_fast(Core* core, const BindEntry* bind, const Address* client) noexcept nogil:
    """Charge a source for one more connection or session; True if it is refused."""
    cdef const Access* access = bind.access
    cdef ListenerLive* listener = bind.listener
    cdef uint64_t unit_ns, due_ns = 0
    cdef int charge
    if access.rate == NULL or client.family == AF_UNIX:
        return False
    unit_ns = bucket_ns(access.rate.unit_ns)
    charge = bucket_charge(
        &access.rate.buckets, _key(&access.rate.buckets, client), core.now_ns, unit_ns,
        bucket_ns(access.rate_burst * access.rate.unit_ns), &due_ns)
    if likely(charge != REFUSED):
        fl_count(&access.rate.counters[core.id].allowed if charge == CHARGED
                 else &access.rate.counters[core.id].uncounted, 1)
        return False
    if access.rate_reports:
        fl_count(&access.rate.counters[core.id].reported, 1)
        fl_count(&listener.counters[core.id].source_rate_reported, 1)
        _note_refusal(core, listener, client)
        return False
    fl_count(&access.rate.counters[core.id].refused, 1)
    fl_count(&listener.counters[core.id].source_rate, 1)
    _note_refusal(core, listener, client)
    note_denial(core, bind, client)
    return True


# --- handshakes ---

cdef bint take_handshake(Core* core, Exchange* x) noexcept nogil:
    """Take a place for one more TLS handshake of a source, and of a listener; False if there is
    none."""
    cdef const Access* access = x.bind.access
    cdef bint counts = access.source_handshakes_max > 0 and x.peer.family != AF_UNIX
    if not counts or source_take(
            &x.listener.handshakes, &x.peer, access.source_handshakes_max):
        if access.handshakes_max == 0 or gate_take(&x.listener.shaking, access.handshakes_max):
            return True
        if counts:
            source_give(&x.listener.handshakes, &x.peer)
    fl_count(&x.listener.counters[core.id].handshakes_full, 1)
    _note_refusal(core, x.listener, &x.peer)
    return False


cdef void give_handshake(Exchange* x) noexcept nogil:
    """Give back what take_handshake took, when the handshake is over, and before the stage is
    another one."""
    cdef const Access* access = x.bind.access
    if likely(access == NULL):
        return
    if access.source_handshakes_max and x.peer.family != AF_UNIX:
        source_give(&x.listener.handshakes, &x.peer)
    if access.handshakes_max:
        gate_give(&x.listener.shaking)
