# Compiled routes: what a request must have, and what is done with it then. tables/routes makes
# them; nothing in them changes.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.gate cimport Gate
from fastlb._core.base.head cimport Members, Text
from fastlb._core.base.limits cimport CAPTURES_MAX, DEADLINES, SEGMENTS_MAX
from fastlb._core.base.ranges cimport NetworkList

cdef enum SniffedKey:
    KEY_CLIENT_ID = 0
    KEY_USERNAME = 1
    SNIFFED_KEYS = 2

cdef enum RetryOn:
    RETRY_CONNECT = 1           # no connection
    RETRY_RESET = 2             # it ended before the answer's head
    RETRY_TIMEOUT = 4           # no head in time
    RETRY_INVALID = 8           # an answer that is no HTTP

cdef struct StatusSet:
    uint64_t[8] bits            # one each, of 100 to 611

cdef struct Retry:
    uint8_t attempts            # in all
    uint8_t on                  # RetryOn
    uint8_t non_idempotent      # also what isn't safe to repeat
    uint8_t bounded             # there is a budget
    uint32_t budget             # of 1000 requests, so many may be retried
    uint32_t reserve            # retries that are allowed anyway, of each engine
    StatusSet statuses

cdef enum ConditionOp:
    OP_PRESENT = 1
    OP_EQUALS = 2
    OP_PREFIX = 3
    OP_SUFFIX = 4
    OP_CONTAINS = 5
    OP_REGEX = 6
    OP_PATTERN = 7              # of a negated host or path
    OP_NETWORK = 8
    OP_ONE_OF = 9               # several values, each with a line's end
    OP_NAMES = 10               # the same, of hosts; with a leading dot what is below a domain

cdef struct Dfa:                # a regular expression, as compile/regex made it
    const uint8_t* classes      # [256]
    const uint16_t* table       # [state * n_classes + class]; state 0 is dead, 1 the first
    const uint8_t* accepting    # [state]
    uint32_t n_classes

cdef struct Pattern             # a path with literal and named segments

cdef struct Condition:
    FactRef of
    uint8_t op
    uint8_t negate
    Text value
    Dfa dfa
    Pattern* pattern
    NetworkList networks

cdef struct Template:           # texts (FACT_NONE) and facts
    uint32_t n_parts
    FactRef* parts

cdef enum EditOp:
    EDIT_SET = 1
    EDIT_ADD = 2
    EDIT_REMOVE = 3

cdef struct Edit:
    uint8_t op
    Text name
    Template value

cdef struct EditList:           # changes of a head's fields
    uint32_t n
    Edit* all

cdef enum CaptureKind:          # see fastlb/config/captures
    CAPTURE_DONE = 0
    CAPTURE_BYTE = 1
    CAPTURE_GO = 2
    CAPTURE_BRANCH = 3          # to a, or to b
    CAPTURE_LOOP = 4            # the same: a goes on with it, b leaves it
    CAPTURE_LAZY = 5            # a leaves it
    CAPTURE_MARK = 6            # where a group begins or ends, as b says

cdef struct CaptureStep:
    uint16_t kind               # CaptureKind
    uint16_t a
    uint16_t b

cdef struct Captures:           # what finds the groups of a path that fits
    uint32_t n_groups
    uint32_t n_steps
    CaptureStep* steps
    const uint8_t* classes      # [256]; the walk backwards begins in state 0
    const uint16_t* table       # [state * n_classes + class]
    uint32_t n_classes
    const uint8_t* able         # [state * row]: a bit for each step
    uint32_t row

cdef enum Action:
    ACTION_POOL = 1
    ACTION_SPLIT = 2
    ACTION_REDIRECT = 3
    ACTION_RESPOND = 4
    ACTION_NONE = 5             # of a policy that has to say it
    ACTION_LISTENER = 6         # tcp: another one goes on with the connection

cdef struct Share:
    uint32_t pool               # index in the snapshot
    uint32_t upto               # weights added up to and with this one

cdef struct Reply:              # an answer of our own that somebody wrote down
    uint16_t status
    Text content_type
    Text content
    Text lines                  # more header fields

cdef struct ErrorPage:          # for an error of ours
    uint16_t status             # or its first digit, of a whole class
    uint8_t for_json            # for clients that ask for JSON, or for all others
    Reply reply

cdef struct PageList:           # the first that fits is taken
    uint32_t n
    ErrorPage* all

cdef enum DecisionKind:
    DECISION_ROUTE = 1          # as the route says
    DECISION_POOL = 2
    DECISION_REPLY = 3
    DECISION_FAILED = 4
    DECISION_CLOSE = 5          # tcp
    DECISION_MORE = 6           # tcp: to be asked again with more of the first bytes

cdef struct Decision:           # what a policy said, in one block of memory
    int32_t users               # of one engine
    uint8_t kind
    uint8_t is_hashed
    uint32_t hash
    const void* pool            # PoolLive, and
    const void* server          # ServerLive or NULL: they are compared, and never followed
    Reply reply
    EditList request_edits, response_edits

