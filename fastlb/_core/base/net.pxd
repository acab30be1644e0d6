# System calls on sockets, as the stages need them. Every result is a count, or -errno.
from libc.errno cimport EAGAIN, EINPROGRESS, errno
from libc.stdint cimport uint16_t, uint32_t, uint8_t
from libc.string cimport memcpy, memset

from fastlb._core.base.address cimport address_plain
from fastlb._core.base.enums cimport STREAM_CAUTIOUS, STREAM_OWN_NODELAY, STREAM_TUNED
from fastlb._core.base.parts cimport Address, Keepalive, ServerAddress
from fastlb._core.base.types cimport Stream
from fastlb._core.ext.atomic cimport fl_syscall
from fastlb._core.ext.linux cimport (
    AF_INET, AF_INET6, F_DUPFD_CLOEXEC, INET6_ADDRSTRLEN, IPPROTO_TCP, MSG_DONTWAIT, MSG_MORE,
    MSG_NOSIGNAL, MSG_PEEK, SHUT_RDWR, SHUT_WR, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK,
    SOCK_STREAM, SOL_SOCKET, SOL_UDP, SO_ERROR, SO_KEEPALIVE, SO_LINGER, SO_OOBINLINE, SO_RCVBUF,
    SO_RCVBUFFORCE, SO_RCVLOWAT, SO_SNDBUF, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_NODELAY,
    UDP_GRO, SYS_accept4, SYS_close, SYS_connect, SYS_recvfrom, SYS_sendmsg, SYS_sendto, fcntl,
    getsockname, getsockopt, inet_ntop, iovec, linger, msghdr, ntohs, setsockopt, shutdown,
    sockaddr, socket, socklen_t,
)


cdef inline void net_close(int fd) noexcept nogil:
    fl_syscall(SYS_close, fd, 0, 0, 0, 0, 0)


cdef inline int net_accept(int fd, Address* peer) noexcept nogil:
    cdef socklen_t size = sizeof(Address)
    cdef int client
    peer.family = 0
    client = <int> fl_syscall(SYS_accept4, fd, <long> peer, <long> &size,
                              SOCK_NONBLOCK | SOCK_CLOEXEC, 0, 0)
    address_plain(peer)
    return client


cdef inline int net_connect(const ServerAddress* to, socklen_t size) noexcept nogil:
    """Start connecting: a descriptor, or -errno. Unix sockets connect at once or not at all."""
    cdef int fd = socket(to.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    cdef int error
    if fd < 0:
        return -errno
    error = <int> fl_syscall(SYS_connect, fd, <long> to, size, 0, 0, 0)
    if error < 0 and error != -EINPROGRESS:
        net_close(fd)
        return error
    return fd


cdef inline int net_connect_datagrams(const ServerAddress* to, socklen_t size) noexcept nogil:
    """A socket for datagrams to a server and from it alone: a descriptor, or -errno."""
    cdef int fd = socket(to.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    cdef int error
    if fd < 0:
        return -errno
    error = <int> fl_syscall(SYS_connect, fd, <long> to, size, 0, 0, 0)
    if error < 0:
        net_close(fd)
        return error
    return fd


cdef inline long net_write_parts(int fd, const void* first, size_t first_size, const void* second,
                                 size_t second_size) noexcept nogil:
    """One datagram of two parts."""
    cdef iovec[2] parts
    cdef msghdr header
    memset(&header, 0, sizeof(header))
    parts[0].iov_base = <void*> first
    parts[0].iov_len = first_size
    parts[1].iov_base = <void*> second
    parts[1].iov_len = second_size
    header.msg_iov = parts
    header.msg_iovlen = 2
    return fl_syscall(SYS_sendmsg, fd, <long> &header, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0, 0)


cdef inline int net_copy(int fd) noexcept nogil:
    """Another descriptor of the same socket, or -1."""
    return fcntl(fd, F_DUPFD_CLOEXEC, 0)


cdef inline long net_write_datagram(int fd, const void* data, size_t size) noexcept nogil:
    return fl_syscall(SYS_sendto, fd, <long> data, size, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0)


cdef inline void net_deepen(int fd, int size) noexcept nogil:
    """Room for what waits to be read: as much as wanted for root, and else as the kernel allows."""
    if setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0:
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size))


cdef inline void net_shrink(int fd) noexcept nogil:
    """Room for as little as possible of what waits to be read: 2 KiB or so, socket(7)."""
    cdef int size = 0
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size))


cdef inline void net_gather(int fd) noexcept nogil:
    """Datagrams of one length that follow each other may be read as one (UDP_GRO)."""
    cdef int one = 1
    setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof(one))


