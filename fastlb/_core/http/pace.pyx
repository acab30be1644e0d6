# How fast clients send their requests, where min_request_rate asks. A head or a body that has begun
# is looked at again and again; from the second look on, so much has to have come since the last
# one. A body isn't judged by a time in which its server didn't take it.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.enums cimport AGAIN, EXCHANGE_SHADOW, FAIL, NEXT
from fastlb._core.base.routing cimport HttpEntry
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.types cimport Core, Exchange, Http
from fastlb._core.ext.atomic cimport fl_count

cdef enum:
    LOOK_BIT = 32               # of x.linger_left, which means nothing before there is an answer:
                                # the looks at a head, above the bytes that were there
    REPORTED = 255              # instead of a number of looks: it isn't looked at any more


cdef bint _is_slow(Core* core, Exchange* x, const HttpEntry* entry, uint64_t bytes) noexcept nogil:
    """Whether a client is to be ended that has sent so much since the last look."""
    if bytes >= entry.pace_bytes:
        return False
    if entry.pace_reports:
        fl_count(&x.listener.counters[core.id].too_slow_reported, 1)
        return False
    fl_count(&x.listener.counters[core.id].too_slow, 1)
    return True


cdef void begin_head(Core* core, Exchange* x) noexcept nogil:
    """Some of a head is here."""
    cdef const HttpEntry* entry = x.bind.http
    cdef uint32_t longest_ms = core.timers[entry.header_timer].length_ms
    x.linger_left = 0
    timer_start(core, &x.timer, entry.header_timer
                if 0 < longest_ms <= core.timers[entry.pace_timer].length_ms
                else entry.pace_timer)


cdef int look_at_head(Core* core, Exchange* x) noexcept nogil:
    """AGAIN: it may take longer; NEXT: the time for a head is over; FAIL: it comes too slowly."""
    cdef const HttpEntry* entry = x.bind.http
    cdef uint64_t looks = (x.linger_left >> LOOK_BIT) + 1
    cdef uint32_t size = x.input.end - x.input.start
    cdef uint32_t before = <uint32_t> x.linger_left
    cdef uint64_t longest_ms = core.timers[entry.header_timer].length_ms
    if entry.pace_timer == 0 or x.timer.slot != entry.pace_timer:
        return NEXT
    if looks > 1 and _is_slow(core, x, entry, size - before if size > before else 0):
        return FAIL
    if 0 < longest_ms <= looks * core.timers[entry.pace_timer].length_ms:
        return NEXT
    x.linger_left = looks << LOOK_BIT | size
    timer_start(core, &x.timer, entry.pace_timer)
    return AGAIN


cdef void note_sent(Core* core, Exchange* x) noexcept nogil:
    """Some of a body has gone to the server."""
    cdef Http* http = x.http
    if http.request.done:
        timer_cancel(&http.pace.timer)
    elif http.pace.timer.link.next == NULL and http.pace.looks != REPORTED \
            and not x.flags & EXCHANGE_SHADOW:
        http.pace.looks = http.pace.is_excused = 0
        http.pace.mark = http.request.total
        timer_start(core, &http.pace.timer, http.entry.pace_timer)


cdef int look_at_body(Core* core, Exchange* x) noexcept nogil:
    """AGAIN: it may go on; FAIL: it comes too slowly."""
    cdef Http* http = x.http
    cdef const HttpEntry* entry = http.entry
    cdef uint64_t moved = http.request.total - http.pace.mark
    cdef bint is_excused = http.pace.is_excused or x.to_server.pending != NULL \
        or x.to_server.pipe != NULL
    if http.request.done:
        return AGAIN
    if http.pace.looks > 0 and not is_excused and moved < entry.pace_bytes:
        if _is_slow(core, x, entry, moved):
            return FAIL
        http.pace.looks = REPORTED      # (once)
        return AGAIN
    # After a time that wasn't the client's it is given as long again.
    http.pace.looks = 0 if is_excused else 1
    http.pace.is_excused = False
    http.pace.mark = http.request.total
    timer_start(core, &http.pace.timer, entry.pace_timer)
    return AGAIN
