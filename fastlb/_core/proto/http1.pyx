# What an HTTP/1.1 head means to a proxy, and what a proxy must refuse. llhttp cuts a head into
# spans, and here each of them is believed or not. docs/http.md has the rules with their clauses.
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memset

from fastlb._core.base.head cimport (
    BODY_CHUNKED, BODY_CLOSE, BODY_LENGTH, BODY_NONE, CLAIMS, FIELD_ACCEPT, FIELD_AUTHENTICATE,
    FIELD_AUTHORIZATION, FIELD_CLAIM, FIELD_CONNECTION, FIELD_CONTENT_LENGTH, FIELD_CONTENT_TYPE,
    FIELD_COOKIE, FIELD_EXPECT, FIELD_HOST, FIELD_HTTP2_SETTINGS, FIELD_KEEP_ALIVE, FIELD_OTHER,
    FIELD_PROXY_CONNECTION, FIELD_TE, FIELD_TRAILER, FIELD_TRANSFER_ENCODING, FIELD_UPGRADE,
    FIELD_WEBSOCKET_ACCEPT, FIELD_WEBSOCKET_KEY, FIELD_X_FORWARDED_FOR, FIELD_X_REQUEST_ID,
    HEAD_ABSOLUTE, HEAD_BINDS, HEAD_CLAIMS, HEAD_CLOSE, HEAD_EXPECT, HEAD_TRAILERS,
    HEAD_UNDERSCORES, HEAD_UPGRADE, HEAD_WEBSOCKET, HEAD_ZEROS, METHOD_CONNECT, METHOD_GET,
    METHOD_OPTIONS, METHOD_OTHER, Field, Head, Text,
)
from fastlb._core.base.limits cimport TRAILER_BYTES_MAX
from fastlb._core.base.text cimport (
    is_digit, is_literal, is_literal_nocase, lower, next_token, text_of, trimmed,
)
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.ext.llhttp cimport LLHTTP_REQUEST, LLHTTP_RESPONSE
from fastlb._core.proto.fields cimport accepts_json, binds_connection, field_kind, shadows
from fastlb._core.proto.llhttp cimport llhttp_parse
from fastlb._core.proto.methods cimport find_method

cdef enum:
    TOKENS_MAX = 32             # of a Connection field


cdef bint _parse_length(Text text, uint64_t* length) noexcept nogil:
    """RFC 9110, 8.6: digits alone. Below 2^63, which every reader of it can count to."""
    cdef uint64_t value = 0
    cdef uint32_t i
    if text.size == 0 or text.size > 18:
        return False
    for i in range(text.size):
        if not is_digit(text.at[i]):
            return False
        value = value * 10 + (text.at[i] - 48)
    length[0] = value
    return True


cdef bint valid_host(Text host, Text* name) noexcept nogil:
    """A name or address with an optional port (RFC 9110, 4.2 and 7.2); `name` is without it."""
    cdef uint32_t i = 0, start, port = 0
    cdef uint8_t c
    if host.size == 0 or host.size > 255 + 6:
        return False
    if host.at[0] == c'[':                            # [v6]
        i = 1
        while i < host.size and host.at[i] != c']':
            c = host.at[i]
            if not (is_digit(c) or c == c':' or c == c'.' or 97 <= lower(c) <= 102):
                return False
            i += 1
        if i == host.size or i < 3:
            return False
        i += 1
    else:
        while i < host.size and host.at[i] != c':':
            c = lower(host.at[i])
            if not (is_digit(c) or c'a' <= c <= c'z' or c == c'-' or c == c'.' or c == c'_'):
                return False
            i += 1
        if i == 0:
            return False
    name[0] = text_of(host.at, i)
    if i == host.size:
        return True
    if host.at[i] != c':':
        return False
    start = i + 1
    if start == host.size or host.size - start > 5:
        return False
    for i in range(start, host.size):
        if not is_digit(host.at[i]):
            return False
        port = port * 10 + host.at[i] - 48
    return port <= 65535


cdef bint _may_be_named(int kind) noexcept nogil:
    """Whether Connection may remove a field: not what framing, routing or we ourselves need."""
    return kind == FIELD_OTHER or kind == FIELD_ACCEPT or kind == FIELD_CONTENT_TYPE \
        or kind == FIELD_COOKIE or kind == FIELD_EXPECT


