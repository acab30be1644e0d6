# The table of UDP sessions, and the lists of those that no server has answered.
# Reads and writes Datagrams and Session; allocates the table and nothing else.
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from fastlb._core.base.batch cimport batch_close, batch_open
from fastlb._core.base.limits cimport SESSION_BUCKETS_MIN
from fastlb._core.base.parts cimport Address, Link
from fastlb._core.base.text cimport mix64
from fastlb._core.ext.atomic cimport fl_load32, fl_store32
from fastlb._core.ext.linux cimport AF_INET


cdef uint64_t address_key(const Address* address, uint64_t seed) noexcept nogil:
    """A hash of an IP address and its port, which nobody can foresee who doesn't know the seed."""
    cdef uint64_t[2] words
    if address.family == AF_INET:
        return mix64(seed ^ (<uint64_t> address.v4.sin_addr.s_addr << 16 | address.v4.sin_port))
    memcpy(words, &address.v6.sin6_addr, 16)
    return mix64(mix64(mix64(seed ^ words[0]) ^ words[1]) ^ address.v6.sin6_port)


cdef bint same_address(const Address* a, const Address* b) noexcept nogil:
    if a.family != b.family:
        return False
    if a.family == AF_INET:
        return a.v4.sin_addr.s_addr == b.v4.sin_addr.s_addr and a.v4.sin_port == b.v4.sin_port
    return a.v6.sin6_port == b.v6.sin6_port and a.v6.sin6_scope_id == b.v6.sin6_scope_id \
        and memcmp(&a.v6.sin6_addr, &b.v6.sin6_addr, 16) == 0


cdef bint is_server(const DatagramEntry* entry, const Address* address) noexcept nogil:
    """Whether it is the address of a server of the listener's pools."""
    cdef uint32_t place
    if entry.servers == NULL:
        return False
    place = <uint32_t> address_key(address, 0) & entry.mask
    while entry.servers[place] != NULL:         # (it is half empty)
        if same_address(<const Address*> entry.servers[place], address):
            return True
        place = (place + 1) & entry.mask
    return False


cdef void forget_port(int32_t* own_ports, Session* session) noexcept nogil:
    """Its socket is closed: who sends from that port is somebody else."""
    if session.own_port and fl_load32(&own_ports[session.own_port]) == session.own_mark:
        fl_store32(&own_ports[session.own_port], 0)
    session.own_port = 0


# --- the table ---

cdef bint datagrams_open(Datagrams* datagrams, uint64_t seed) noexcept nogil:
    """False when memory is gone; what is zeroed may be closed."""
    datagrams.seed = seed
    datagrams.mask = SESSION_BUCKETS_MIN - 1
    datagrams.waiting.prev = datagrams.waiting.next = &datagrams.waiting
    datagrams.places = <Session**> calloc(SESSION_BUCKETS_MIN, sizeof(Session*))
    return datagrams.places != NULL and batch_open(&datagrams.incoming, True) \
        and batch_open(&datagrams.answers, False)


cdef void datagrams_close(Datagrams* datagrams) noexcept nogil:
    batch_close(&datagrams.incoming)
    batch_close(&datagrams.answers)
    free(datagrams.places)
    datagrams.places = NULL


cdef Session* session_at(const Datagrams* datagrams, uint64_t key) noexcept nogil:
    """The first of those in one place of the table; who looks compares."""
    return datagrams.places[key & datagrams.mask]


cdef void _grow(Datagrams* datagrams) noexcept nogil:
    """Twice the places; without memory it goes on with those there are."""
    cdef uint32_t size = (datagrams.mask + 1) * 2, i
    cdef Session** places = <Session**> calloc(size, sizeof(Session*))
    cdef Session* session
    cdef Session* following
    if places == NULL:
        return
    for i in range(datagrams.mask + 1):
        session = datagrams.places[i]
        while session != NULL:
            following = session.next
            session.next = places[session.key & (size - 1)]
            places[session.key & (size - 1)] = session
            session = following
    free(datagrams.places)
    datagrams.places = places
    datagrams.mask = size - 1


cdef void session_list(Datagrams* datagrams, Session* session) noexcept nogil:
    cdef Session** place
    if datagrams.n_sessions > datagrams.mask:
        _grow(datagrams)
    place = &datagrams.places[session.key & datagrams.mask]
    session.next = place[0]
    place[0] = session
    session.flags |= SESSION_LISTED
    datagrams.n_sessions += 1


cdef void session_unlist(Datagrams* datagrams, Session* session) noexcept nogil:
    cdef Session** place = &datagrams.places[session.key & datagrams.mask]
    if not session.flags & SESSION_LISTED:
        return
    while place[0] != session:
        place = &place[0].next
    place[0] = session.next
    session.flags &= <unsigned char> ~SESSION_LISTED
    datagrams.n_sessions -= 1


# --- without an answer ---

cdef void _append(Link* waiting, Waiting* one, Session* session) noexcept nogil:
    one.session = session
    one.link.prev = waiting.prev
    one.link.next = waiting
    waiting.prev.next = &one.link
    waiting.prev = &one.link


cdef void _take_out(Waiting* one) noexcept nogil:
    one.link.prev.next = one.link.next
    one.link.next.prev = one.link.prev
    one.link.next = NULL


cdef void session_wait(Datagrams* datagrams, Link* here, Session* session) noexcept nogil:
    """It is the newest of those that no server has answered. `here`: of its listener's socket."""
    _append(&datagrams.waiting, &session.waiting, session)
    _append(here, &session.waiting_here, session)


cdef void session_heard(Session* session) noexcept nogil:
    """It has an answer, or ends."""
    if session.waiting.link.next != NULL:
        _take_out(&session.waiting)
        _take_out(&session.waiting_here)


cdef Session* session_oldest(const Link* waiting) noexcept nogil:
    """The oldest session without an answer, or NULL. A session that has a datagram in the batch at
    hand is passed over: there are no more of these than slots."""
    cdef const Link* link = waiting.next
    cdef Session* session
    while link != waiting:
        session = <Session*> (<const Waiting*> link).session
        if session.first == 0:
            return session
        link = link.next
    return NULL
