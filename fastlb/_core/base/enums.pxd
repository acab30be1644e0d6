# The enums of the core.

# What a stage says. Never 0: Cython returns 0 from a noexcept function that swallowed an exception.
cdef enum Verdict:
    NEXT = 1            # go on with the following stage
    AGAIN = 2           # waiting for an event or a timeout
    END = 3             # done, as it should be
    FAIL = 4            # why is in Exchange.reason
    RETRY = 5           # http: the reused connection was closed already; take another
    ANSWER = 6          # http: answer by ourselves, as Exchange.status says
    TUNNEL = 7          # http: the server has switched protocols
    ELSEWHERE = 8       # http: another server may do better than this answer
    ASK = 9             # http: a policy has to decide
    CARRY = 10          # http: it is HTTP/2, and x.input has what was read
    HAND = 11           # tcp: another listener goes on with it
    HEDGED = 12         # http: a second try has sent its request, and may have an answer
    GONE = 13           # it has ended, or goes on by itself: nobody may touch it

# In the order of the flow; what each does is a row of loop/conveyor's table.
cdef enum Stage:
    STAGE_FREE = 0      # in the free list
    STAGE_DEAD = 1      # ended in this turn; given back at its end
    STAGE_PROXIED = 2   # what may be a header of the PROXY protocol is waited for
    STAGE_HANDSHAKE = 3 # TLS, with the client
    STAGE_SNIFF = 4     # tcp: its first bytes say where it goes
    STAGE_FIRST = 5     # tcp: its policy wants to see the client's first bytes
    STAGE_CARRIER = 6   # HTTP/2: a connection, whose requests are exchanges of their own
    STAGE_REQUEST = 7   # http: reading a request's head
    STAGE_POLICY = 8    # a policy decides
    STAGE_BALANCE = 9
    STAGE_CONNECT = 10
    STAGE_FORWARD = 11  # http: request and response on their way
    STAGE_ANSWER = 12   # http: writing an answer of our own, or the end of the server's
    STAGE_LINGER = 13   # http: answered; what the client still sends is thrown away
    STAGE_RELAY = 14    # bytes both ways
    STAGE_WEBSOCKET = 15        # http: bytes both ways, whose frames are followed
    STAGE_SESSION = 16          # udp: datagrams both ways
    STAGE_TARPIT = 17   # it isn't let in, and is held without an answer
    STAGE_THROTTLE = 18         # bytes both ways, no faster than its listener allows
    STAGE_COUNT = 19

# Why an exchange is to leave its stage, for `leave` in the table of stages.
cdef enum Leaving:
    LEAVE_LISTENER = 1  # its listener may be no more
    LEAVE_STOP = 2      # the engine stops: who is idle ends
    LEAVE_PART = 3      # WebSockets are told that they end when nothing is halfway
    LEAVE_NOW = 4       # it ends right after this

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
    REASON_CLIENT_GONE = 12     # http: it closed before it was answered
    REASON_BAD_REQUEST = 13
    REASON_BAD_RESPONSE = 14
    REASON_SERVER_CLOSED = 15   # http: in the middle of its response, or before it
    REASON_TIMEOUT = 16         # http: of the server's or the client's part
    REASON_NO_ROUTE = 17
    REASON_TOO_LARGE = 18
    REASON_RESPONDED = 19       # http: a route answered by itself
    REASON_QUEUE_FULL = 20      # no place, and too many wait for one already
    REASON_PENDING = 21         # waited too long for a place
    REASON_POLICY = 22          # its policy failed, and nothing is to be done then
    REASON_REMOVED = 23         # its server was, and what it had did not end in time
    REASON_HANDSHAKE = 24       # of TLS, with the client
    REASON_SERVER_HANDSHAKE = 25
    REASON_LISTENER_FULL = 26   # the listener that it was to be handed over to
    REASON_HANDED_OVER = 27     # of its listener's sessions: another one has it now
    REASON_PROXY_HEADER = 28    # broken, or of somebody who may not send one; or there was none
    REASON_EVICTED = 29         # udp: without an answer, where newer sessions had no room
    REASON_CLIENT_CANCELLED = 30        # HTTP/2: it reset the stream; its connection goes on
    REASON_LARGE_RESPONSE = 31  # http: a head, or trailers, beyond the pool's limit
    REASON_RATE_LIMITED = 32    # beyond what a rate limit allows
    REASON_DENIED = 33          # by a list of networks
    REASON_SOURCE_FULL = 34     # its source has as many connections as it may
    REASON_SOURCE_RATE = 35     # its source began as many connections as it may in that time
    REASON_HANDSHAKES_FULL = 36 # its source, or its listener, has as many handshakes as it may
    REASON_TOO_SLOW = 37        # http: its client sends slower than min_request_rate
    REASON_COUNT = 38