cdef void _drop_named(Head* head, Text name) noexcept nogil:
    cdef uint32_t i, k
    cdef Field* field
    cdef bint same
    for i in range(head.n_fields):
        field = &head.fields[i]
        if field.name_size != name.size or not _may_be_named(field.kind):
            continue
        same = True
        for k in range(name.size):
            if lower(head.bytes[field.name_at + k]) != lower(name.at[k]):
                same = False
                break
        if same:
            field.drop = True


cdef bint _takes_trailers(Text value) noexcept nogil:
    """Whether "trailers" is among the codings that are taken (RFC 9110, 10.1.4)."""
    cdef Text token
    while next_token(&value, &token):
        if is_literal_nocase(token.at, token.size, b"trailers"):
            return True
    return False


cdef bint _connection(Head* head, Text value, bint* upgrade, bint* keep_alive) noexcept nogil:
    """RFC 9110, 7.6.1: options for this connection alone, and names of fields that are."""
    cdef Text token
    cdef int tokens = 0
    while next_token(&value, &token):
        tokens += 1
        if tokens > TOKENS_MAX:
            return False
        if is_literal_nocase(token.at, token.size, b"close"):
            head.flags |= HEAD_CLOSE
        elif is_literal_nocase(token.at, token.size, b"keep-alive"):
            keep_alive[0] = True
        elif is_literal_nocase(token.at, token.size, b"upgrade"):
            upgrade[0] = True
        else:
            _drop_named(head, token)
    return True


cdef struct Seen:               # what the fields said, before it is judged
    uint32_t lengths
    uint32_t codings
    uint32_t hosts
    uint32_t keys
    uint32_t upgrades
    bint chunked
    bint upgrade
    bint keep_alive
    bint odd_expect
    uint64_t length
    Text host


cdef int _look_at_fields(Head* head, Seen* seen) noexcept nogil:
    """Sort the fields, and note what they say of framing: False if one can't be."""
    cdef uint32_t i, next_line
    cdef Field* field
    cdef Text value
    cdef int kind
    memset(seen, 0, sizeof(Seen))
    for i in range(head.n_fields):
        field = &head.fields[i]
        value = trimmed(head.bytes + field.value_at, field.value_size)
        field.value_at = <uint32_t> (value.at - head.bytes)
        field.value_size = value.size
        kind = field_kind(head.bytes + field.name_at, field.name_size)
        if unlikely(kind == FIELD_AUTHORIZATION or kind == FIELD_AUTHENTICATE):
            if binds_connection(value):
                head.flags |= HEAD_BINDS
            kind = FIELD_OTHER              # to everybody else
        field.kind = <uint8_t> kind
        field.drop = False
        if likely(kind == FIELD_OTHER):
            if unlikely(memchr(head.bytes + field.name_at, c'_', field.name_size) != NULL):
                head.flags |= HEAD_UNDERSCORES
                field.drop = shadows(head.bytes + field.name_at, field.name_size)
        elif FIELD_CLAIM <= kind < FIELD_CLAIM + CLAIMS:
            head.flags |= HEAD_CLAIMS
        elif kind == FIELD_CONTENT_LENGTH:
            seen.lengths += 1
            if not _parse_length(value, &seen.length):
                return False
            if unlikely(value.at[0] == c'0' and value.size > 1):
                field.drop = True           # written anew, without the zeros
                head.flags |= HEAD_ZEROS
        elif kind == FIELD_TRANSFER_ENCODING:
            seen.codings += 1
            seen.chunked = is_literal_nocase(value.at, value.size, b"chunked")
            field.drop = True           # re-framed by us
        elif kind == FIELD_HOST:
            seen.hosts += 1
            seen.host = value
        elif kind == FIELD_EXPECT:
            if is_literal_nocase(value.at, value.size, b"100-continue"):
                head.flags |= HEAD_EXPECT
            else:
                seen.odd_expect = True
        elif kind == FIELD_TE:
            field.drop = True
            if _takes_trailers(value):
                head.flags |= HEAD_TRAILERS
        elif kind == FIELD_UPGRADE:
            field.drop = True
            seen.upgrades += 1
            head.upgrade = <int32_t> i
        elif kind == FIELD_COOKIE:
            head.cookie = <int32_t> i
        elif kind == FIELD_ACCEPT:
            if head.accept < 0 or accepts_json(value):      # (of several lines)
                head.accept = <int32_t> i
        elif kind == FIELD_CONTENT_TYPE:
            head.content_type = <int32_t> i
        elif kind == FIELD_WEBSOCKET_KEY or kind == FIELD_WEBSOCKET_ACCEPT:
            head.websocket_key = <int32_t> i if seen.keys == 0 else -1      # the only one
            seen.keys += 1
        elif kind == FIELD_X_FORWARDED_FOR:
            head.forwarded_for = <int32_t> i
        elif kind == FIELD_X_REQUEST_ID:
            head.request_id = <int32_t> i
        elif (kind == FIELD_CONNECTION or kind == FIELD_KEEP_ALIVE or kind == FIELD_TRAILER
                or kind == FIELD_PROXY_CONNECTION or kind == FIELD_HTTP2_SETTINGS):
            field.drop = True
    for i in range(head.n_fields):
        if head.fields[i].kind == FIELD_CONNECTION:
            value = text_of(head.bytes + head.fields[i].value_at, head.fields[i].value_size)
            if not _connection(head, value, &seen.upgrade, &seen.keep_alive):
                return False
    return seen.lengths <= 1 and seen.codings <= 1


