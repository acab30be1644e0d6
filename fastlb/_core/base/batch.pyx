# Datagrams in bulk: receive many with one system call, and send many with one.
# Reads sockets into a Batch, and writes what a Sending gathers: equally long datagrams to one place
# travel as one segment (UDP_SEGMENT). Results are counts, or -errno.
from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE
from libc.stdint cimport uint16_t, uint32_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastlb._core.base.limits cimport (
    CONTROL_BYTES, DATAGRAMS_MAX, DATAGRAM_BYTES, DATAGRAM_ROOM, SEGMENTED_BYTES_MAX, SEGMENTS_SENT,
)
from fastlb._core.base.parts cimport Address
from fastlb._core.ext.atomic cimport fl_syscall, likely, unlikely
from fastlb._core.ext.linux cimport (
    AF_INET, AF_INET6, CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_NXTHDR, CMSG_SPACE, IPPROTO_IP,
    IPPROTO_IPV6, IPV6_PKTINFO, IP_PKTINFO, MSG_DONTWAIT, MSG_NOSIGNAL, SOL_UDP, SYS_recvfrom,
    SYS_recvmmsg, SYS_sendmmsg, SYS_sendmsg, UDP_GRO, UDP_SEGMENT, cmsghdr, in6_pktinfo, in_pktinfo,
    iovec, msghdr, sockaddr_in, sockaddr_in6,
)


cdef void _offer(Batch* batch, uint32_t slot) noexcept nogil:
    """What the kernel writes over, and who takes a header off."""
    cdef msghdr* header = &batch.messages[slot].msg_hdr
    header.msg_namelen = sizeof(Address) if header.msg_name != NULL else 0
    header.msg_controllen = CONTROL_BYTES
    batch.places[slot].iov_base = batch.bytes + <size_t> slot * DATAGRAM_ROOM
    batch.headers[slot] = 0
    batch.is_told[slot] = False


cdef bint batch_open(Batch* batch, bint from_anyone) noexcept nogil:
    """False when memory is gone. Pages of it are taken as longer datagrams come. `from_anyone`: who
    sent them, and where to, is wanted."""
    cdef uint32_t i
    batch.n = 0
    batch.bytes = <uint8_t*> malloc(<size_t> DATAGRAMS_MAX * DATAGRAM_ROOM)
    if batch.bytes == NULL:
        return False
    memset(batch.messages, 0, sizeof(batch.messages))
    for i in range(<uint32_t> DATAGRAMS_MAX):
        batch.places[i].iov_len = DATAGRAM_BYTES
        batch.messages[i].msg_hdr.msg_iov = &batch.places[i]
        batch.messages[i].msg_hdr.msg_iovlen = 1
        batch.messages[i].msg_hdr.msg_control = &batch.controls[i * CONTROL_BYTES]
        if from_anyone:
            batch.messages[i].msg_hdr.msg_name = &batch.peers[i]
        _offer(batch, i)
    return True


cdef void batch_close(Batch* batch) noexcept nogil:
    free(batch.bytes)
    batch.bytes = NULL


cdef void _read_controls(Batch* batch, uint32_t slot) noexcept nogil:
    """What the kernel says beside a datagram's bytes."""
    cdef msghdr* header = &batch.messages[slot].msg_hdr
    cdef cmsghdr* control = CMSG_FIRSTHDR(header)
    cdef int segment = 0
    while control != NULL:
        if control.cmsg_level == SOL_UDP and control.cmsg_type == UDP_GRO:
            memcpy(&segment, CMSG_DATA(control), sizeof(int))
            if 0 < segment and <uint32_t> segment < batch.sizes[slot]:
                batch.segments[slot] = <uint32_t> segment
        elif control.cmsg_level == IPPROTO_IP and control.cmsg_type == IP_PKTINFO:
            batch.locals[slot].family = AF_INET
            memcpy(batch.locals[slot].info, CMSG_DATA(control), sizeof(in_pktinfo))
        elif control.cmsg_level == IPPROTO_IPV6 and control.cmsg_type == IPV6_PKTINFO:
            batch.locals[slot].family = AF_INET6
            memcpy(batch.locals[slot].info, CMSG_DATA(control), sizeof(in6_pktinfo))
        control = CMSG_NXTHDR(header, control)


