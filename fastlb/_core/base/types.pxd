# All structs and enums of the core, and no function.
#
# Who owns what: a Core owns its exchanges, chunks and acceptors; an exchange owns its two streams
# and their pending chunks; a Snapshot (tables/snapshot) owns its binds, pools and servers and never
# changes; what is named *Live (tables/live) is shared by all engines and outlives snapshots.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastlb._core.base.limits cimport (
    CHUNK_CLASSES, ENGINES_MAX, EVENTS_MAX, TIMER_SLOTS_MAX, TRIES_MAX,
)
from fastlb._core.ext.linux cimport epoll_event, pollfd, sockaddr_in, sockaddr_in6, sockaddr_un

# What a stage says. Never 0: Cython returns 0 from a noexcept function that swallowed an exception.
cdef enum Verdict:
    NEXT = 1            # go on with the following stage
    AGAIN = 2           # waiting for an event or a timeout
    END = 3             # done, as it should be
    FAIL = 4            # why is in Exchange.reason

cdef enum Stage:
    STAGE_FREE = 0      # in the free list
    STAGE_BALANCE = 1
    STAGE_CONNECT = 2
    STAGE_RELAY = 3
    STAGE_DEAD = 4      # ended in this turn; given back at its end

cdef enum Reason:
    REASON_DONE = 1
    REASON_CLIENT_RESET = 2
    REASON_SERVER_RESET = 3
    REASON_CONNECT_REFUSED = 4
    REASON_CONNECT_TIMEOUT = 5
    REASON_NO_SERVER = 6
    REASON_SERVERS_FULL = 7
    REASON_IDLE = 8
    REASON_NO_MEMORY = 9
    REASON_NO_DESCRIPTOR = 10
    REASON_STOPPED = 11

# What the poller told and nobody has used up. The first five have the values of poll(2)'s bits.
cdef enum Ready:
    READABLE = 1
    URGENT = 2
    WRITABLE = 4
    ERROR = 8
    HANGUP = 16
    PEER_SHUT = 32      # a FIN has arrived: what can be read now is all there is

cdef enum StreamFlag:
    STREAM_EOF = 1      # we have read to the peer's end
    STREAM_SHUT = 2     # we have shut our writing side
    STREAM_CAUTIOUS = 4 # a short read says nothing: read until EAGAIN (unix sockets, urgent data)
    STREAM_OWN_NODELAY = 8      # TCP_NODELAY is ours to set (an accepted socket inherits it)
    STREAM_TUNED = 16   # the options that wait for a second write are set
    STREAM_BULK = 32    # its last read filled the buffer: read with the large one

cdef enum Role:
    ROLE_CLIENT = 1
    ROLE_SERVER = 2
    ROLE_ACCEPTOR = 3
    ROLE_WAKE = 4
    ROLE_TIMER = 5

cdef enum ExchangeFlag:
    EXCHANGE_QUEUED = 1         # in the run queue
    EXCHANGE_HOLDS_SNAPSHOT = 2 # counted in Snapshot.users
    EXCHANGE_HOLDS_SERVER = 4   # counted in ServerLive.connections
    EXCHANGE_HAS_MORE = 8       # relay: stopped by its budget, not by the sockets

cdef enum PollerKind:
    POLLER_EPOLL = 1
    POLLER_POLL = 2

cdef enum Balance:
    BALANCE_ROUND_ROBIN = 1
    BALANCE_RING_HASH = 2

cdef enum HashOn:
    HASH_CLIENT_IP = 1
    HASH_CLIENT_ADDRESS = 2

cdef enum ServerState:
    SERVER_UP = 0
    SERVER_FAILING = 1          # its last connect failed; left out for FAILING_PAUSE_MS at a time

cdef enum Stop:
    STOP_NO = 0
    STOP_DRAIN = 1              # end when the last exchange has
    STOP_NOW = 2

cdef union Address:
    uint16_t family
    sockaddr_in v4
    sockaddr_in6 v6

cdef union ServerAddress:
    uint16_t family
    sockaddr_in v4
    sockaddr_in6 v6
    sockaddr_un local

cdef struct Link:
    Link* prev
    Link* next

cdef struct Chunk:              # the header of a buffer; its bytes follow
    Chunk* next
    uint32_t klass
    uint32_t start
    uint32_t end

cdef struct Pipe:               # bytes on their way from socket to socket inside the kernel
    int read_fd
    int write_fd
    uint32_t held               # bytes in it
    Pipe* next

cdef struct Exchange

cdef struct Stream:
    int fd
    uint8_t role
    uint8_t ready
    uint8_t flags
    uint8_t writes              # counted to 2: options wait for the second
    uint16_t generation         # of the socket: counts closes, so that events of an old one show
    int32_t slot                # poll(2) only: index in the array
    Chunk* pending              # what the other side sent and we couldn't write yet: either
    Pipe* pipe                  # here, or here
    Exchange* exchange

# --- shared by all engines, outliving snapshots (tables/live) ---

cdef struct Gate:               # an exact limit across engines
    int32_t count
    int32_t waiting             # an engine stopped accepting for it and wants to be woken

cdef struct ServerCounters:     # one a server and engine, a cache line each
    uint64_t connections
    uint64_t connect_failures
    uint64_t bytes_to_server
    uint64_t bytes_to_client
    uint64_t padding[4]

cdef struct ServerLive:
    Gate connections
    int32_t state
    int32_t failures            # connects failed in a row
    int32_t error               # errno of the last, or 0
    uint64_t retry_at_ms        # a failing server is tried again from then on
    ServerCounters* counters    # [engine]