cdef void _begin(Head* head) noexcept nogil:
    head.flags = 0
    head.cookie = head.upgrade = head.websocket_key = head.accept = -1
    head.content_type = head.forwarded_for = head.request_id = -1
    memset(&head.body, 0, sizeof(head.body))
    head.host = head.authority = head.path = head.sent = head.query = text_of(NULL, 0)


cdef bint _split_target(Head* head, Text* authority) noexcept nogil:
    """RFC 9112, 3.2: origin form, absolute form, or * of OPTIONS; into path and query."""
    cdef const uint8_t* at = head.bytes + head.target_at
    cdef uint32_t size = head.target_size, i = 0
    authority[0] = text_of(NULL, 0)
    if size == 0:
        return False
    if at[0] == c'*':
        head.path = text_of(at, size)
        return size == 1 and head.method == METHOD_OPTIONS
    if at[0] != c'/':
        if size > 7 and is_literal_nocase(at, 7, b"http://"):
            i = 7
        elif size > 8 and is_literal_nocase(at, 8, b"https://"):
            i = 8
        else:
            return False
        head.flags |= HEAD_ABSOLUTE
        at += i
        size -= i
        i = 0
        while i < size and at[i] != c'/' and at[i] != c'?' and at[i] != c'#':
            i += 1
        authority[0] = text_of(at, i)
        at += i
        size -= i
    i = 0
    while i < size and at[i] != c'?':
        i += 1
    head.path = text_of(at, i)
    if i < size:
        head.query = text_of(at + i + 1, size - i - 1)
    return True


cdef bint _is_strict_line(const Head* head) noexcept nogil:
    """RFC 9112, 3: one space each, and HTTP alone: llhttp also takes RTSP, ICE and wider gaps."""
    cdef uint32_t end = head.target_at + head.target_size
    return (head.target_at == head.method_at + head.method_size + 1
            and end + 6 <= head.size
            and is_literal(head.bytes + end, 6, b" HTTP/"))


