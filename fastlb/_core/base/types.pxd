# The structs of the core that refer to each other, and no function. A Core owns its exchanges,
# chunks and acceptors; an exchange its streams and their pending chunks; a Snapshot its binds,
# pools and servers, and never changes. What is named *Live is of all engines, outliving snapshots.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastlb._core.base.access cimport Access
from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.gate cimport Gate
from fastlb._core.base.head cimport Body, Head, Members, Text
from fastlb._core.base.limits cimport (
    CHUNK_CLASSES, ENGINES_MAX, EVENTS_MAX, GROUPS_MAX, H2_KNOWN_BYTES, KEY_BYTES_MAX, LOAD_STEPS,
    PRIORITIES, TIMER_SLOTS_MAX, TRIES_MAX,
)
from fastlb._core.base.live cimport ListenerLive, LiveTable
from fastlb._core.base.observations cimport Histogram
from fastlb._core.base.parts cimport (
    Address, Books, Budget, Chunk, Counters, Delays, Filtering, Frames, Hedge, Keepalive, Link,
    Outliers, Pace, Pipe, PoolKeys, ProbePool, Proxied, ProxyEntry, RingPoint, ServerAddress,
    ServerCounters, Speeds, Sticky, Throttle, Timer, TimerList, TlsEntry, Window,
)
from fastlb._core.base.places cimport Nearest
from fastlb._core.base.questions cimport Cached
from fastlb._core.base.routing cimport (
    Decision, EditList, HttpEntry, Match, Opening, Policy, Reply, Retry, Route, SniffTable,
)
from fastlb._core.base.sessions cimport DatagramEntry, Datagrams, Session
from fastlb._core.base.sources cimport Sources
from fastlb._core.ext.linux cimport epoll_event, pollfd

cdef struct Exchange
cdef struct Upstream
cdef struct Http
cdef struct H2
cdef struct Stream
cdef struct ServerLive

cdef struct H2Stream:           # one request of HTTP/2, as the text of HTTP/1.1 that it stands for
    int32_t id                  # 0: not yet known
    uint32_t flags              # H2Flag
    void* core                  # Core*
    H2* h2                      # NULL: its connection has ended before its exchange has read it all
    Stream* stream              # an exchange's; NULL: that has ended
    Chunk* input                # for the exchange to read: a head's text, then a body as it is
    Chunk* last                 # of several that are `input`; NULL: there is one, or none
    Chunk* output               # that it has written
    Chunk* cookies              # of a request, while its head isn't whole
    Chunk* trailers             # of the answer, a line each
    uint32_t[4] pseudo_at       # in `output`, while the head isn't whole: see h2/text
    uint32_t[4] pseudo_size
    uint32_t head_bytes         # that have come, as RFC 9113, 6.5.2 counts
    uint32_t text_left          # of `input`: bytes that are no body
    uint32_t ahead              # bytes of `output` beyond what each stream may hold
    uint32_t consumed           # bytes of a body that were read, and the peer is to be told of
    uint32_t why, extra         # its connection ended: Reason; bytes that its window has grown by
    Window window
    uint64_t left, answered_ms  # to a server: bytes to go; when all was answered too early, or 0
    H2Stream* prev              # of the connection
    H2Stream* next
    H2Stream* next_look         # among those that the session has to hear of

