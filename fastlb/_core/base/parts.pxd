# Structs that snapshots and live states are made of, and that refer to no other struct.
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t, uint8_t

from fastlb._core.base.enums cimport REASON_COUNT
from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport (
    BUDGET_SECONDS, DELAYS, DROPS, FILTER_FIELDS_BYTES, LOADS_MAX, PROBES_MAX, PROXY_FACTS,
    TICKET_KEYS, TLS_FACTS, TRIES_LOGGED,
)
from fastlb._core.base.observations cimport Tried
from fastlb._core.base.ranges cimport NetworkList
from fastlb._core.base.routing cimport StatusSet
from fastlb._core.ext.linux cimport sockaddr_in, sockaddr_in6, sockaddr_un

cdef struct Link:
    Link* prev
    Link* next

cdef struct Timer:
    Link link                   # first
    uint64_t deadline_ms
    uint16_t slot
    uint8_t kind                # TimerKind: what its owner is
    void* owner

cdef struct Window:             # what the peer may send before it hears that some was taken
    uint32_t size, taken        # since `since_ns`
    uint64_t since_ns

cdef struct Frames:             # of a WebSocket, one way (RFC 6455, 5.2)
    uint64_t left               # bytes of the frame at hand that are to come, its key among them;
                                # while `step` is above 1: its length as far as it is known
    uint8_t step                # of its head: 0: it is whole, 1: the length is next, above: so
                                # many bytes of a long one, and 1
    uint8_t is_masked           # four bytes of a key follow the head
    uint8_t has_closed          # a close frame has begun: no other one is due
    uint8_t is_parted           # ours has been written: nothing more of the sender's is

cdef struct Pace:               # how fast a client sends the body of a request: see http/pace
    Timer timer                 # until the next look
    uint64_t mark               # bytes of the body by the last look
    uint8_t looks               # so far
    uint8_t is_excused          # its server was in the way since the last one

cdef struct Speed:              # that bytes may have, one way
    double byte_ns              # what one takes; 0: any speed
    uint64_t burst_ns           # of bytes that may come at once

cdef struct Speeds:             # of a listener's connections: see stages/throttle
    Speed to_server, to_client
    uint16_t timer              # slot: until it is looked whether more may be read

cdef struct Throttle:           # of a connection
    Speeds speeds
    uint64_t server_due_ns, client_due_ns       # when all that has gone there has had its time
    Timer timer

cdef struct TimerList:
    Link head
    uint32_t length_ms

cdef union Address:
    uint16_t family
    sockaddr_in v4
    sockaddr_in6 v6

cdef union ServerAddress:
    uint16_t family
    sockaddr_in v4
    sockaddr_in6 v6
    sockaddr_un local

cdef struct Chunk:              # the header of a buffer; its bytes follow
    Chunk* next
    uint32_t klass
    uint32_t start
    uint32_t end
    uint32_t scanned            # x.input: up to where no head's end was found; 0: not looked at

cdef struct Books:              # what is counted and logged of an exchange
    uint64_t begin_ns           # tcp: accepted; http: the request was here; 0: there is none
    uint64_t answered_ns        # http: the response's head was here
    uint64_t bytes_in, bytes_out        # from the client and to it, as they were passed on
    Chunk* note                 # http: what a record has of the request; NULL: nobody asked
    uint32_t pool_name          # tcp: while the snapshot isn't held
    uint32_t answered_bytes     # of our own answer: the size of its body, and
    uint16_t answered           # its status
    uint8_t attempts            # made to reach a server, the one under way included
    uint8_t n_left
    Tried[TRIES_LOGGED] left    # the servers before this one

cdef struct Pipe:               # bytes on their way from socket to socket inside the kernel
    int read_fd
    int write_fd
    uint32_t held               # bytes in it
    Pipe* next

cdef struct Filtering:          # of one engine: what its filters work with
    Chunk* coded                # content that they have made; NULL: none yet
    void* coders                # Coders of filters/coders; NULL: none yet
    uint32_t fields_size        # bytes of
    uint8_t[FILTER_FIELDS_BYTES] fields # that they add to the response's head at hand