cdef struct PoolLive:
    uint64_t turn               # round robin's place in the sequence
    int32_t down                # no server answered the last client

cdef struct ListenerCounters:   # one a listener and engine, a cache line each
    uint64_t accepted
    uint64_t closed
    uint64_t refused            # closed without a server
    uint64_t padding[5]

cdef struct ListenerLive:
    Gate connections
    ListenerCounters* counters  # [engine]

# --- one immutable, compiled configuration (tables/snapshot) ---

cdef struct Keepalive:
    int32_t idle_s              # 0: off
    int32_t interval_s
    int32_t count

cdef struct ServerEntry:
    ServerAddress address
    uint32_t address_size
    int32_t max_connections     # 0: no limit
    uint32_t weight
    ServerLive* live

cdef struct RingPoint:
    uint32_t hash
    uint32_t server

cdef struct PoolEntry:
    uint8_t balance
    uint8_t hash_on
    uint8_t nodelay
    uint16_t connect_timer      # slot
    uint32_t n_servers
    uint32_t n_sequence
    uint32_t n_ring
    ServerEntry* servers
    uint32_t* sequence          # round robin: the order in which servers take turns
    RingPoint* ring             # ring hash: sorted by hash
    Keepalive keepalive
    PoolLive* live

cdef struct BindEntry:          # one address of one listener
    ListenerLive* listener
    PoolEntry* pool
    int32_t max_connections     # 0: no limit
    uint16_t idle_timer         # slot
    uint8_t chunk_class         # what is read into
    uint8_t bulk_class          # the same for flows that fill it
    uint8_t shared              # one socket for all engines (unix): wake one of them
    uint32_t id                 # the same address keeps its id over snapshots
    int fds[ENGINES_MAX]        # the listening socket of each engine

cdef struct Snapshot:
    uint32_t n_binds
    uint32_t n_pools
    BindEntry* binds
    PoolEntry* pools
    int32_t max_connections     # of the process; 0: no limit
    int32_t users[ENGINES_MAX]  # exchanges of each engine that still read from it

cdef struct LiveTable:
    void* published             # Snapshot*
    Gate connections
    int notify_fd               # wakes the control plane: something in here changed
    int32_t changed
    int32_t descriptors_out     # an engine ran out of them
    int wake_fds[ENGINES_MAX]   # -1: no such engine
    uint32_t timer_ms[TIMER_SLOTS_MAX]
    int32_t n_timers

# --- one engine ---

cdef struct Exchange:           # one TCP session, from accept to the last byte
    Stream client
    Stream server
    Link timer
    uint64_t deadline_ms
    uint16_t timer_slot
    uint16_t idle_timer
    uint8_t stage
    uint8_t reason
    uint8_t flags
    uint8_t chunk_class
    uint8_t bulk_class
    uint8_t n_tried
    uint16_t tried[TRIES_MAX]   # servers of the pool that failed to connect
    BindEntry* bind             # only while EXCHANGE_HOLDS_SNAPSHOT
    Snapshot* snapshot          # the same
    ServerEntry* entry          # the same
    ListenerLive* listener
    ServerLive* target
    ServerCounters* counters    # of target, this engine's
    Keepalive keepalive         # towards the server, set with its second write
    Exchange* next_run
    Exchange* next_free         # free list, and the dead of this turn
    Address peer                # the client's

cdef struct TimerList:
    Link head
    uint32_t length_ms

cdef struct Acceptor:
    Stream stream               # first: the poller hands out Stream*
    BindEntry* bind
    Acceptor* next
    uint32_t id
    uint8_t paused
    uint8_t batch               # how many to accept at the next wake-up
    uint64_t last_turn          # when it last had someone waiting

cdef struct Poller:
    int kind
    int fd                      # epoll; -1 with poll(2)
    int n_ready
    epoll_event events[EVENTS_MAX]
    pollfd* polled              # poll(2) only
    Stream** streams
    Stream** ready_streams
    uint8_t* ready_bits
    int n_polled
    int polled_size

cdef struct Counters:           # of one engine; written by it alone
    uint64_t turns
    uint64_t accepted
    uint64_t ended[16]          # by Reason
    uint64_t connect_failures
    uint64_t accept_errors
    uint64_t exchanges          # alive now
    uint64_t chunks             # held by streams now
    uint64_t chunk_bytes        # the same in bytes
    uint64_t pipes              # held by streams now
    uint64_t descriptors        # sockets of exchanges open now

cdef struct Slab:
    Slab* next
    Exchange* exchanges         # SLAB_EXCHANGES of them

cdef struct Core:               # all that one engine owns
    int id
    int wake_fd
    int timer_fd                # inline mode only, else -1
    int spare_fd                # given up for the second half of a relay when descriptors run out
    uint8_t inline_mode
    uint8_t busy_poll
    uint8_t draining
    uint8_t forked              # this process has forked: shut down before closing
    int32_t stop                # Stop
    int32_t pause               # a fork is under way in another thread
    int32_t busy                # inside a turn
    int32_t quick_waits         # in a row; below 0: as many to go before one counts
    uint64_t now_ms
    uint64_t armed_ms           # when timer_fd fires; 0: not armed
    uint64_t resume_ms          # when to try accepting again; 0: not waiting
    Poller poller
    TimerList timers[TIMER_SLOTS_MAX]
    int n_timers
    LiveTable* live
    void* snapshot              # Snapshot*: what new exchanges are made with
    void* next_snapshot         # Snapshot*: the one being adopted
    Acceptor* acceptors
    Slab* slabs
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
    Stream wake_stream
    Stream timer_stream
    Counters counters