cdef struct H2:                 # a connection of HTTP/2, of a client or to a server
    void* core                  # Core*
    void* session               # nghttp2_session*; NULL: it is being made
    Exchange* carrier
    Stream* socket              # of the carrier
    H2Stream* streams
    H2Stream* look              # see H2Stream.next_look
    uint32_t n_streams, n_exchanges     # and those of streams that have one
    uint32_t n_open, n_holding  # streams that count for the most there may be, or have H2_HOLDS
    uint32_t head_bytes, ahead  # of a client's requests, and of all streams
    uint32_t n_bad, updates_owed        # frames that are counted; WINDOW_UPDATEs that are not
    uint32_t useless, untaken   # bytes: part of nothing, of late; of bodies that are still here
    uint64_t bad_second, early_ms       # that n_bad counts for; of its streams' answered_ms, or 0
    uint8_t inside              # a step of the carrier: it needs not be queued
    uint8_t leaving, gone       # nobody joins it any more; nothing new is sent: GOAWAY was said
    uint8_t noticed             # a client has been told that it is to go; H2_HEARD: and knows
    uint8_t moved, half_closed  # of a body, since the last step; a client sends nothing more
    uint8_t is_ready, is_idle   # the peer has said what it allows; it is counted as one that waits
    uint8_t told, failed        # our settings have gone; memory is gone, and so is what it knows
    uint8_t awaits_head         # of a client: the timer runs until its settings or a head are whole
    uint8_t frame_kind, head_is_open    # of the last frame; its head goes on in the next one
    uint16_t linger_timer, header_timer, stall_timer    # slots, of a client
    Timer stall                 # runs while streams may hold what their client doesn't take
    uint64_t received, framed   # bytes from the peer, and of all frames that have begun
    uint32_t heads, head_timed  # that have begun, and the one that the timer runs for
    int32_t last_id             # of a client: its latest stream
    uint8_t[H2_KNOWN_BYTES] begun       # of its latest streams, a bit each: it has begun it,
    uint8_t[H2_KNOWN_BYTES] ended       # and may send nothing more for it
    Window window
    uint32_t window_base, window_max, extra     # at first; may grow by; streams' have grown by
    uint8_t pinging             # our settings or a PING that measures are under way
    uint64_t asked_ns, rtt_ns   # since when, and until the peer has answered; 0: not known
    ServerLive* target          # whom it goes to; NULL: it is a client's
    uint32_t tls_id             # of the TlsEntry that it was made with; 0: plain
    uint32_t streams_max        # that the server takes at a time
    uint32_t requests, requests_max     # so far, and at most; 0: any number
    uint64_t expires_ms, heard_ns       # by age, 0: never; when the server last said anything
    H2* prev                    # among those to the same server
    H2* next

cdef struct Stream:
    int fd
    uint8_t role, ready, flags
    uint8_t writes              # counted to 2: options wait for the second
    uint16_t generation         # of the socket: counts closes, so that events of an old one show
    uint8_t layer               # what is between us and a socket: Layer
    uint8_t second              # it goes to the second address of its server: the first refused
    int32_t slot                # poll(2) only: index in the array
    Chunk* pending              # what the other side sent and we couldn't write yet: either
    Pipe* pipe                  # here, or here
    Exchange* exchange
    void* tls                   # SSL*, where layer is LAYER_TLS
    H2Stream* h2                # where layer is LAYER_H2

# --- shared by all engines, outliving snapshots (tables/live) ---

cdef struct IdleList:           # one a server and engine: connections that wait, latest first
    Upstream* first
    H2* h2                      # those of HTTP/2, whether they wait or not
    uint32_t count
    uint32_t epoch              # of the last snapshot that named the server
    uint64_t padding[5]

cdef struct ServerLive:
    Gate connections
    int32_t state
    int32_t conditions          # bits of Condition; 0: none
    int32_t failures            # connects and answers that failed in a row
    int32_t error               # errno of the last connect that failed, or 0
    uint64_t retry_at_ms        # one that isn't up is tried again from then on
    uint64_t latency            # see balance/load
    uint64_t report_at_ms       # when it last told of itself; 0: never
    uint64_t[LOAD_STEPS] latencies      # of prequal, by how much was in flight
    uint64_t report             # requests in flight as it says, and how many of those were ours
    uint64_t report_us          # its latency, as it says
    uint64_t ejected_until_ms
    uint32_t ejected_ms         # how long the last ejection was
    uint32_t slow_start_ms      # how long it gets less after it came up; 0: not
    uint64_t warm_since_ms      # when it came up
    int32_t idle                # connections of all engines that wait for a request
    int32_t cut                 # what is under way is to be reset
    int32_t large_head          # bytes, at least, of the last response's that was refused; 0: none
    int32_t uses_other          # the first of its two addresses has refused last
    ServerCounters* counters    # [engine]
    IdleList* idle_lists        # [engine]
    Histogram* first_bytes      # [engine]: http: until its answers' heads were here
    uint32_t name

cdef struct PendingQueue:       # one a pool and engine: who waits for a place, by priority
    Exchange* first[PRIORITIES]
    Exchange* last[PRIORITIES]
    uint64_t turn               # the lowest of all engines' is next; 0: nobody
    uint64_t padding[1]

cdef struct PoolLive:
    uint64_t turns[GROUPS_MAX]  # round robin's place in each group's sequence
    int32_t down                # no server answered the last client
    Gate in_flight              # of all servers together, where the pool is counted
    Gate pending                # who waits for a place
    Gate retries                # requests that are being retried
    int32_t shares[GROUPS_MAX]  # of SHARE_ONE, what each group gets, with those before it
    PendingQueue* queues        # [engine]
    int32_t panic               # so few servers are left that all are used
    Budget* budgets             # [engine] of retries
    Budget* hedge_budgets       # [engine]
    Delays* delays              # [engine]
    ProbePool* probes           # [engine], of prequal
    uint32_t name

