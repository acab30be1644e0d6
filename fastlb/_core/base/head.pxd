# The head of an HTTP/1.1 message, cut into spans, and how its body is framed.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastlb._core.base.limits cimport FIELDS_MAX, MEMBERS_MAX

cdef struct Text:               # bytes of somebody else, who outlives it
    const uint8_t* at
    uint32_t size

cdef enum Method:
    METHOD_OTHER = 0
    METHOD_GET = 1
    METHOD_HEAD = 2
    METHOD_POST = 3
    METHOD_PUT = 4
    METHOD_DELETE = 5
    METHOD_OPTIONS = 6
    METHOD_CONNECT = 7
    METHOD_TRACE = 8

cdef enum FieldKind:            # the names that mean something to us
    FIELD_OTHER = 0
    FIELD_HOST = 1
    FIELD_CONTENT_LENGTH = 2
    FIELD_TRANSFER_ENCODING = 3
    FIELD_CONNECTION = 4
    FIELD_UPGRADE = 5
    FIELD_EXPECT = 6
    FIELD_TE = 7
    FIELD_TRAILER = 8
    FIELD_KEEP_ALIVE = 9
    FIELD_PROXY_CONNECTION = 10
    FIELD_HTTP2_SETTINGS = 11
    FIELD_FORWARDED = 12
    FIELD_X_FORWARDED_FOR = 13
    FIELD_X_FORWARDED_PROTO = 14
    FIELD_X_FORWARDED_HOST = 15
    FIELD_X_REQUEST_ID = 16
    FIELD_TRACEPARENT = 17
    FIELD_VIA = 18
    FIELD_COOKIE = 19
    FIELD_ACCEPT = 20
    FIELD_WEBSOCKET_KEY = 21
    FIELD_WEBSOCKET_ACCEPT = 22
    FIELD_CONTENT_TYPE = 23
    FIELD_CLAIM = 24            # from here on: what proxies say of a client, see CLAIMS
    CLAIMS = 12                 # their numbers follow each other
    FIELD_AUTHENTICATE = 40         # WWW-Authenticate and Proxy-Authenticate
    FIELD_AUTHORIZATION = 41        # Authorization and Proxy-Authorization

cdef enum HeadFlag:
    HEAD_CLOSE = 1              # the connection ends after this message
    HEAD_UPGRADE = 2            # Connection: upgrade, and an Upgrade that may be passed on
    HEAD_WEBSOCKET = 4
    HEAD_EXPECT = 8             # Expect: 100-continue
    HEAD_TRAILERS = 16          # TE: trailers
    HEAD_ABSOLUTE = 32          # the target had a scheme and a host
    HEAD_UNDERSCORES = 64       # a field's name has one
    HEAD_CLAIMS = 128           # there is a field of FIELD_CLAIM
    HEAD_BINDS = 256            # NTLM or Negotiate: what is authenticated is the connection
    HEAD_ZEROS = 512            # Content-Length begins with zeros

cdef enum BodyKind:
    BODY_NONE = 0
    BODY_LENGTH = 1
    BODY_CHUNKED = 2
    BODY_CLOSE = 3              # a response up to the connection's end

cdef struct Body:
    uint8_t kind
    uint8_t state               # of a chunked one: ChunkState
    uint8_t done
    uint8_t digits              # of the chunk size so far
    uint8_t of_server           # chunked: what clients may not send is borne with
    uint32_t extra              # bytes of extensions or trailers so far
    uint32_t trailers_max       # bytes of trailers
    uint64_t left               # of the body, or of the chunk
    uint64_t total              # bytes of content so far

cdef struct Member:             # of a JSON object or a form
    Text name
    Text value                  # a string, or a number or literal as it is written
    bint is_plain               # no object and no array

cdef struct Members:
    uint32_t n
    Member[MEMBERS_MAX] all

cdef struct Field:
    uint32_t name_at
    uint32_t name_size
    uint32_t value_at
    uint32_t value_size
    uint8_t kind
    uint8_t drop                # not to be passed on

cdef struct Head:
    const uint8_t* bytes        # all offsets are from here
    uint32_t size               # with the blank line
    uint32_t method_at
    uint32_t target_at
    uint32_t target_size
    uint16_t method_size
    uint16_t status
    uint8_t major
    uint8_t minor
    uint8_t method
    uint16_t flags              # HeadFlag
    uint32_t n_fields
    Body body
    Text host                   # without a port
    Text authority              # with it
    Text path                   # normalised, as routes match it
    Text sent                   # the same as servers get it: with the slashes that came
    Text query                  # without its "?"; at NULL: none
    int32_t cookie              # fields of that kind, or -1
    int32_t upgrade
    int32_t websocket_key
    int32_t accept
    int32_t content_type
    int32_t forwarded_for
    int32_t request_id
    Field[FIELDS_MAX] fields