cdef inline void net_tune(Stream* s, const Keepalive* keepalive) noexcept nogil:
    """The options that matter only from a connection's second write on.

    Nagle holds back a small write only while an earlier one is unacknowledged, so the first never
    waits: a connection that carries one request saves these calls.
    """
    cdef int one = 1
    s.flags |= STREAM_TUNED
    if s.flags & STREAM_OWN_NODELAY:
        setsockopt(s.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    if keepalive.idle_s:
        setsockopt(s.fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one))
        setsockopt(s.fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive.idle_s, sizeof(int))
        setsockopt(s.fd, IPPROTO_TCP, TCP_KEEPINTVL, &keepalive.interval_s, sizeof(int))
        setsockopt(s.fd, IPPROTO_TCP, TCP_KEEPCNT, &keepalive.count, sizeof(int))


cdef inline void net_urgent(Stream* s) noexcept nogil:
    """Urgent data (RFC 9293, 3.8.5) travels in line, and reads stop at its mark: be cautious."""
    cdef int one = 1
    s.flags |= STREAM_CAUTIOUS
    setsockopt(s.fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one))


cdef inline ssize_t net_read(int fd, void* into, size_t size) noexcept nogil:
    return fl_syscall(SYS_recvfrom, fd, <long> into, size, 0, 0, 0)


cdef inline ssize_t net_write(int fd, const void* data, size_t size, bint more) noexcept nogil:
    """`more`: a FIN follows at once, so let it travel in the same segment."""
    return fl_syscall(SYS_sendto, fd, <long> data, size,
                      MSG_NOSIGNAL | (MSG_MORE if more else 0), 0, 0)


cdef inline void net_shut(int fd) noexcept nogil:
    shutdown(fd, SHUT_WR)


cdef inline void net_widen(int fd) noexcept nogil:
    """Room for some more bytes in a socket's buffer for writing."""
    cdef int size = 0
    cdef socklen_t got = sizeof(size)
    getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &got)      # (what is set is doubled)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size))


cdef inline void net_reset_on_close(int fd) noexcept nogil:
    """Make the coming close send an RST instead of a FIN (SO_LINGER with zero seconds)."""
    cdef linger option
    option.l_onoff = 1
    option.l_linger = 0
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &option, sizeof(option))


cdef inline void net_shut_both(int fd) noexcept nogil:
    shutdown(fd, SHUT_RDWR)


cdef inline ssize_t net_peek(int fd, void* into, size_t size) noexcept nogil:
    """What can be read, and stays to be read; -errno."""
    return fl_syscall(SYS_recvfrom, fd, <long> into, size, MSG_PEEK | MSG_DONTWAIT, 0, 0)


cdef inline void net_hold(int fd, uint32_t size) noexcept nogil:
    """Be told of what can be read only when so many bytes are here, or the end; 1: of any. Sockets
    of Unix know nothing of it (SO_RCVLOWAT)."""
    cdef int n = <int> size
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &n, sizeof(n))


cdef inline bint net_is_quiet(int fd) noexcept nogil:
    """Whether a connection is open and has nothing to say."""
    cdef char byte
    return net_peek(fd, &byte, 1) == -EAGAIN


cdef inline uint16_t address_port(const Address* address) noexcept nogil:
    """0 of a unix socket."""
    if address.family == AF_INET:
        return ntohs(address.v4.sin_port)
    if address.family == AF_INET6:
        return ntohs(address.v6.sin6_port)
    return 0


cdef inline uint8_t address_text(const Address* address, char* into) noexcept nogil:
    """Write an address without its port, in INET6_ADDRSTRLEN bytes at most: how long it is."""
    cdef uint8_t size = 0
    if address.family == AF_INET:
        inet_ntop(AF_INET, &address.v4.sin_addr, into, INET6_ADDRSTRLEN)
    elif address.family == AF_INET6:
        inet_ntop(AF_INET6, &address.v6.sin6_addr, into, INET6_ADDRSTRLEN)
    else:
        memcpy(into, <const char*> b"unix:", 6)
    while into[size]:
        size += 1
    return size


cdef inline void net_local(int fd, Address* address) noexcept nogil:
    """The address that a socket has on this side."""
    cdef socklen_t size = sizeof(Address)
    address.family = 0
    getsockname(fd, <sockaddr*> address, &size)
    address_plain(address)


cdef inline int net_error(int fd) noexcept nogil:
    """The pending error of a socket (errno), or 0."""
    cdef int error = 0
    cdef socklen_t size = sizeof(error)
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size)
    return error
