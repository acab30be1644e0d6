# The kernel's readiness: epoll, or poll(2).
# Streams are edge triggered, acceptors and wake-ups are level triggered; see poller.pxd.
from libc.errno cimport EINTR, ENOMEM, ENOSYS, errno
from libc.stdint cimport uint16_t, uint64_t, uint8_t
from libc.stdlib cimport free, realloc

from fastlb._core.base.enums cimport (
    ERROR, HANGUP, PEER_SHUT, POLLER_EPOLL, READABLE, ROLE_CLIENT, ROLE_IDLE, ROLE_SERVER,
    STREAM_EOF, URGENT, WRITABLE,
)
from fastlb._core.base.limits cimport EVENTS_MAX
from fastlb._core.base.types cimport Poller, Stream
from fastlb._core.ext.atomic cimport fl_assert, fl_syscall, unlikely
from fastlb._core.ext.linux cimport (
    EPOLLET, EPOLLEXCLUSIVE, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, EPOLL_CLOEXEC, EPOLL_CTL_ADD,
    EPOLL_CTL_DEL, EPOLL_CTL_MOD, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, SYS_epoll_pwait,
    SYS_epoll_pwait2, close, epoll_create1, epoll_ctl, epoll_event, poll, pollfd, timespec,
)


cdef int poller_open(Poller* poller, int kind) noexcept nogil:
    """0, or -errno."""
    poller.kind = kind
    poller.fd = -1
    poller.polled = NULL
    poller.streams = NULL
    poller.ready_streams = NULL
    poller.ready_bits = NULL
    poller.ready_generations = NULL
    poller.n_polled = poller.polled_size = 0
    if kind == POLLER_EPOLL:
        poller.fd = epoll_create1(EPOLL_CLOEXEC)
        if poller.fd < 0:
            return -errno
    return 0


cdef void poller_close(Poller* poller) noexcept nogil:
    if poller.fd >= 0:
        close(poller.fd)
        poller.fd = -1
    free(poller.polled)
    free(poller.streams)
    free(poller.ready_streams)
    free(poller.ready_bits)
    free(poller.ready_generations)
    poller.polled = NULL
    poller.streams = poller.ready_streams = NULL
    poller.ready_bits = NULL
    poller.ready_generations = NULL
    poller.n_polled = poller.polled_size = 0


cdef bint _grow(Poller* poller) noexcept nogil:
    cdef int size = poller.polled_size * 2 if poller.polled_size else 64
    cdef void* polled = realloc(poller.polled, size * sizeof(pollfd))
    if polled == NULL:
        return False
    poller.polled = <pollfd*> polled
    polled = realloc(poller.streams, size * sizeof(Stream*))
    if polled == NULL:
        return False
    poller.streams = <Stream**> polled
    polled = realloc(poller.ready_streams, size * sizeof(Stream*))
    if polled == NULL:
        return False
    poller.ready_streams = <Stream**> polled
    polled = realloc(poller.ready_bits, size)
    if polled == NULL:
        return False
    poller.ready_bits = <uint8_t*> polled
    polled = realloc(poller.ready_generations, size * sizeof(uint16_t))
    if polled == NULL:
        return False
    poller.ready_generations = <uint16_t*> polled
    poller.polled_size = size
    return True


cdef int _polled_add(Poller* poller, Stream* s) noexcept nogil:
    if poller.n_polled == poller.polled_size and not _grow(poller):
        return -ENOMEM
    s.slot = poller.n_polled
    poller.streams[s.slot] = s
    poller.n_polled += 1
    return 0


cdef int poller_add(Poller* poller, Stream* s) noexcept nogil:
    """Watch a client's or server's socket, edge triggered: 0, or -errno."""
    cdef epoll_event event
    if poller.kind != POLLER_EPOLL:
        return _polled_add(poller, s)
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET
    event.data.u64 = poller_tag(s)
    return 0 if epoll_ctl(poller.fd, EPOLL_CTL_ADD, s.fd, &event) == 0 else -errno


cdef int poller_add_level(Poller* poller, Stream* s, bint exclusive) noexcept nogil:
    """Watch an acceptor or a wake-up for reading. `exclusive`: others wait on the same socket."""
    cdef epoll_event event
    if poller.kind != POLLER_EPOLL:
        return _polled_add(poller, s)
    event.events = EPOLLIN | (EPOLLEXCLUSIVE if exclusive else 0)
    event.data.u64 = poller_tag(s)
    return 0 if epoll_ctl(poller.fd, EPOLL_CTL_ADD, s.fd, &event) == 0 else -errno