cdef void batch_cut(Batch* batch, uint32_t n) noexcept nogil:
    """All slots but the first `n` are free again."""
    cdef uint32_t i
    for i in range(n, batch.n):
        _offer(batch, i)
    batch.n = n


cdef int batch_receive(Batch* batch, int fd, uint32_t room) noexcept nogil:
    """Receive into at most `room` free slots, as there are: how many, 0 if nothing has come, or
    -errno."""
    cdef uint32_t first = batch.n, i
    cdef int n
    if room > DATAGRAMS_MAX - first:
        room = DATAGRAMS_MAX - first
    n = <int> fl_syscall(SYS_recvmmsg, fd, <long> &batch.messages[first], room, MSG_DONTWAIT, 0, 0)
    if n <= 0:
        return 0 if n == -EAGAIN or n == -EINTR else n
    for i in range(first, first + <uint32_t> n):
        batch.sizes[i] = batch.messages[i].msg_len
        batch.segments[i] = 0
        batch.next[i] = 0
        batch.locals[i].family = 0
        if unlikely(batch.messages[i].msg_hdr.msg_controllen != 0):
            _read_controls(batch, i)
    batch.n += <uint32_t> n
    return n


cdef int batch_receive_one(Batch* batch, int fd) noexcept nogil:
    """The same of one datagram, on a socket that doesn't gather, in two thirds of the time. There
    is a free slot."""
    cdef uint32_t slot = batch.n
    cdef long n = fl_syscall(SYS_recvfrom, fd, <long> batch.places[slot].iov_base, DATAGRAM_BYTES,
                             MSG_DONTWAIT, 0, 0)
    if n < 0:
        return 0 if n == -EAGAIN or n == -EINTR else <int> n
    batch.sizes[slot] = <uint32_t> n
    batch.segments[slot] = 0
    batch.locals[slot].family = 0
    batch.n += 1
    return 1


# --- sending ---

cdef void _put_control(msghdr* header, int level, int type, const void* data,
                       size_t size) noexcept nogil:
    cdef cmsghdr* control = <cmsghdr*> (<uint8_t*> header.msg_control + header.msg_controllen)
    control.cmsg_len = CMSG_LEN(size)
    control.cmsg_level = level
    control.cmsg_type = type
    memcpy(CMSG_DATA(control), data, size)
    header.msg_controllen += CMSG_SPACE(size)


cdef void _put_local(msghdr* header, const Local* local) noexcept nogil:
    """Let it leave from the address that the client knows."""
    cdef in_pktinfo info
    if local.family == AF_INET:
        memcpy(&info, local.info, sizeof(info))
        info.ipi_ifindex = 0            # (the way back may be another)
        _put_control(header, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info))
    elif local.family == AF_INET6:
        _put_control(header, IPPROTO_IPV6, IPV6_PKTINFO, local.info, sizeof(in6_pktinfo))


cdef bint _joins(const Sending* out, uint32_t i, uint32_t size) noexcept nogil:
    """Whether a datagram can travel with those of the last message, to the same place."""
    cdef uint32_t segment = out.segments[i]
    cdef uint32_t count = out.counts[i]
    # (all are as long as the first, so that they end with the first that is shorter)
    return (size <= segment and size > 0
            and out.parts[out.n_parts - 1].iov_len == segment and count < SEGMENTS_SENT
            and out.messages[i].msg_hdr.msg_iovlen == count
            and (count + 1) * segment <= SEGMENTED_BYTES_MAX)