cdef struct PolicyCounters:     # one a policy and engine, a cache line each
    uint64_t calls
    uint64_t failures           # it raised, or decided what can't be
    uint64_t late
    uint64_t refused            # too many were waiting
    uint64_t cached             # answered by what it said before
    uint64_t padding[3]

cdef struct PolicyLive:
    Gate pending                # who waits for it
    PolicyCounters* counters    # [engine]

cdef struct Policy:             # a function of somebody's that decides
    void* caller                # Caller: a Python object that the snapshot keeps
    uint32_t id
    uint8_t is_sync             # it runs on the engine's thread
    uint8_t on_close            # OnClose, of its route
    uint16_t timer              # slot of its deadline
    uint32_t deadline_ms
    int32_t on_error            # index of a pool, or -1
    int32_t pending_max
    uint32_t body_max           # bytes of the body, or of tcp the first bytes, that it sees
    uint16_t first_timer        # tcp: slot of how long they are waited for
    FactRef cache_on            # FACT_NONE: nothing is kept
    uint32_t cache_ms
    PolicyLive* live

cdef struct Mirror:             # where copies of a route's requests go
    uint32_t pool               # index in the snapshot
    uint32_t share              # of 2^32: so many of them; 2^32 - 1: all

cdef struct RouteLive:
    uint64_t requests

cdef struct Filter:             # of a route: see base/filters
    const void* kind            # FilterKind
    void* table                 # what it is to do; its own
    uint16_t state_at           # where its state begins among those of a request

cdef struct Route:
    Text name
    uint32_t id                 # its name's, see tables/names
    uint32_t n_names
    Text* names                 # of its path's segments; literal ones have none
    uint8_t action
    uint8_t on_close            # OnClose
    uint16_t status             # of a redirect
    uint32_t pool               # index in the snapshot
    uint32_t n_shares
    Share* shares
    FactRef split_on            # FACT_NONE: by chance
    FactRef hash_on             # FACT_NONE: the pool's
    uint32_t n_conditions
    Condition* conditions
    Template location           # of a redirect
    Reply reply
    Template rewrite_path       # n_parts 0: none
    Template rewrite_host
    EditList request_edits, response_edits
    PageList errors
    Captures* captures          # NULL: nobody asks for any
    uint16_t response_timer     # slots
    uint16_t request_timer
    uint16_t body_timer
    uint16_t websocket_timer
    uint64_t body_bytes_max     # 0: no limit
    Retry* retry                # NULL: the pool's
    uint8_t priority            # where it waits for a place: 0 is first
    uint32_t n_filters
    Filter* filters             # in the order of FilterNumber
    uint32_t states_bytes       # what their states take together

cdef struct Pattern:
    uint64_t hash               # of the literal segments
    uint8_t n_segments
    uint8_t open                # "*" at the end
    uint32_t literals           # a bit each
    Text[SEGMENTS_MAX] segments
    uint32_t n_routes
    Route** routes              # in the order in which they are tried

cdef struct Shape:              # patterns of one form, found by one look into a hash table
    uint8_t n_segments
    uint8_t open
    uint32_t literals
    uint32_t mask               # slots - 1
    Pattern** slots
    Route* first                # of the routes of its patterns

cdef struct RegexRoute:
    Dfa dfa
    Route* route

cdef struct HostEntry:
    Text host                   # "", or with a leading dot what is below a domain
    uint32_t n_shapes
    Shape* shapes
    uint32_t n_regexes
    RegexRoute* regexes
    uint32_t n_any
    Route** any                 # routes without a path

cdef enum ContentState:         # of a body that a route asks about
    CONTENT_UNSEEN = 0
    CONTENT_NONE = 1            # no body, or of another type
    CONTENT_JSON = 2
    CONTENT_FORM = 3
    CONTENT_WANTED = 4          # not all of it is here
    CONTENT_UNREADABLE = 5      # too long, or broken
    CONTENT_REPEATED = 6        # with a key twice

cdef struct Match:              # a request's path, cut at its slashes, while its route is found
    uint32_t n_segments         # at most SEGMENTS_MAX + 1, which stands for more
    uint32_t n_hashed
    Text[SEGMENTS_MAX] segments
    uint64_t[SEGMENTS_MAX] hashes
    Text rest                   # what "*" matched
    Text[CAPTURES_MAX] captures         # where the route has `captures`
    const Text* names           # of the route's segments
    uint32_t n_names
    Text request_id
    uint8_t* decoded            # room for a parameter of the query
    Text trace                  # a traceparent: the server's, or the one that came
    Text parent                 # the client's span, where ours takes its place
    uint8_t content             # ContentState
    uint32_t wanted             # CONTENT_WANTED: so many bytes after the head
    uint32_t content_max
    Text after                  # what came after the head
    uint8_t* room               # to decode in
    Text shown                  # of a chunked body, what a policy sees: decoded
    Members* members