cdef int parse_request(Head* head, const uint8_t* data, size_t size, uint32_t fields_max,
                       uint32_t uri_max) noexcept nogil:
    """Bytes used with the blank line; 0: not all of it is there yet; else minus the status that
    says why it is refused."""
    cdef Seen seen
    cdef Text authority
    cdef int n
    _begin(head)
    head.target_size = 0
    n = find_method(head, data, size)
    if unlikely(n <= 0):
        return -400 if n < 0 else 0
    # (llhttp knows some methods only, and none that has another one's name)
    n = llhttp_parse(head, LLHTTP_REQUEST, data, size, n + 1 if head.method == METHOD_OTHER else 0)
    if n == 0:
        return -414 if head.target_size > uri_max else 0
    if n < 0:
        return -431 if n == -2 else -400
    if head.n_fields > fields_max:
        return -431
    if head.target_size > uri_max:
        return -414
    if head.major != 1 or head.minor > 1:
        return -505
    if not _is_strict_line(head):
        return -400
    if not _look_at_fields(head, &seen):
        return -400
    if head.method == METHOD_CONNECT:
        return -405
    if not _split_target(head, &authority):
        return -400
    if seen.hosts > 1 or (seen.hosts == 0 and head.minor == 1):
        return -400
    if seen.hosts:
        head.authority = seen.host
        if not valid_host(seen.host, &head.host):
            return -400
    if head.flags & HEAD_ABSOLUTE:
        # RFC 9112, 3.2.2 lets the target win; two who disagree on it are fooled, so neither does.
        if not valid_host(authority, &head.host) or (seen.hosts and not _same_host(
                authority, seen.host)):
            return -400
        head.authority = authority
    if seen.odd_expect:
        return -417
    if seen.codings:
        if seen.lengths or not seen.chunked or head.minor == 0:
            return -400
        head.body.kind = BODY_CHUNKED
        head.body.trailers_max = TRAILER_BYTES_MAX
    elif seen.lengths and seen.length:
        head.body.kind = BODY_LENGTH
        head.body.left = seen.length
    else:
        head.body.done = True
    if head.minor == 0:
        if not seen.keep_alive:
            head.flags |= HEAD_CLOSE
        head.flags &= <uint16_t> ~HEAD_EXPECT
    elif seen.upgrade and seen.upgrades == 1 and head.body.done:
        _upgrade(head)
    return n


cdef bint _same_host(Text a, Text b) noexcept nogil:
    cdef uint32_t i
    if a.size != b.size:
        return False
    for i in range(a.size):
        if lower(a.at[i]) != lower(b.at[i]):
            return False
    return True


cdef void _upgrade(Head* head) noexcept nogil:
    """One that may be passed on: a single protocol, and not h2c, behind which we would be blind."""
    cdef Field* field = &head.fields[head.upgrade]
    cdef Text value = text_of(head.bytes + field.value_at, field.value_size)
    if value.size == 0 or memchr(value.at, 44, value.size) != NULL:
        return
    if is_literal_nocase(value.at, value.size, b"h2c") \
            or is_literal_nocase(value.at, value.size, b"h2"):
        return
    if is_literal_nocase(value.at, value.size, b"websocket"):
        if head.method != METHOD_GET or head.websocket_key < 0 or \
                head.fields[head.websocket_key].kind != FIELD_WEBSOCKET_KEY:
            return
        head.flags |= HEAD_WEBSOCKET
    head.flags |= HEAD_UPGRADE


cdef int parse_response(Head* head, const uint8_t* data, size_t size,
                        bint no_body) noexcept nogil:
    """Bytes used with the blank line; 0: not all of it is there yet; -1: it can't be believed.

    `no_body`: the request was HEAD.
    """
    cdef Seen seen
    cdef int n
    _begin(head)
    n = llhttp_parse(head, LLHTTP_RESPONSE, data, size, 0)
    if n <= 0:
        return n if n == 0 else -1
    if head.major != 1 or head.minor > 1 or head.status < 100 or head.status > 599:
        return -1
    if not _look_at_fields(head, &seen):
        return -1
    if seen.codings and (seen.lengths or not seen.chunked or head.minor == 0):
        return -1
    if head.minor == 0 and not seen.keep_alive:
        head.flags |= HEAD_CLOSE
    if head.status == 101:
        if not seen.upgrade or head.upgrade < 0:
            return -1
        head.flags |= HEAD_UPGRADE
        head.body.done = True
    elif no_body or head.status < 200 or head.status == 204 or head.status == 304:
        head.body.done = True
    elif seen.codings:
        head.body.kind = BODY_CHUNKED
        head.body.of_server = True
    elif seen.lengths:
        head.body.kind = BODY_LENGTH if seen.length else BODY_NONE
        head.body.left = seen.length
        head.body.done = seen.length == 0
    else:
        head.body.kind = BODY_CLOSE
        head.flags |= HEAD_CLOSE
    return n