cdef void sending_put(Sending* out, const Batch* batch, uint32_t slot, const Address* to,
                      const Local* local, bint gather) noexcept nogil:
    """Add a slot to what is sent next; there is room for it. `to`: NULL where the socket knows.
    `gather`: it goes where the one before it does, and may travel with that."""
    cdef uint32_t size = batch.sizes[slot]
    cdef uint32_t i = out.n
    cdef msghdr* header
    if gather and i and not batch.segments[slot] and _joins(out, i - 1, size):
        out.messages[i - 1].msg_hdr.msg_iovlen += 1
        out.counts[i - 1] += 1
    else:
        header = &out.messages[i].msg_hdr
        header.msg_name = <void*> to
        header.msg_namelen = 0
        if to != NULL:
            header.msg_namelen = sizeof(sockaddr_in) if to.family == AF_INET \
                else sizeof(sockaddr_in6)
        header.msg_iov = &out.parts[out.n_parts]
        header.msg_iovlen = 1
        header.msg_control = &out.controls[i * CONTROL_BYTES]
        header.msg_controllen = 0
        header.msg_flags = 0
        if unlikely(local != NULL and local.family != 0):
            _put_local(header, local)
        out.segments[i] = batch.segments[slot] if batch.segments[slot] else size
        out.counts[i] = batch_count(batch, slot)
        out.n += 1
    out.parts[out.n_parts].iov_base = batch_bytes(batch, slot)
    out.parts[out.n_parts].iov_len = size
    out.n_parts += 1


cdef void _mark_segments(Sending* out) noexcept nogil:
    cdef uint16_t segment
    cdef uint32_t i
    for i in range(out.n):
        if unlikely(out.counts[i] > 1):
            segment = <uint16_t> out.segments[i]
            _put_control(&out.messages[i].msg_hdr, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment))


cdef uint32_t _send_apart(int fd, const msghdr* header, uint32_t segment) noexcept nogil:
    """What can't travel as one here, one by one: how many of them couldn't be sent."""
    cdef msghdr each = header[0]
    cdef iovec piece
    cdef uint32_t lost = 0
    cdef size_t k, at, left
    each.msg_iov = &piece
    each.msg_iovlen = 1
    each.msg_controllen -= CMSG_SPACE(sizeof(uint16_t))     # (UDP_SEGMENT came last)
    for k in range(header.msg_iovlen):
        at = 0
        while at < header.msg_iov[k].iov_len:
            left = header.msg_iov[k].iov_len - at
            piece.iov_base = <uint8_t*> header.msg_iov[k].iov_base + at
            piece.iov_len = left if left < segment else segment
            if fl_syscall(SYS_sendmsg, fd, <long> &each, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0, 0) < 0:
                lost += 1
            at += piece.iov_len
    return lost


cdef int sending_flush(Sending* out, int fd, uint32_t* lost, bint* whole) noexcept nogil:
    """Send all: 0; or, on a connected socket, the -errno that says that nobody is there, where the
    rest wasn't sent. What couldn't be sent for other reasons is lost, and counted. `whole` becomes
    False where what travels as one has to be sent apart."""
    cdef uint32_t done = 0, i
    cdef int n
    _mark_segments(out)
    while done < out.n:
        n = <int> fl_syscall(SYS_sendmmsg, fd, <long> &out.messages[done], out.n - done,
                             MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0)
        if likely(n > 0):
            done += <uint32_t> n
            continue
        if n == -EINTR:
            continue
        if is_gone(n) and out.messages[done].msg_hdr.msg_name == NULL:
            out.n = out.n_parts = 0
            return n
        if out.counts[done] > 1 and (n == -EINVAL or n == -EMSGSIZE or n == -EIO):
            whole[0] = False
            lost[0] += _send_apart(fd, &out.messages[done].msg_hdr, out.segments[done])
        elif n == -EAGAIN:              # its queue is full: there is no use in going on
            for i in range(done, out.n):
                lost[0] += out.counts[i]
            break
        else:
            lost[0] += out.counts[done]
        done += 1
    out.n = out.n_parts = 0
    return 0