# --- one immutable, compiled configuration (tables/snapshot) ---
cdef struct ServerEntry:
    ServerAddress address
    uint32_t address_size
    int32_t max_connections     # 0: no limit
    uint32_t weight
    uint64_t hash               # of its name
    uint32_t other_size
    ServerAddress* other        # of the same server, where `address` refuses; NULL: none
    Text set_cookie             # http: the field that binds a client to it
    Text tls_name               # what its certificate has to name, and ends with a zero
    ServerLive* live

cdef struct Group:              # servers of a pool that are picked among, by its policy
    ServerEntry* servers        # a part of the pool's
    uint32_t* sequence          # the order in which they take turns
    RingPoint* ring             # ring hash: sorted by hash
    uint16_t* table             # maglev's places, or what is known of rendezvous'
    uint32_t n_servers, n_sequence, n_ring, n_table
    double total_weight
    uint8_t is_even             # all weights are equal

cdef struct PoolEntry:
    uint8_t balance, nodelay
    PoolKeys keys
    uint32_t n_servers
    ServerEntry* servers        # group by group
    Group* groups               # who comes first, who next; most pools have one
    uint32_t n_groups
    uint8_t is_keyed            # a key is hashed
    uint8_t first_pass          # see balance/candidates
    double bounded_load         # 0: none
    FactRef hash_key            # what is hashed
    Keepalive keepalive
    Retry retry
    Outliers outliers
    Hedge hedge
    uint8_t is_measured         # how long answers take is wanted
    Sticky* sticky              # http: NULL: clients are bound to no server
    uint8_t is_counted          # in_flight says how many there are
    int32_t in_flight_max       # 0: no limit
    int32_t pending_max, retries_max    # 0: nobody waits; at a time, 0: no limit
    uint16_t pending_timer, retry_after_s       # slot; what those are told that find no place
    PoolEntry* fallback         # NULL: none
    Nearest* nearest            # NULL: groups get their shares, wherever clients are
    EditList request_edits, response_edits      # http: of what is routed here
    Reply* unavailable          # http: what clients are told when no server can be had; NULL: ours
    TlsEntry* tls               # NULL: plain
    uint8_t speaks_h2           # http: its servers do
    uint8_t proxy_protocol      # the version that its servers are told of clients in; 0: none
    PoolLive* live

cdef struct BindEntry:          # one address of one listener
    ListenerLive* listener
    PoolEntry* pool
    int32_t max_connections     # 0: no limit
    uint16_t idle_timer         # slot
    uint8_t chunk_class, bulk_class     # what is read into; the same for flows that fill it
    uint8_t shared              # one socket for all engines (unix): wake one of them
    HttpEntry* http             # NULL: tcp
    Policy* policy              # tcp, udp: NULL: none; where no route of `sniff` fits
    SniffTable* sniff           # tcp: NULL: nobody asks what is spoken
    DatagramEntry* udp          # NULL: tcp or http
    TlsEntry* tls               # NULL: plain
    uint16_t handshake_timer    # slot
    ProxyEntry* proxy           # NULL: clients are who they seem to be
    Access* access              # NULL: all clients are served
    const Speeds* speeds        # tcp: NULL: bytes go as fast as they can
    uint32_t id                 # the same address keeps its id over snapshots
    int fds[ENGINES_MAX]        # the listening socket of each engine

cdef struct Snapshot:
    uint32_t n_binds, n_pools
    BindEntry* binds
    PoolEntry* pools
    int32_t max_connections, max_sessions       # of the process, sessions of udp among them; 0: any
    int32_t users[ENGINES_MAX]  # exchanges of each engine that still read from it

# --- one engine ---
cdef struct Attempt:            # one try at a server. A second try that wins swaps with the first.
    ServerEntry* entry          # only while EXCHANGE_HOLDS_SNAPSHOT
    ServerLive* target
    ServerCounters* counters    # of target, this engine's
    PoolLive* loaded            # where it counts in in_flight; NULL: nowhere
    Upstream* upstream          # http: its connection
    Chunk* head                 # http: the request as the server gets it
    Chunk* partial              # http: of the response's head, while it is incomplete
    uint64_t picked_ns, connect_ns      # the server was; how long that took, 0: not known
    uint64_t sent_ns            # http: the head was written
    uint64_t measured_ns        # since when its latency is measured; 0: it isn't
    Keepalive keepalive         # towards the server, set with its second write
    uint8_t flags               # AttemptFlag

