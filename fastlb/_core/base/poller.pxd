# The seam to the kernel's readiness: epoll, or poll(2). A stream is added once, edge triggered: it
# is told again only of what it has not been told yet. Acceptors and wake-ups are level triggered.
from libc.stdint cimport uint8_t

from fastlb._core.base.types cimport PEER_SHUT, POLLER_EPOLL, Poller, Stream


cdef inline Stream* poller_event(Poller* poller, int i, uint8_t* ready) noexcept nogil:
    """The stream of event i of the last wait, and what it is ready for (Ready)."""
    cdef unsigned int bits
    if poller.kind == POLLER_EPOLL:
        bits = poller.events[i].events
        # EPOLLIN, PRI, OUT, ERR and HUP are 1 to 16 as in Ready; EPOLLRDHUP, 0x2000, is PEER_SHUT.
        ready[0] = (bits & 0x1F) | ((bits >> 8) & PEER_SHUT)
        return <Stream*> poller.events[i].data.ptr
    ready[0] = poller.ready_bits[i]
    return poller.ready_streams[i]


cdef int poller_open(Poller* poller, int kind) noexcept nogil
cdef void poller_close(Poller* poller) noexcept nogil
cdef int poller_add(Poller* poller, Stream* s) noexcept nogil
cdef int poller_add_level(Poller* poller, Stream* s, bint exclusive) noexcept nogil
cdef void poller_remove(Poller* poller, Stream* s) noexcept nogil
cdef void poller_forget(Poller* poller, Stream* s) noexcept nogil
cdef int poller_wait(Poller* poller, int timeout_ms) noexcept nogil