cdef struct Counters:           # of one engine; written by it alone
    uint64_t turns
    uint64_t accepted
    uint64_t[REASON_COUNT] ended        # by Reason
    uint64_t requests
    uint64_t keys_missing       # requests without what their pool hashes
    uint64_t denials_reported   # clients that a list would have denied
    uint64_t places_found       # clients whose place or AS was asked for, and is known
    uint64_t places_unknown     # the same, and neither is
    uint64_t mirrors            # alive now
    uint64_t mirrored           # requests copied
    uint64_t mirrors_dropped    # not copied, or not to the end
    uint64_t compressed         # responses
    uint64_t compressed_in      # their bytes before, and
    uint64_t compressed_out     # after
    uint64_t compressions_denied        # responses for which too many were being compressed
    uint64_t bodies_unread      # that a route asked about, too long or broken
    uint64_t protocols_unknown  # connections that said nothing known where routes ask about it
    uint64_t hedges             # second tries alive now
    uint64_t hedged             # requests that were sent to a second server too
    uint64_t hedges_won         # of which that one answered first
    uint64_t hedges_denied      # by the budget
    uint64_t retries            # on another server, or of a reused connection that had been closed
    uint64_t retries_denied     # by the budget
    uint64_t upstreams          # connections to http servers alive now
    uint64_t https              # requests under way now
    uint64_t idle               # connections that wait for a request now
    uint64_t connect_failures
    uint64_t accept_errors
    uint64_t exchanges          # alive now
    uint64_t coders             # at work now
    uint64_t chunks             # held by streams now
    uint64_t chunk_bytes        # the same in bytes
    uint64_t pipes              # held by streams now
    uint64_t descriptors        # sockets of exchanges open now
    uint64_t secured            # connections with TLS alive now
    uint64_t proxied            # clients alive now of whom proxies have told
    uint64_t proxy_headers      # that were believed
    uint64_t h2_streams         # requests of HTTP/2 alive now
    uint64_t sessions           # of udp alive now
    uint64_t[DROPS] dropped     # datagrams, by Drop
    uint64_t h2_abused          # connections that were ended for what they did
    uint64_t handshakes         # with clients
    uint64_t resumed            # of which so many were resumed
    uint64_t handshakes_failed
    uint64_t server_handshakes  # the same with servers
    uint64_t server_resumed
    uint64_t server_handshakes_failed

cdef struct ServerCounters:     # one a server and engine, a cache line each
    uint64_t connections
    uint64_t connect_failures
    uint64_t bytes_to_server
    uint64_t bytes_to_client
    uint64_t requests           # http
    uint64_t errors             # http: responses of 5xx, and those that never came whole
    uint64_t reused             # http: requests on a connection that had served before
    uint64_t latency_us         # http: of all answers, where the pool measures it

cdef struct Budget:             # one a pool and engine: the last BUDGET_SECONDS of it
    uint64_t second             # the latest
    uint32_t[BUDGET_SECONDS] requests
    uint32_t[BUDGET_SECONDS] retries
    uint32_t n_requests         # in all of them
    uint32_t n_retries
    uint64_t padding[4]

cdef struct Probe:              # prequal's look at a server
    uint32_t server             # of the pool
    float load                  # requests in flight, for its weight
    float latency_us
    uint16_t uses
    uint64_t at_ms

cdef struct ProbePool:          # one a pool and engine
    Probe[PROBES_MAX] probes
    uint32_t[LOADS_MAX] loads   # how often each load was seen
    uint32_t n_probes
    uint32_t n_loads            # in all of them
    uint32_t unseen             # since `hot` was found out
    float hot                   # a load above this is
    uint32_t turn               # whether the oldest makes room next, or the worst
    uint64_t padding[5]

cdef struct Delays:             # one a pool and engine: how long answers took
    uint32_t[DELAYS] counts     # up to each of the snapshot's delays, and more than the one before
    uint32_t n                  # in all of them
    uint32_t unseen             # since the percentile was looked at
    uint32_t place              # of the percentile
    uint32_t known              # whether enough were seen to go by it
    uint64_t padding[3]

cdef struct ListenerCounters:   # one a listener and engine, a cache line each
    uint64_t accepted
    uint64_t closed
    uint64_t refused            # closed without a server
    uint64_t requests           # http
    uint64_t statuses[6]        # http: answers by their first digit; [0]: none went out
    uint64_t bytes_in           # of exchanges that have ended
    uint64_t bytes_out
    uint64_t datagrams_in       # udp: of clients, that were passed on
    uint64_t datagrams_out      # udp: answers, the same
    uint64_t dropped            # udp: of both
    uint64_t full               # times that accepting had to wait for a place
    uint64_t held               # in a tarpit
    uint64_t not_held           # as it was full
    uint64_t held_reported      # that would have been
    uint64_t source_rate        # connections and sessions refused by their source's rate
    uint64_t source_rate_reported
    uint64_t handshakes_full
    uint64_t too_slow           # http: requests whose clients sent too slowly
    uint64_t too_slow_reported

