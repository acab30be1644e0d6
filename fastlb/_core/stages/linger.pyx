# Discard what a client still sends after its answer, so that closing does not destroy it. Closing
# at once would send an RST, which may overtake the answer and take it from the client (RFC 9112,
# 9.6).
# Reads the client's stream, and x.books.begin_ns (since when); writes x.linger_left.
# Ends: AGAIN, END (it has closed, failed, or sent enough).
from libc.errno cimport EAGAIN
from libc.stdint cimport uint64_t

from fastlb._core.base.enums cimport (
    AGAIN, END, EXCHANGE_HAS_MORE, READABLE, REASON_DONE, STREAM_EOF,
)
from fastlb._core.base.flow cimport flow_read
from fastlb._core.base.limits cimport HTTP_READ_BYTES, LINGER_MS_MAX, PUMP_READS_MAX
from fastlb._core.base.mem cimport chunk_bytes
from fastlb._core.base.timers cimport timer_touch
from fastlb._core.base.types cimport Core, Exchange


cdef int linger_step(Core* core, Exchange* x) noexcept nogil:
    cdef ssize_t n
    cdef int reads
    x.reason = REASON_DONE
    for reads in range(PUMP_READS_MAX):
        if not x.client.ready & READABLE and not x.client.flags & STREAM_EOF:
            return AGAIN
        n = flow_read(&x.client, chunk_bytes(core.http.scratch), HTTP_READ_BYTES)
        if n == -EAGAIN:
            return AGAIN
        if n <= 0:
            return END
        if <uint64_t> n > x.linger_left:
            return END
        x.linger_left -= <uint64_t> n
        if core.now_ns - x.books.begin_ns > <uint64_t> LINGER_MS_MAX * 1000000:
            return END
        timer_touch(core, &x.timer)
    x.flags |= EXCHANGE_HAS_MORE
    return AGAIN