cdef int poller_move(Poller* poller, Stream* old, Stream* s) noexcept nogil:
    """Let another struct stand for a socket: 0, or -errno. What it is ready for is told again."""
    cdef epoll_event event
    if poller.kind != POLLER_EPOLL:
        poller.streams[old.slot] = s
        return 0
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET
    event.data.u64 = poller_tag(s)
    return 0 if epoll_ctl(poller.fd, EPOLL_CTL_MOD, s.fd, &event) == 0 else -errno


cdef void poller_forget(Poller* poller, Stream* s) noexcept nogil:
    """The socket is about to be closed, and nobody else holds it: epoll forgets it by itself."""
    cdef Stream* last
    if poller.kind == POLLER_EPOLL or poller.streams[s.slot] != s:      # (or it was never watched)
        return
    poller.n_polled -= 1
    last = poller.streams[poller.n_polled]
    poller.streams[s.slot] = last
    last.slot = s.slot


cdef void poller_remove(Poller* poller, Stream* s) noexcept nogil:
    """The socket stays open, or a forked child may hold it: say so to epoll."""
    cdef epoll_event event          # kernels before 2.6.9 wanted one
    if poller.kind == POLLER_EPOLL:
        epoll_ctl(poller.fd, EPOLL_CTL_DEL, s.fd, &event)
        return
    poller_forget(poller, s)


cdef int _poll_wait(Poller* poller, int timeout_ms) noexcept nogil:
    """poll(2) made edge triggered: ask only for what the stream doesn't know already."""
    cdef int i, n, found = 0
    cdef short wanted
    cdef Stream* s
    for i in range(poller.n_polled):
        s = poller.streams[i]
        poller.polled[i].fd = s.fd
        poller.polled[i].revents = 0
        wanted = POLLIN
        if s.role == ROLE_CLIENT or s.role == ROLE_SERVER or s.role == ROLE_IDLE:
            wanted = 0
            if not s.ready & READABLE and not s.flags & STREAM_EOF:
                wanted |= POLLIN
            if not s.ready & WRITABLE:
                wanted |= POLLOUT
            if not s.ready & PEER_SHUT:
                wanted |= POLLRDHUP
            if not s.ready & URGENT:
                wanted |= POLLPRI
            if s.ready & (ERROR | HANGUP):      # reported whether asked for or not
                poller.polled[i].fd = -1
        poller.polled[i].events = wanted
    n = poll(poller.polled, poller.n_polled, timeout_ms)
    if n <= 0:
        return 0
    for i in range(poller.n_polled):
        if poller.polled[i].revents:
            poller.ready_streams[found] = poller.streams[i]
            poller.ready_generations[found] = poller.streams[i].generation
            poller.ready_bits[found] = ((poller.polled[i].revents & 0x1F)
                                        | ((poller.polled[i].revents >> 8) & PEER_SHUT))
            found += 1
            if found == EVENTS_MAX:
                break
    return found


cdef int poller_wait(Poller* poller, int timeout_ms) noexcept nogil:
    """How many events there are. -1 waits without end; a signal ends the wait early."""
    cdef int n
    if poller.kind == POLLER_EPOLL:
        n = <int> fl_syscall(SYS_epoll_pwait, poller.fd, <long> &poller.events[0], EVENTS_MAX,
                             timeout_ms, 0, 0)
        poller.n_ready = n if n > 0 else 0
    else:
        poller.n_ready = _poll_wait(poller, timeout_ms)
    return poller.n_ready


cdef int poller_wait_ns(Poller* poller, uint64_t timeout_ns) noexcept nogil:
    """The same for less than a millisecond, where the kernel can (Linux 5.11) and a sandbox lets
    it: else for a whole one."""
    cdef timespec timeout
    cdef int n = -ENOSYS
    if poller.kind == POLLER_EPOLL:
        timeout.tv_sec = <long> (timeout_ns // 1000000000)
        timeout.tv_nsec = <long> (timeout_ns % 1000000000)
        n = <int> fl_syscall(SYS_epoll_pwait2, poller.fd, <long> &poller.events[0], EVENTS_MAX,
                             <long> &timeout, 0, 0)
    if unlikely(n < 0 and n != -EINTR):
        return poller_wait(poller, <int> ((timeout_ns + 999999) // 1000000))
    poller.n_ready = n if n > 0 else 0
    return poller.n_ready
