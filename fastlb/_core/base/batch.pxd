# Datagrams in bulk: received many with one system call, and sent many with one. Those that follow
# each other to one place, and are equally long, travel as one through the kernel (UDP_SEGMENT), and
# may come as one (UDP_GRO).
from libc.errno cimport ECONNREFUSED, EHOSTUNREACH, ENETUNREACH
from libc.stdint cimport uint16_t, uint32_t, uint8_t

from fastlb._core.base.limits cimport CONTROL_BYTES, DATAGRAMS_MAX
from fastlb._core.base.parts cimport Address
from fastlb._core.ext.atomic cimport unlikely
from fastlb._core.ext.linux cimport iovec, mmsghdr

cdef struct Local:              # where a datagram came to, and its answers come from
    uint16_t family             # 0: as the socket says
    uint8_t[20] info            # in_pktinfo or in6_pktinfo

cdef struct Batch:              # slots, of a datagram each, or of some that came as one
    uint32_t n                  # slots in use
    uint8_t* bytes              # DATAGRAM_ROOM for each
    uint8_t[DATAGRAMS_MAX * CONTROL_BYTES] controls
    mmsghdr[DATAGRAMS_MAX] messages
    iovec[DATAGRAMS_MAX] places
    Address[DATAGRAMS_MAX] peers
    Local[DATAGRAMS_MAX] locals
    uint32_t[DATAGRAMS_MAX] sizes
    uint32_t[DATAGRAMS_MAX] segments    # the size of all but the last of those in it; 0: it is one
    uint32_t[DATAGRAMS_MAX] next        # incoming: slot + 1 of the same session; 0: it is the last
    uint32_t[DATAGRAMS_MAX] headers     # incoming: bytes of the PROXY protocol before what is told
    uint8_t[DATAGRAMS_MAX] is_told      # incoming: they say who the client is:
    Address[DATAGRAMS_MAX] clients
    uint8_t[DATAGRAMS_MAX] follows      # answers: it is of the same session as the one before it
    void* owners[DATAGRAMS_MAX]         # answers: Acceptor*, by which they leave

cdef struct Sending:            # messages of one system call
    uint32_t n
    uint32_t n_parts
    uint8_t[DATAGRAMS_MAX * CONTROL_BYTES] controls     # (behind what is aligned)
    mmsghdr[DATAGRAMS_MAX] messages
    iovec[DATAGRAMS_MAX] parts
    uint32_t[DATAGRAMS_MAX] counts      # datagrams of each message
    uint32_t[DATAGRAMS_MAX] segments    # as in Batch


cdef inline uint8_t* batch_bytes(const Batch* batch, uint32_t slot) noexcept nogil:
    return <uint8_t*> batch.places[slot].iov_base


cdef inline const Address* batch_client(const Batch* batch, uint32_t slot) noexcept nogil:
    """Whom what is in a slot is from, as it seems, or as a proxy told."""
    if unlikely(batch.is_told[slot]):
        return &batch.clients[slot]
    return &batch.peers[slot]


cdef inline uint32_t batch_count(const Batch* batch, uint32_t slot) noexcept nogil:
    """How many datagrams a slot has."""
    cdef uint32_t segment = batch.segments[slot]
    return (batch.sizes[slot] + segment - 1) // segment if segment else 1


cdef inline bint is_gone(long error) noexcept nogil:
    """Whether a -errno says that nobody is where datagrams go to."""
    return error == -ECONNREFUSED or error == -EHOSTUNREACH or error == -ENETUNREACH


cdef bint batch_open(Batch* batch, bint from_anyone) noexcept nogil
cdef void batch_close(Batch* batch) noexcept nogil
cdef void batch_cut(Batch* batch, uint32_t n) noexcept nogil
cdef int batch_receive(Batch* batch, int fd, uint32_t room) noexcept nogil
cdef int batch_receive_one(Batch* batch, int fd) noexcept nogil
cdef void sending_put(Sending* out, const Batch* batch, uint32_t slot, const Address* to,
                      const Local* local, bint gather) noexcept nogil
cdef int sending_flush(Sending* out, int fd, uint32_t* lost, bint* whole) noexcept nogil