cdef enum MergeSlashes:         # of a path, several in a row
    MERGE_NOT = 0
    MERGE_TO_MATCH = 1          # servers get those that came
    MERGE_REWRITE = 2

cdef enum Underscores:          # in the name of a header field
    UNDERSCORES_KEEP = 0
    UNDERSCORES_DROP = 1        # the field
    UNDERSCORES_REFUSE = 2      # the request

cdef enum OnClose:              # of a client: on_client_close
    CLOSE_DRAINS = 0            # the answer is read to its end
    CLOSE_CANCELS = 1           # but no half-close does
    CLOSE_CANCELS_HALF = 2      # a half-close does too

cdef enum ForwardedHeader:
    FORWARD_FOR = 1
    FORWARD_PROTO = 2
    FORWARD_HOST = 4
    FORWARD_RFC7239 = 8

cdef struct HttpEntry:          # of one listener
    uint32_t header_bytes_max
    uint32_t fields_max
    uint32_t uri_bytes_max
    uint32_t requests_max
    uint32_t h2_window_max      # bytes that a connection's windows may grow by
    uint16_t[DEADLINES] deadlines       # slots, in order
    uint16_t header_timer, keepalive_timer, linger_timer, stall_timer       # slots
    uint16_t pause_timer        # slot: until filters pass on what they keep back
    uint16_t pace_timer         # slot: how long clients are given that send slowly; 0: any time
    uint8_t pace_reports        # they aren't ended
    uint64_t pace_bytes         # that a client sends in that time, at least
    uint64_t linger_bytes_max   # of a request that is answered before its end
    uint8_t forwarded           # ForwardedHeader
    uint8_t request_id
    uint8_t traceparent
    uint8_t merge_slashes       # MergeSlashes
    uint8_t underscores         # Underscores
    uint8_t by_hand             # routes have an order besides the most specific first
    uint8_t refuse_parameters   # a path with a ";" is refused
    uint16_t kept_claims        # a bit each of CLAIMS: those of anybody are kept
    Text methods                # " GET HEAD ", or nothing: any
    uint8_t h2c                 # HTTP/2 without TLS is spoken too
    uint16_t leaving_timer      # slot, of idle clients in a stop; 0: they are closed
    uint32_t match_body_max     # a longer one is not looked at
    Text via                    # a whole line, or nothing
    Text error_header
    EditList request_edits      # of the defaults and the listener
    EditList response_edits     # of the defaults; those of the listener are in its routes
    EditList answer_edits       # of both, for answers without a route
    PageList errors             # of the listener, then of the defaults
    NetworkList trusted
    uint32_t host_mask          # slots - 1 of a hash table
    HostEntry** hosts           # NULL: no route names one
    HostEntry* any_host
    uint32_t n_routes
    Route* routes

# --- connections, by their first bytes ---

cdef struct SniffRoute:
    uint32_t id                 # its name's, see tables/names
    uint32_t protocols          # a bit each of Protocol; 0: any
    uint8_t action
    uint32_t pool               # index in the snapshot
    uint32_t n_shares
    Share* shares
    FactRef split_on            # FACT_NONE: by chance
    FactRef hash_on             # FACT_NONE: the pool's
    int32_t bind                # ACTION_LISTENER: index in the snapshot; -1: it isn't open
    uint32_t n_conditions
    Condition* conditions
    Policy* policy              # NULL: none

cdef struct SniffName:          # routes of one name of TLS
    Text name                   # in lower case; with a leading dot what is below a domain
    uint32_t n_routes
    SniffRoute** routes         # in the order in which they are tried

cdef struct SniffTable:         # of one listener
    uint32_t name_mask          # slots - 1 of a hash table
    SniffName** names           # NULL: no route has one
    uint32_t n_any
    SniffRoute** any            # routes of any name
    uint32_t n_routes
    SniffRoute* routes
    uint8_t is_blind            # nothing asks for what clients say
    uint16_t silence_timer      # slots
    uint16_t whole_timer

# What was learned from the first bytes of a TCP connection, until its server is picked.
cdef struct Opening:
    uint8_t protocol            # Protocol
    uint8_t keys_known          # a bit each of SniffedKey
    uint8_t begun               # there were some
    uint8_t over                # no more are waited for
    uint8_t held                # the socket tells of more only when all that is wanted is here
    uint8_t header_begun        # what came so far is a part of a PROXY protocol header
    uint8_t all_seen            # its policy has seen all that it will
    uint8_t is_let_in           # before its PROXY header, which can't change who it is
    uint32_t[SNIFFED_KEYS] keys # CRC-32
    uint32_t route_name         # of its route, see tables/names
    SniffRoute* route           # NULL: none; only while the snapshot is held
