# Bytes that go on from one stream to another: what is the same for relays and for HTTP.
from libc.errno cimport EAGAIN, ECONNRESET
from libc.stdint cimport uint8_t

from fastlb._core.base.enums cimport (
    AGAIN, ERROR, FAIL, H2_CLOSED, LAYER_H2, NEXT, PEER_SHUT, READABLE, REASON_CLIENT_CANCELLED,
    REASON_CLIENT_RESET, REASON_SERVER_RESET, ROLE_CLIENT, STREAM_CAUTIOUS, STREAM_EOF,
    STREAM_TUNED,
)
from fastlb._core.base.net cimport net_tune
from fastlb._core.base.stream cimport stream_read
from fastlb._core.base.types cimport Chunk, Core, Exchange, Stream
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely

cdef enum:
    MORE = 20           # a verdict inside a stage: this read moved something, try the next


cdef inline int broken(Exchange* x, Stream* s) noexcept nogil:
    if s.role != ROLE_CLIENT:
        x.reason = REASON_SERVER_RESET
    elif s.layer == LAYER_H2 and s.h2.flags & H2_CLOSED:
        x.reason = REASON_CLIENT_CANCELLED      # (its connection is well)
    else:
        x.reason = REASON_CLIENT_RESET
    return FAIL


cdef inline void count_write(Exchange* x, Stream* to) noexcept nogil:
    if unlikely(not to.flags & STREAM_TUNED):
        to.writes += 1
        if to.writes == 2:
            net_tune(to, &x.attempt.keepalive)


cdef inline void short_read(Stream* source) noexcept nogil:
    """Drained: no second read only to be told EAGAIN. If the FIN was announced before this read,
    these were the last bytes, and the read that would return 0 is saved as well."""
    if source.flags & STREAM_CAUTIOUS or source.ready & ERROR:
        return
    source.ready &= <uint8_t> ~READABLE
    if source.ready & PEER_SHUT:
        source.flags |= STREAM_EOF


cdef inline ssize_t flow_read(Stream* source, void* into, size_t size) noexcept nogil:
    """Bytes read; 0 at the peer's end (STREAM_EOF is set), -EAGAIN, or another -errno."""
    cdef ssize_t n
    if source.flags & STREAM_EOF:
        return 0
    n = stream_read(source, into, size)
    if likely(n > 0):
        if n < <ssize_t> size:
            short_read(source)
        return n
    if n == 0 and source.ready & ERROR:
        return -ECONNRESET          # it was taken already, when the connect was looked at
    source.ready &= <uint8_t> ~READABLE
    if n == 0:
        source.flags |= STREAM_EOF
    return n


cdef inline int nothing_read(Exchange* x, Stream* source, ssize_t n) noexcept nogil:
    # The error itself may have been taken already, when the connect was looked at.
    if (n < 0 and n != -EAGAIN) or (n == 0 and source.ready & ERROR):
        return broken(x, source)
    source.ready &= <uint8_t> ~READABLE
    if n < 0:
        return AGAIN
    source.flags |= STREAM_EOF
    return NEXT


cdef inline void count_bytes(Exchange* x, Stream* to, ssize_t n) noexcept nogil:
    if to.role == ROLE_CLIENT:
        fl_count(&x.attempt.counters.bytes_to_client, n)
        x.books.bytes_out += n
    else:
        fl_count(&x.attempt.counters.bytes_to_server, n)
        x.books.bytes_in += n


cdef int flow_flush(Core* core, Exchange* x, Stream* to) noexcept nogil
cdef int flow_keep(Core* core, Exchange* x, Stream* to, Chunk** place, ssize_t start,
                   ssize_t end) noexcept nogil
cdef int flow_write(Core* core, Exchange* x, Stream* to, Chunk** place, ssize_t start,
                    ssize_t end) noexcept nogil
cdef bint flow_have_pipe(Core* core, Stream* source, Stream* to) noexcept nogil
cdef int flow_splice(Core* core, Exchange* x, Stream* source, Stream* to, size_t limit,
                     ssize_t* moved) noexcept nogil
