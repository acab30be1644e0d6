# Carry bytes both ways as relay does, no faster than the listener allows: what is too fast isn't
# read yet, so that TCP slows its sender down. No byte is dropped.
# Reads and writes what relay does, and when each way's bytes have had their time (GCRA).
# Ends: AGAIN (EXCHANGE_HAS_MORE: stopped by its budget), END, FAIL (a reset, or no memory).
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc

from fastlb._core.base.buckets cimport bucket_ns
from fastlb._core.base.duplex cimport end_ways, hear_urgent, pump
from fastlb._core.base.enums cimport (
    AGAIN, EXCHANGE_HAS_MORE, FAIL, READABLE, STAGE_THROTTLE, TIMER_THROTTLE,
)
from fastlb._core.base.limits cimport PUMP_BYTES_MAX, THROTTLE_BYTES_MIN
from fastlb._core.base.parts cimport Speed, Throttle
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport Core, Exchange, Stream


cdef bint begin_throttle(Exchange* x) noexcept nogil:
    """Both sides are connected. False: there is no memory."""
    cdef Throttle* made = <Throttle*> calloc(1, sizeof(Throttle))
    if made == NULL:
        return False
    made.speeds = x.bind.speeds[0]
    made.timer.kind = TIMER_THROTTLE
    made.timer.owner = x
    x.throttle = made
    x.stage = STAGE_THROTTLE
    return True


cdef ssize_t _room(const Speed* speed, uint64_t due_ns, uint64_t now_ns) noexcept nogil:
    """Bytes that may be read now. A few are none: it isn't worth a read."""
    cdef uint64_t used_ns = due_ns - now_ns if due_ns > now_ns else 0
    cdef double room
    if speed.byte_ns == 0:
        return PUMP_BYTES_MAX
    if used_ns >= speed.burst_ns:
        return 0
    room = (speed.burst_ns - used_ns) / speed.byte_ns
    if room < THROTTLE_BYTES_MIN:
        return 0
    return <ssize_t> room if room < PUMP_BYTES_MAX else PUMP_BYTES_MAX


cdef int _move(Core* core, Exchange* x, Stream* source, Stream* to, const Speed* speed,
               const uint64_t* counted, uint64_t* due_ns) noexcept nogil:
    """Move bytes one way, as many as may go now; `counted` are those that have."""
    cdef Throttle* throttle = x.throttle
    cdef uint64_t before = counted[0]
    cdef int verdict = pump(core, x, source, to, _room(speed, due_ns[0], core.now_ns))
    due_ns[0] = max(due_ns[0], core.now_ns) + bucket_ns((counted[0] - before) * speed.byte_ns)
    if verdict == AGAIN and source.ready & READABLE and _room(speed, due_ns[0], core.now_ns) == 0:
        x.flags &= <unsigned char> ~EXCHANGE_HAS_MORE
        if throttle.timer.link.next == NULL:
            timer_start(core, &throttle.timer, throttle.speeds.timer)
    return verdict


cdef int throttle_step(Core* core, Exchange* x) noexcept nogil:
    cdef Throttle* throttle = x.throttle
    cdef int to_server, to_client
    cdef unsigned char more
    hear_urgent(x)
    to_server = _move(core, x, &x.client, &x.server, &throttle.speeds.to_server,
                      &x.books.bytes_in, &throttle.server_due_ns)
    if to_server == FAIL:
        return FAIL
    more = x.flags & EXCHANGE_HAS_MORE
    x.flags &= <unsigned char> ~EXCHANGE_HAS_MORE
    to_client = _move(core, x, &x.server, &x.client, &throttle.speeds.to_client,
                      &x.books.bytes_out, &throttle.client_due_ns)
    if to_client == FAIL:
        return FAIL
    x.flags |= more
    if to_server == AGAIN and to_client == AGAIN:
        return AGAIN
    return end_ways(x, to_server, to_client)