cdef struct Exchange:           # from accept to the last byte: a session, a connection, a request
    Stream client, server
    Stream* to_server           # &server, or that of attempt.upstream
    Timer timer
    uint16_t idle_timer
    uint8_t stage, reason, flags, chunk_class, bulk_class
    uint8_t n_tried, is_hashed  # tcp, udp: `hash` is what its policy said
    uint8_t half_closed         # http: the client had nothing more to say when its policy was asked
    uint16_t status             # http: of our own answer
    uint16_t bound_to           # http: the server that its cookie names, counted from 1; 0: none
    uint16_t tried[TRIES_MAX]   # servers of the pool that failed to connect
    # Of its configuration: only while EXCHANGE_HOLDS_SNAPSHOT.
    Snapshot* snapshot
    BindEntry* bind
    PoolEntry* pool
    Policy* policy              # that decides about it
    ListenerLive* listener
    Attempt attempt
    Books books
    Opening opening             # tcp
    Throttle* throttle          # tcp: NULL: bytes go as fast as they can
    Http* http                  # the request under way
    PoolLive* retrying          # where it counts in retries, or NULL
    PendingQueue* pending       # where it waits for a place, or NULL
    Exchange* pending_before
    Exchange* pending_after
    uint64_t pending_turn, ticket       # and of the question that is open; 0: none
    Decision* decision          # what its policy said
    Exchange* next_run
    Exchange* next_free         # free list, and the dead of this turn
    # Its client.
    Address peer                # the client's, as a proxy said that may
    Proxied* proxied            # what else it said; NULL: nothing
    Sources* sources            # where it is counted by its address; NULL: nowhere
    Upstream* kept              # http: a connection that waits for this client alone
    Chunk* input                # read from the client, and not used up yet
    uint32_t wanted             # first bytes that are waited for; 0: any more, http: a head's end
    uint32_t bind_id            # http: where to find the bind in the next snapshot
    uint32_t hash, requests     # of what the pool or route hashes; http: on this connection
    uint64_t linger_left        # http: bytes that may still be thrown away after the answer
    Frames upward, downward     # of a WebSocket: from its client, and to it
    Exchange* hedge             # http: its second try; of that one: the exchange that it is for
    Exchange* mirror            # http: the copy that is fed; of the copy: the one that feeds it
    Exchange* carrier           # of HTTP/2: the connection that this is a request of
    H2* h2                      # of a carrier: a client's, or one to a server
    Session* session            # udp
    uint32_t place, asn         # where it is, and in which AS, once somebody has asked
    uint8_t client_ip_size, peer_ip_size
    char client_ip[46]          # as text, and of http as trusted proxies in front of us saw it
    char peer_ip[46]            # http: who is connected

cdef struct Http:               # a request and its response, while under way
    Exchange* exchange
    Route* route
    HttpEntry* entry
    Chunk* lines                # header fields for the response, made with the request at hand
    Chunk* states               # of the route's filters; NULL: none has any
    Body request, response
    uint32_t flags
    uint32_t upgrade            # CRC-32 of the protocol asked for, in lower case
    uint32_t taken              # bytes of the body that were sent with the head
    uint32_t filter_at          # the filter whose `request` hook waits, or is next
    uint8_t uploads             # filters that want the request's body
    uint16_t status
    uint8_t method
    uint8_t interim             # responses of 1xx within a second, and
    uint32_t interim_s          # which second that is
    uint8_t grpc                # how a call of gRPC went, as its status and 1; 0: not known
    uint64_t begin_ms
    Timer timer                 # of the whole
    Timer pause_timer           # how long the server may pause: see TIMER_PAUSE
    Pace pace
    uint8_t[28] websocket_accept
    Http* next_free

cdef struct Upstream:           # a connection to a server of http: with an exchange, or idle
    Stream stream               # first: the poller hands out Stream*
    ServerLive* target
    uint32_t idle_max, requests_max
    uint16_t idle_timer
    uint8_t keep                # may be kept
    uint8_t is_introduced, is_bound     # told of its client; authenticated
    Exchange* owner             # of one of these that waits: whose it is
    uint32_t requests, tls_id   # so far; of the TlsEntry that it was made with, 0: plain
    uint64_t expires_ms         # by age; 0: never
    Upstream* prev              # among the idle ones of its server
    Upstream* next
    Upstream* newer             # among all idle ones of the engine
    Upstream* older
    Timer timer
    Upstream* next_free