cdef enum Protocol:             # as the first bytes tell it; a bit each in SniffRoute.protocols
    PROTOCOL_UNKNOWN = 0        # none of these, or nothing was said in time
    PROTOCOL_TLS = 1
    PROTOCOL_HTTP1 = 2
    PROTOCOL_H2 = 3
    PROTOCOL_WEBSOCKET = 4
    PROTOCOL_MQTT = 5
    PROTOCOL_RTMP = 6
    PROTOCOL_SSH = 7
    PROTOCOL_REDIS = 8
    PROTOCOL_POSTGRES = 9

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
    STREAM_CAUTIOUS = 4 # a short read says nothing: read until EAGAIN (unix, urgent data, TLS)
    STREAM_OWN_NODELAY = 8      # TCP_NODELAY is ours to set (an accepted socket inherits it)
    STREAM_TUNED = 16   # the options that wait for a second write are set
    STREAM_BULK = 32    # its last read filled the buffer: read with the large one
    STREAM_DRY = 64     # TLS: the socket had no more, though what was read may hold more
    STREAM_CUT = 128    # TLS: the socket's end was read

cdef enum Layer:
    LAYER_NONE = 0
    LAYER_TLS = 1
    LAYER_H2 = 2

cdef enum H2Flag:
    H2_HEAD_READ = 1            # the head of what the peer sends is whole
    H2_ENDED = 2                # all of it is here
    H2_CHUNKED = 4              # it doesn't say how long its body is: the exchange reads chunks
    H2_ANSWERED = 8             # our head is submitted: the answer's, or to a server the request's
    H2_DONE = 16                # the exchange has written all
    H2_FAILED = 32              # it has ended, and not as it should
    H2_CLOSED = 64              # nghttp2 has forgotten it
    H2_LOOK = 128               # in the list of those to look at
    H2_WAKE = 256               # its exchange is to go on
    H2_DEFERRED = 512           # nghttp2 waits for more of the answer
    H2_AUTHORITY = 1024         # there was one, so that Host is no news
    H2_BEGUN = 2048             # the request's line is written
    H2_LENGTH = 4096            # it says how long its body is
    H2_RESET = 8192             # we have reset it
    H2_TUNNEL = 16384           # a WebSocket (RFC 8441)
    H2_REFUSED = 32768          # nothing was done about it, so that one may ask elsewhere
    H2_ALL_SENT = 65536         # the answer's end has gone
    H2_LAST = 131072            # the exchange has read the last chunk, or there will be none
    H2_IN_CHUNKS = 262144       # to a server: the exchange writes its body in chunks
    H2_TOO_LARGE = 16777216     # of a server: its head, or its trailers, are
    H2_NO_BODY = 524288         # to a server: the answer has none, whatever its head says (HEAD)
    H2_HOLDS = 1048576          # some of what we send waits in `output`
    H2_STALLED = 2097152        # and has waited since the last look at it

cdef enum Role:
    ROLE_CLIENT = 1
    ROLE_SERVER = 2
    ROLE_ACCEPTOR = 3
    ROLE_WAKE = 4
    ROLE_TIMER = 5
    ROLE_IDLE = 6               # a server's connection that waits for the next request
    ROLE_DATAGRAMS = 7          # udp: where clients send to
    ROLE_SESSION = 8            # udp: towards a server

cdef enum ExchangeFlag:
    EXCHANGE_QUEUED = 1         # in the run queue
    EXCHANGE_HOLDS_SNAPSHOT = 2 # counted in Snapshot.users
    EXCHANGE_HAS_MORE = 8       # stopped by its budget, not by the sockets
    EXCHANGE_CLOSE = 16         # http: the client's connection ends with this exchange
    EXCHANGE_TRUSTED = 32       # http: the client is a proxy whose forwarded headers are believed
    EXCHANGE_HTTP = 64
    EXCHANGE_SHADOW = 128       # http: a copy for a mirror, without a client

cdef enum AttemptFlag:          # of one try at a server
    TRY_HOLDS_SERVER = 1        # counted in ServerLive.connections
    TRY_SENT = 2                # http: the request's head is written
    TRY_REUSED = 4              # http: on a connection that has served before
    TRY_RETRIED = 8             # http: that one was closed; this is a fresh one
    TRY_ANSWERING = 16          # http: a byte of the response has arrived
    TRY_UPLOAD_CUT = 32         # http: the server takes no more of the request