cdef struct Keepalive:
    int32_t idle_s              # 0: off
    int32_t interval_s
    int32_t count

cdef struct PoolKeys:           # the plain keys of a pool, by their names: see config/plain
    uint16_t connect_timeout_timer
    uint16_t idle_connection_timeout_timer
    uint32_t max_idle_connections       # of each server and engine
    uint32_t max_response_header_size_bytes
    uint32_t max_connection_age_ms      # 0: any
    uint32_t max_connection_requests    # 0: any number
    uint32_t max_h2_window_bytes

cdef struct Outliers:           # when a server is left out for what it does
    uint32_t failures           # in a row; 0: never
    uint32_t ejection_ms        # the first time
    uint32_t ejection_max_ms
    uint32_t share_max          # of 1000 servers, so many at a time
    StatusSet statuses          # answers that are failures

cdef struct Hedge:              # when a request that waits is sent to a second server too
    uint16_t timer              # slot of a fixed delay; 0: none
    uint16_t percentile         # of 1000 answers; 0: the delay is fixed, or there is none
    uint32_t budget             # of 1000 requests
    uint16_t[DELAYS] timers     # slots of the delays that a percentile may be

cdef struct RingPoint:
    uint32_t hash
    uint32_t server

cdef struct Token:              # a value of the cookie that binds clients to a server
    uint64_t hash
    Text text
    uint32_t server             # of the pool; counted from 1, as 0 is an empty place

cdef struct Sticky:
    FactRef cookie
    Token* tokens               # a hash table, at most half full
    uint32_t mask               # its size, less 1

cdef struct TicketKey:
    uint8_t[16] name
    uint8_t[32] cipher
    uint8_t[32] mac

cdef struct TicketKeys:         # of session tickets; the control plane changes one at a time
    int32_t latest              # which of them new tickets are made with; -1: there are none
    TicketKey keys[TICKET_KEYS]

cdef struct TlsName:            # a place in a hash table of names of certificates
    Text name                   # in lower case; "*.example.com" for those one label below
    void* context               # SSL_CTX*

cdef struct TlsFacts:           # what is known of a client; its texts follow
    Text[TLS_FACTS] all         # TlsFact
    int32_t holders             # connections and requests; 0: it is there as long as the process

cdef struct TlsEntry:           # how a listener or a pool speaks TLS; see tables/contexts
    void* context               # SSL_CTX*, with the first certificate
    TlsName* names
    uint32_t n_names            # places in the table, a power of two
    uint32_t id                 # of one that speaks otherwise it is another
    uint8_t refuses             # names that no certificate has
    uint8_t verifies            # a pool's: the server has to prove its name
    uint8_t[16] scope           # who may resume what was begun here
    Text alpn                   # what we speak, as in RFC 7301, 3.1
    TicketKeys* tickets
    int key_log_fd              # -1: none

cdef struct ProxyEntry:         # how a listener speaks the PROXY protocol
    NetworkList trusted         # who may say whom a connection is from
    uint8_t required            # connections that begin otherwise are closed
    uint16_t timer              # slot: how long the first bytes are waited for

cdef struct ProxyHeader:        # of the PROXY protocol; its texts lie in what was parsed
    uint32_t size
    uint8_t version
    uint8_t is_local            # the proxy speaks for itself
    Address source              # the client's; family 0: not told
    Address destination         # where it connected to
    Text local                  # of AF_UNIX: both of them, as they came
    Text tlvs
    Text[PROXY_FACTS] facts     # of them, as they came: ProxyFact

cdef struct Proxied:            # what a proxy told of a client; its texts follow
    int32_t holders             # exchanges of one engine
    Address destination
    Text local
    Text tlvs                   # that go on to servers
    Text[PROXY_FACTS] facts     # fit for header fields

cdef struct About:              # a client, for a policy; see facts/about
    TlsFacts* secured           # a part of them is the owner's; NULL: there is no TLS
    Text* others                # recorded facts behind those of TLS, with their bytes; or NULL
    uint32_t n_others
    uint8_t is_told             # by a proxy, who the client is
    uint8_t ip_size, local_ip_size
    uint16_t port, local_port
    char[46] ip
    char[46] local_ip           # where it has connected to, where somebody asks
