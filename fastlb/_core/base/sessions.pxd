# Sessions of UDP: what an exchange of datagrams has beside its sockets, and the table that finds it
# by who sends.
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t, uint8_t

from fastlb._core.base.batch cimport Batch, Local, Sending
from fastlb._core.base.limits cimport LISTENING_BUCKETS
from fastlb._core.base.parts cimport Address, Link, ServerAddress
from fastlb._core.base.text cimport mix64
from fastlb._core.ext.atomic cimport likely, unlikely

cdef enum SessionFlag:
    SESSION_ANSWERED = 1        # its server has said something
    SESSION_APART = 2           # datagrams can't travel as one on the way to its server
    SESSION_GATHERS = 4         # its server's may come as one
    SESSION_TRIAL = 8           # its server had failed, and it finds out whether it is back
    SESSION_LISTED = 16         # in the table
    SESSION_ASKED = 32          # its client has said something since its server last did

cdef enum SessionKind:          # what datagrams are of one session
    SESSION_CLIENT = 0          # those of a client
    SESSION_PAIR = 1            # those of a client that go to one server: each is decided about
    SESSION_QUERY = 2           # one, and its answer
    SESSION_SERVER = 3          # all that go to one server: there are no answers

# What a drop is counted as.
cdef enum Drop:
    DROP_SESSIONS = 0           # there are max_sessions
    DROP_SOURCE = 1             # max_sessions_per_source
    DROP_LOOP = 2               # it came from ourselves
    DROP_SERVER = 3             # it came from a server that nobody had asked
    DROP_NO_SERVER = 4          # there was none to be had
    DROP_TO_SERVER = 5          # it couldn't be sent
    DROP_TO_CLIENT = 6          # an answer couldn't
    DROP_UNASKED = 7            # an answer that nobody waits for
    DROP_POLICY = 8             # its policy had it dropped, or failed, or is still at work
    DROP_STOPPING = 9           # its listener is about to go
    DROP_PROXY = 10             # its header of the PROXY protocol is missing, or nobody's to send
    DROP_DENIED = 11            # by a list of networks
    DROP_SOURCE_RATE = 12       # max_session_rate_per_source

cdef struct Waiting:            # a session in a list of those without an answer, the oldest first
    Link link                   # first
    void* session               # Session*

cdef struct Session:
    void* exchange              # Exchange*
    void* acceptor              # Acceptor*: whose socket answers leave by
    Session* next               # in the same place of the table
    Session* touched            # the next one that has got something in this batch
    uint64_t key
    const void* towards         # ServerLive*: part of what it is found by, or NULL
    uint32_t first              # slot + 1 of what waits to be sent to its server; 0: nothing
    uint32_t last
    uint8_t flags
    uint8_t kind
    uint16_t own_port           # that it sends to its server from; 0: none
    int32_t own_mark            # see LiveTable.own_ports
    Local local
    Address sender              # who gets the answers: the client, or the proxy that told of it
    uint8_t* header             # of the PROXY protocol, to the server; NULL: none
    uint32_t header_size
    Waiting waiting             # among all of its engine's that no server has answered, and
    Waiting waiting_here        # among those of its listener's socket

cdef struct Datagrams:          # what an engine has for udp
    Batch incoming              # from clients
    Batch answers
    Sending sending
    Session** places            # the table
    uint32_t mask
    uint32_t n_sessions         # in it
    uint64_t seed
    Session* touched
    uint64_t look_ns            # when to look at a listener that rests; 0: none does
    Link waiting                # Waiting: sessions that no server has answered
    void* listening[LISTENING_BUCKETS]      # Acceptor*, by port

cdef struct DatagramEntry:      # what a bind says of it; part of a snapshot
    uint8_t kind                # SessionKind
    uint8_t moves               # to another server, when its own is down
    uint16_t closing_timer      # slot
    uint32_t coalesce_ns        # how long a listener rests after datagrams; 0: it doesn't
    int32_t receive_buffer      # bytes, of each session's socket too
    int32_t source_max          # sessions of one source; 0: no limit
    ServerAddress** servers     # a hash table of those of its pools
    uint32_t mask


cdef uint64_t address_key(const Address* address, uint64_t seed) noexcept nogil


cdef inline uint64_t session_key(const Datagrams* datagrams, uint32_t bind, const Address* peer,
                                 const Address* client, const void* towards) noexcept nogil:
    """`peer`: who sends; `client`: the same, or whom it sends for. All three may be NULL."""
    cdef uint64_t seed = datagrams.seed ^ <uint64_t> bind << 48
    cdef uint64_t key
    if peer == NULL:
        return mix64(seed ^ <size_t> towards)
    key = address_key(peer, seed)
    if unlikely(client != peer):
        key ^= address_key(client, ~seed)
    return key if likely(towards == NULL) else key ^ mix64(<size_t> towards)


cdef bint same_address(const Address* a, const Address* b) noexcept nogil
cdef bint is_server(const DatagramEntry* entry, const Address* address) noexcept nogil
cdef void forget_port(int32_t* own_ports, Session* session) noexcept nogil
cdef bint datagrams_open(Datagrams* datagrams, uint64_t seed) noexcept nogil
cdef void datagrams_close(Datagrams* datagrams) noexcept nogil
cdef Session* session_at(const Datagrams* datagrams, uint64_t key) noexcept nogil
cdef void session_list(Datagrams* datagrams, Session* session) noexcept nogil
cdef void session_unlist(Datagrams* datagrams, Session* session) noexcept nogil
cdef void session_wait(Datagrams* datagrams, Link* here, Session* session) noexcept nogil
cdef void session_heard(Session* session) noexcept nogil
cdef Session* session_oldest(const Link* waiting) noexcept nogil