cdef enum ReaderState:          # of whoever reads records
    READER_AWAKE = 0            # it looks for itself
    READER_NAPS = 1             # to be woken when a ring fills up
    READER_SLEEPS = 2           # to be woken by anything

cdef enum Rehearsing:           # nothing is asked or sent: see explain/rehearsal
    REHEARSES_NOT = 0
    REHEARSES = 1               # and nothing is charged
    REHEARSES_LOG = 2           # requests follow each other as in a log, by the log's times

cdef enum PollerKind:
    POLLER_EPOLL = 1
    POLLER_POLL = 2

cdef enum Balance:
    BALANCE_ROUND_ROBIN = 1
    BALANCE_RING_HASH = 2
    BALANCE_RANDOM = 3
    BALANCE_LEAST_CONNECTIONS = 4
    BALANCE_LEAST_REQUEST = 5
    BALANCE_PEAK_EWMA = 6
    BALANCE_MAGLEV = 7
    BALANCE_RENDEZVOUS = 8
    BALANCE_PREQUAL = 9
    BALANCE_COUNT = 10          # from here on numbers are given to methods as they register

# A search for a server, from the strictest that the pool asks for.
cdef enum Pass:
    PASS_BOUNDED = 1            # leaves out servers with more than their share of the load, and
    PASS_GENTLE = 2             # by chance those that have just come up, and
    PASS_HEALTHY = 3            # those that failed a moment ago
    PASS_ANY = 4                # nobody else is left: tries those too, rather than refuse

cdef enum ServerState:
    SERVER_UP = 0
    SERVER_FAILING = 1          # its last connect failed; left out for FAILING_PAUSE_MS at a time
    SERVER_EJECTED = 2          # it failed too often; left out for as long as the pool says

# What else speaks against sending anybody to a server: bits of ServerLive.conditions.
cdef enum Condition:
    CONDITION_DOWN = 1          # health checks say so
    CONDITION_DRAINING = 2      # it keeps whom it has
    CONDITION_MAINTENANCE = 4
    CONDITION_REMOVED = 16      # its pool has it no more; what is under way may end
    CONDITION_OUT = 23          # any of these
    CONDITION_LEAVING = 22      # somebody may wait for the end of what it has
    CONDITION_WARMING = 8       # it has just come up, and gets less for a while

cdef enum Stop:
    STOP_NO = 0
    STOP_DRAIN = 1              # end when the last exchange has
    STOP_NOW = 2
    STOP_PART = 3               # as STOP_DRAIN, and WebSockets are told that it ends

cdef enum TimerKind:
    TIMER_EXCHANGE = 0
    TIMER_REQUEST = 1           # of a whole http request
    TIMER_UPSTREAM = 2          # of an idle connection
    TIMER_PAUSE = 3             # until a second server is asked; within a response, until filters
                                # pass on what they keep back
    TIMER_STALL = 4             # until streams of HTTP/2 that nobody reads are looked at
    TIMER_PACE = 5              # until it is looked how fast a client sends
    TIMER_THROTTLE = 6          # until more bytes may be read

cdef enum HttpFlag:
    HTTP_HEAD_DONE = 16         # the response's head has been passed on
    HTTP_WHOLE = 32             # all of the request is with its head, in x.attempt.head
    HTTP_UPGRADE = 64           # the request asks for one
    HTTP_WEBSOCKET = 128
    HTTP_TRAILERS = 256         # the client takes trailers
    HTTP_OLD_CLIENT = 512       # HTTP/1.0
    HTTP_HALF_CLOSED = 1024     # the client had nothing more to say when it asked
    HTTP_DISCARD = 2048         # the client has gone: the rest of the answer is for nobody
    HTTP_NO_BODY = 4096         # HEAD: the response has a length and no body
    HTTP_JSON = 16384           # the client prefers it
    HTTP_OVERRUN = 32768        # of a copy: it was too slow, or isn't wanted any more
    HTTP_HEDGE = 65536          # of a copy: it is a second try
    HTTP_GRPC = 131072          # a call of gRPC
    HTTP_BINDS = 262144         # its credentials authenticate the connection to the server
    HTTP_DEADLINE = 524288      # the client has said how long it may take
    HTTP_FILTERED = 1048576     # its route's filters have heard of it, and are to hear of its end
    HTTP_CONTENT = 2097152      # a filter wants the response's body
    HTTP_RECODED = 4194304      # a filter makes another body of it, whose length isn't known
    HTTP_KEPT_BACK = 8388608    # a filter has content that it hasn't passed on
    HTTP_PAUSED = 16777216      # and it is time to pass that on
