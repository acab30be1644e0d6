# The seam to the kernel's readiness: epoll, or poll(2). A stream is added once, edge triggered: it
# is told again only of what it has not been told yet. Acceptors and wake-ups are level triggered.
#
# A child process that was started just now holds our sockets until it executes its program, and
# epoll goes on telling of one that we have closed meanwhile. So an event names the generation of
# its stream's socket, in the 16 bits that no address of a process on Linux uses.
from libc.stdint cimport uint64_t, uint8_t

from fastlb._core.base.enums cimport PEER_SHUT, POLLER_EPOLL
from fastlb._core.base.types cimport Poller, Stream
from fastlb._core.ext.atomic cimport likely

cdef enum:
    STREAM_BITS = 48


cdef inline uint64_t poller_tag(Stream* s) noexcept nogil:
    return <uint64_t> <size_t> s | <uint64_t> s.generation << STREAM_BITS


cdef inline Stream* poller_event(Poller* poller, int i, uint8_t* ready) noexcept nogil:
    """The stream of event i of the last wait, and what it is ready for (Ready); NULL if the event
    is of a socket that the stream no longer has."""
    cdef unsigned int bits
    cdef uint64_t tag
    cdef Stream* s
    if poller.kind == POLLER_EPOLL:
        bits = poller.events[i].events
        # EPOLLIN, PRI, OUT, ERR and HUP are 1 to 16 as in Ready; EPOLLRDHUP, 0x2000, is PEER_SHUT.
        ready[0] = (bits & 0x1F) | ((bits >> 8) & PEER_SHUT)
        tag = poller.events[i].data.u64
        s = <Stream*> <size_t> (tag & ((<uint64_t> 1 << STREAM_BITS) - 1))
        return s if likely(s.generation == tag >> STREAM_BITS) else NULL
    ready[0] = poller.ready_bits[i]
    s = poller.ready_streams[i]
    return s if s.generation == poller.ready_generations[i] else NULL


cdef int poller_open(Poller* poller, int kind) noexcept nogil
cdef void poller_close(Poller* poller) noexcept nogil
cdef int poller_add(Poller* poller, Stream* s) noexcept nogil
cdef int poller_add_level(Poller* poller, Stream* s, bint exclusive) noexcept nogil
cdef int poller_move(Poller* poller, Stream* old, Stream* s) noexcept nogil
cdef void poller_remove(Poller* poller, Stream* s) noexcept nogil
cdef void poller_forget(Poller* poller, Stream* s) noexcept nogil
cdef int poller_wait(Poller* poller, int timeout_ms) noexcept nogil
cdef int poller_wait_ns(Poller* poller, uint64_t timeout_ns) noexcept nogil