cdef struct HttpState:
    Head head                   # of the message at hand
    Match match                 # of the request at hand
    Members members             # of its body, where a route asks
    Http* free
    Upstream* free_upstreams
    Upstream* idle              # all of them, the latest first
    void* blocks                # of memory, each beginning with the next one's address
    Chunk* scratch              # what servers send is read into it, with room in front
    Chunk* output               # heads are written here
    Chunk* spent                # a request's bytes, until the turn's end; NULL: none
    Filtering filtering
    int64_t date_s              # of the engine's clock, when `date` was made
    uint8_t[29] date
    uint8_t[32] id              # of the request at hand, if we named it
    uint8_t[55] trace           # its traceparent, if we made it
    uint32_t epoch              # counts snapshots
    uint64_t h2_extra           # bytes that windows of connections have grown by

cdef struct Acceptor:
    Stream stream               # first: the poller hands out Stream*
    BindEntry* bind
    Acceptor* next
    Acceptor* same_port         # udp: another one in its place of Datagrams.listening
    uint32_t id, sessions       # udp: that send their answers by it
    ListenerLive* listener      # outlives the bind
    uint8_t paused, batch       # how many to accept at the next wake-up
    uint8_t is_dropped          # udp: its socket is ours, until its last session has ended
    Link waiting                # udp: Waiting, of its sessions without an answer
    Address local               # udp: where it listens
    uint64_t last_turn, look_ns     # when it had someone waiting; udp, resting: until when

cdef struct Poller:
    int kind
    int fd                      # epoll; -1 with poll(2)
    int n_ready
    epoll_event events[EVENTS_MAX]
    pollfd* polled              # poll(2) only, from here on
    Stream** streams
    Stream** ready_streams
    uint8_t* ready_bits
    uint16_t* ready_generations
    int n_polled, polled_size

cdef struct Slab:
    Slab* next
    Exchange* exchanges         # SLAB_EXCHANGES of them

cdef struct Core:               # all that one engine owns
    int id, wake_fd
    int timer_fd                # inline mode only, else -1
    int spare_fd                # given up for the second half of a relay when descriptors run out
    uint8_t inline_mode, busy_poll
    uint8_t closing             # nothing is kept for later any more
    uint8_t forked              # this process has forked: shut down before closing
    uint8_t rehearses           # Rehearsing
    uint8_t abandoned           # this is a forked child, and nothing in here is its own
    uint8_t hasty, let_go, parting      # idle clients have no time left; are gone; WebSockets end
    int32_t stop, busy          # Stop; inside a turn
    int32_t pause               # a fork is under way in another thread
    uint8_t recorded, looks     # in this turn; for events, before timeouts end anything
    int32_t cuts                # of the table, that were seen to
    int32_t quick_waits         # in a row; below 0: as many to go before one counts
    uint64_t random             # never 0
    uint64_t now_ms
    uint64_t now_ns             # the same clock, whenever it was last looked at
    uint64_t armed_ms           # when timer_fd fires, by the system's clock; 0: not armed
    uint64_t resume_ms          # when to try accepting again; 0: not waiting
    Poller poller
    TimerList timers[TIMER_SLOTS_MAX]
    int n_timers
    LiveTable* live
    void* snapshot              # Snapshot*: what new exchanges are made with
    void* next_snapshot         # Snapshot*: the one being adopted
    Acceptor* acceptors
    Slab* slabs
    HttpState http              # of all http exchanges of this engine
    uint64_t tickets, answers   # given out so far; Answered*, from the control plane, latest first
    uint64_t asked_ns           # when the policy was called that runs now; 0: none does
    uint32_t asked_policy       # its id
    Cached* cached              # [CACHED_MAX] decisions; NULL: none yet
    Exchange* free
    Exchange* dead
    Exchange* run_first
    Exchange* run_last
    Chunk* free_chunks[CHUNK_CLASSES]
    uint32_t n_free_chunks[CHUNK_CLASSES]
    Chunk* scratch[CHUNK_CLASSES]       # what is read into before anyone needs to keep it
    Pipe* pipe                  # empty and warm: spliced through before anyone needs to keep it
    Pipe* free_pipes
    uint32_t n_pipes            # all there are
    Datagrams* datagrams        # NULL: there was no udp yet
    Acceptor* dropped           # udp: those that are no more, and have sessions
    Stream wake_stream, timer_stream
    uint8_t[KEY_BYTES_MAX] address_text, port_text, asn_text    # of the client asked about last
    Counters counters
