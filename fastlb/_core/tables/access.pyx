# Whom a listener lets in, laid out for the engines; and the sources that are to be banned.
# fastlb/compile/networks says what goes in.
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free

from fastlb._core.base.access cimport Access, Ban, Offender
from fastlb._core.base.buckets cimport bucket_due, buckets_close, buckets_open, buckets_rescale
from fastlb._core.base.siphash cimport siphash
from fastlb._core.base.source cimport source_of
from fastlb._core.ext.atomic cimport fl_add32, fl_cas64, fl_load64
from fastlb._core.tables.clock cimport Clock
from fastlb._core.tables.httptable cimport fill_networks
from fastlb._core.tables.networks cimport Network
from fastlb._core.tables.rates cimport RateLimit
from fastlb._core.tables.room cimport Room
from fastlb._core.tables.states cimport Listener, source_text

import os


cdef class Offences:
    """Denials of each source by one listener, shared by all engines."""

    def __cinit__(self, Clock clock):
        self._clock = clock
        if not buckets_open(&self.live.denials, int.from_bytes(os.urandom(8), "little"),
                            int.from_bytes(os.urandom(8), "little")):
            raise MemoryError

    def __dealloc__(self):
        self.take()
        buckets_close(&self.live.denials)

    def use(self, double unit_ns) -> None:
        """One denial takes so long to be forgotten from now on."""
        if self.live.unit_ns and self.live.unit_ns != unit_ns:
            buckets_rescale(
                &self.live.denials, self._clock.now_ns(), unit_ns / self.live.unit_ns)
        self.live.unit_ns = unit_ns

    def used_ns(self, bytes key) -> int:
        """How long it takes until all denials of a source are forgotten."""
        cdef uint64_t now_ns = self._clock.now_ns()
        cdef uint64_t hash = siphash(&self.live.denials.secret,
                                     <const unsigned char*> <const char*> key, <uint32_t> len(key))
        return bucket_due(&self.live.denials, hash if hash else 1, now_ns) - now_ns

    def take(self) -> list[str]:
        """The sources that were denied too often since the last call, each once, the latest
        first."""
        cdef uint64_t first
        cdef Offender* offender
        cdef Offender* following
        while True:
            first = fl_load64(&self.live.offenders)
            if first == 0:
                return []
            if fl_cas64(&self.live.offenders, first, 0):
                break
        found = {}
        offender = <Offender*> <size_t> first
        while offender != NULL:
            following = offender.next
            found[source_text(source_of(&offender.address))] = None
            free(offender)
            fl_add32(&self.live.n_offenders, -1)
            offender = following
        return list(found)


cdef Access* access_table(Room room, Listener listener, object spec) except NULL:
    """From an AccessSpec."""
    cdef Access* access = <Access*> room.take(1, sizeof(Access))
    cdef RateLimit limit
    cdef Offences offences
    cdef Network banned
    fill_networks(room, &access.deny, spec.deny)
    fill_networks(room, &access.allow, spec.allow)
    access.deny_reports, access.allow_reports = spec.deny_reports, spec.allow_reports
    access.source_max = spec.source_max
    if spec.source_max:
        listener.count_sources()
    access.handshakes_max = spec.handshakes_max
    access.source_handshakes_max = spec.source_handshakes_max
    if spec.source_handshakes_max:
        listener.count_handshakes()
    if spec.tarpit is not None:
        access.tarpit_timer = room.live.timer_slot(spec.tarpit.for_ms)
        access.tarpit_max = spec.tarpit.most
        access.tarpit_reports = spec.tarpit.report
    if spec.rate is not None:
        limit = room.live.rate_limit(spec.rate.name)
        room.rates.append((limit, spec.rate.unit_ns, False, False))
        limit.begin(spec.rate.unit_ns)
        access.rate = &limit.live
        access.rate_burst = spec.rate.burst
        access.rate_reports = spec.rate.report
    if spec.ban is not None:
        if listener.offences is None:
            listener.offences = Offences(room.live.clock)
        offences = listener.offences
        room.hold(offences)
        offences.use(spec.ban.unit_ns)
        banned = room.live.network(spec.ban.networks)
        room.hold(banned)
        access.ban = <Ban*> room.take(1, sizeof(Ban))
        access.ban.live = &offences.live
        access.ban.banned = &banned.live
        access.ban.burst = spec.ban.burst
    return access
