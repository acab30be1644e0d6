# What is kept of exchanges that have ended: counts, times, records. Structs that refer to no other
# struct.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastlb._core.base.limits cimport HISTOGRAM_OCTAVES, RECORDED_FACTS_MAX, TRIES_LOGGED

cdef struct Histogram:          # one a series and engine; see tables/histogram
    uint64_t* octaves[HISTOGRAM_OCTAVES]    # [HISTOGRAM_STEPS] each, once something fell in
    uint64_t count
    uint64_t sum_ns
    uint64_t padding[6]

cdef struct SeriesSlot:
    uint32_t listener           # names, see tables/names
    uint32_t route
    uint32_t pool
    uint32_t code               # a status, SERIES_REASON + a Reason, or 0: of all
    uint64_t count
    Histogram* durations        # of all codes together

cdef struct Series:             # one an engine: how often each kind of end was met
    SeriesSlot* slots           # a hash table; NULL: nothing ended yet
    uint64_t n
    uint64_t others             # ends that found no room any more
    uint64_t padding[5]

cdef enum:
    SERIES_UNANSWERED = 1       # a request's code where no answer went out, or not all of it
    SERIES_CLIENT_LEFT = 499    # the same because the client left, as nginx has it
    SERIES_REASON = 1000
    SERIES_GRPC = 2000          # and a status: how a call of gRPC ended, next to its answer's code

cdef enum RecordKind:
    RECORD_SKIP = 0             # the rest of the ring is empty: go on at its begin
    RECORD_HTTP = 1
    RECORD_TCP = 2
    RECORD_UDP = 3

cdef enum RecordFlag:
    RECORD_ANSWERED = 1         # by its server
    RECORD_OLD = 2              # HTTP/1.0
    RECORD_TRACED = 4           # `trace` names a span of ours
    RECORD_TUNNEL = 8
    RECORD_H2 = 16              # HTTP/2

cdef enum:                      # the texts of a record, in their order
    TOLD_METHOD = 0
    TOLD_HOST = 1
    TOLD_PATH = 2
    TOLD_QUERY = 3
    TOLD_USER_AGENT = 4
    TOLD_REFERER = 5
    TOLD_REQUEST_ID = 6
    TOLD_TRACE = 7              # a traceparent
    TOLD_PARENT = 8             # the span that the client named
    TOLD_FACTS = 9              # from here on recorded facts, by their places
    TOLD_COUNT = TOLD_FACTS + RECORDED_FACTS_MAX

cdef struct Tried:              # a server that was left for another one
    uint32_t server             # its name
    uint32_t us
    uint16_t outcome            # a Reason, or the status that it answered

cdef struct Record:             # its texts follow
    uint32_t size               # of all of it, in steps of 8
    uint8_t kind
    uint8_t reason
    uint16_t status             # 0: no answer went out
    uint64_t begin_ns           # of the monotonic clock
    uint64_t duration_ns
    uint64_t bytes_in
    uint64_t bytes_out
    uint64_t body_bytes
    uint64_t connect_ns         # 0: not measured
    uint64_t first_byte_ns      # the same
    uint64_t try_ns             # of the last try
    uint32_t listener           # names
    uint32_t route
    uint32_t pool
    uint32_t server
    uint16_t client_port
    uint8_t client_ip_size
    uint8_t flags
    uint8_t attempts
    uint8_t n_tried
    uint8_t engine
    char[46] client_ip
    Tried[TRIES_LOGGED] tried
    uint16_t[TOLD_COUNT] sizes

cdef struct Ring:               # of records, from one engine to one reader
    uint64_t head               # bytes ever put; the engine's
    uint64_t seen               # of `tail`, when it last looked
    uint64_t written            # records
    uint64_t dropped            # for which there was no room
    uint64_t padding[4]
    uint64_t tail               # bytes ever taken; the reader's
    uint64_t padding_too[5]
    uint8_t* bytes              # NULL: nobody has asked yet
    uint64_t size               # a power of two
