# Read a request's head, find its route, and make the head that the server gets.
# Reads the client's stream, the bind and its routes; writes x.http, x.pool, x.hash and x.input.
# Ends: NEXT (a server is wanted), ANSWER (x.status), AGAIN, END (the client is done), FAIL.
from libc.errno cimport EAGAIN
from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcpy, memmove

from fastlb._core.base.enums cimport (
    AGAIN, ANSWER, END, EXCHANGE_CLOSE, EXCHANGE_HAS_MORE, EXCHANGE_TRUSTED, HTTP_HALF_CLOSED,
    HTTP_JSON, HTTP_NO_BODY, HTTP_OLD_CLIENT, HTTP_TRAILERS, HTTP_UPGRADE, HTTP_WEBSOCKET, NEXT,
    PEER_SHUT, READABLE, REASON_BAD_REQUEST, REASON_DONE, REASON_NO_MEMORY, REASON_NO_ROUTE,
    REASON_RESPONDED, REASON_TOO_LARGE, STREAM_EOF,
)
from fastlb._core.base.flow cimport broken, flow_read
from fastlb._core.base.head cimport (
    BODY_LENGTH, FIELD_X_FORWARDED_FOR, HEAD_CLOSE, HEAD_TRAILERS, HEAD_UPGRADE, HEAD_WEBSOCKET,
    METHOD_HEAD, Head, Text,
)
from fastlb._core.base.httpmem cimport give_http, take_http
from fastlb._core.base.limits cimport HTTP_OUTPUT_CLASS
from fastlb._core.base.mem cimport chunk_bytes, chunk_size, give_input, take_held, take_input
from fastlb._core.base.routing cimport (
    ACTION_POOL, ACTION_SPLIT, HASH_CLIENT_ADDRESS, HASH_CLIENT_IP, HASH_NOTHING, HashKey,
    HttpEntry, Route,
)
from fastlb._core.base.text cimport next_token, text_of
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.types cimport Chunk, Core, Exchange, Http, PoolEntry, Snapshot
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely
from fastlb._core.ext.linux cimport AF_INET, AF_INET6, inet_ntop, memmem
from fastlb._core.http.rewrite cimport write_request
from fastlb._core.http.routes cimport is_trusted, key_find, route_find, text_is_trusted
from fastlb._core.proto.http1 cimport field_value, parse_request
from fastlb._core.proto.uri cimport uri_is_plain, uri_normalise, uri_query
from fastlb._core.proto.websocket cimport websocket_accept
from fastlb._core.tables.hashring cimport crc32, crc32_nocase, hash_client


cdef inline int _refuse(Exchange* x, int status, int reason) noexcept nogil:
    """An answer that ends the connection: where the next request begins is anyone's guess."""
    x.status = <uint16_t> status
    x.reason = <uint8_t> reason
    x.flags |= EXCHANGE_CLOSE
    return ANSWER


cdef bint _may_be_whole(const uint8_t* data, uint32_t seen, uint32_t size) noexcept nogil:
    """Whether a head that was incomplete up to `seen` is worth another look: it has got its blank
    line, or a line that ends as none may."""
    cdef uint32_t i = seen
    cdef const uint8_t* found
    while i < size:
        found = <const uint8_t*> memchr(data + i, 10, size - i)
        if found == NULL:
            return False
        i = <uint32_t> (found - data)
        if i == 0 or data[i - 1] != 13:
            return True
        if i >= 3 and data[i - 2] == 10:
            return True
        i += 1
    return False


cdef int _nothing(Core* core, Exchange* x, ssize_t n) noexcept nogil:
    """There was nothing to read: wait, or the client has gone."""
    if n == -EAGAIN:
        return AGAIN
    if n < 0:
        return broken(x, &x.client)
    x.reason = REASON_DONE if x.input == NULL else REASON_BAD_REQUEST
    return END


cdef int request_step(Core* core, Exchange* x) noexcept nogil:
    cdef HttpEntry* entry = x.bind.http
    cdef Chunk* scratch = core.scratch[x.chunk_class]
    cdef uint8_t* data
    cdef uint32_t size, seen
    cdef ssize_t n
    cdef int used
    if x.input == NULL:
        if not x.client.ready & READABLE:
            return _nothing(core, x, 0) if x.client.flags & STREAM_EOF else AGAIN
        n = flow_read(&x.client, chunk_bytes(scratch), chunk_size(scratch.klass))
        if n <= 0:
            return _nothing(core, x, n)
        data = chunk_bytes(scratch)
        size = <uint32_t> n
        used = parse_request(&core.http.head, data, size, entry.fields_max, entry.uri_bytes_max)
        if likely(used > 0):
            return _begin(core, x, data, <uint32_t> used, size)
        if used == 0 and not take_input(core, x, data, size):
            return _refuse(x, 503, REASON_NO_MEMORY)
    else:
        seen = x.input.scanned
        if seen == 0:                   # pipelined: what came with the request before
            used = _try(core, x, entry)
        elif not x.client.ready & READABLE:
            return _nothing(core, x, 0) if x.client.flags & STREAM_EOF else AGAIN
        else:
            used = 0
        if used == 0 and x.client.ready & READABLE:
            if x.input.end == chunk_size(x.input.klass) and not _grow_input(core, x, entry):
                return _refuse(x, 431, REASON_TOO_LARGE)
            n = flow_read(&x.client, chunk_bytes(x.input) + x.input.end,
                          chunk_size(x.input.klass) - x.input.end)
            if n <= 0:
                return _nothing(core, x, n)
            x.input.end += <uint32_t> n
            used = _try(core, x, entry)
        if used > 0:
            return _begin(core, x, chunk_bytes(x.input) + x.input.start, <uint32_t> used,
                          x.input.end - x.input.start)
    if used < 0:
        return _refuse(x, -used, REASON_TOO_LARGE if used == -431 or used == -414
                       else REASON_BAD_REQUEST)
    if x.input.end - x.input.start > entry.header_bytes_max:
        return _refuse(x, 431, REASON_TOO_LARGE)
    x.input.scanned = x.input.end
    if x.timer.slot != entry.header_timer or x.timer.link.next == NULL:
        timer_start(core, &x.timer, entry.header_timer)
    if x.client.flags & STREAM_EOF:
        return _nothing(core, x, 0)
    return AGAIN if not x.client.ready & READABLE else _more_later(x)


cdef inline int _more_later(Exchange* x) noexcept nogil:
    """There is more to read: come back after others had their turn."""
    x.flags |= EXCHANGE_HAS_MORE
    return AGAIN


cdef int _try(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil:
    """Parse what is in x.input, if it may be whole by now."""
    cdef Chunk* chunk = x.input
    cdef uint8_t* data = chunk_bytes(chunk) + chunk.start
    cdef uint32_t seen = chunk.scanned - chunk.start if chunk.scanned else 0
    if seen and not _may_be_whole(data, seen, chunk.end - chunk.start):
        return 0
    return parse_request(&core.http.head, data, chunk.end - chunk.start, entry.fields_max,
                         entry.uri_bytes_max)


cdef bint _grow_input(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil:
    """Room for more of a head: move it to the chunk's begin, or to a larger chunk."""
    cdef Chunk* chunk = x.input
    cdef Chunk* bigger
    cdef uint32_t size = chunk.end - chunk.start
    if chunk.start:
        memmove(chunk_bytes(chunk), chunk_bytes(chunk) + chunk.start, size)
        chunk.scanned = chunk.scanned - chunk.start if chunk.scanned else 0
        chunk.start = 0
        chunk.end = size
        return True
    if size > entry.header_bytes_max or chunk.klass + 1 >= HTTP_OUTPUT_CLASS:
        return False
    bigger = take_held(core, chunk.klass + 1)
    if bigger == NULL:
        return False
    memcpy(chunk_bytes(bigger), chunk_bytes(chunk), size)
    bigger.end = size
    bigger.scanned = chunk.scanned
    give_input(core, x)
    x.input = bigger
    return True


cdef void _name_client(Exchange* x) noexcept nogil:
    """The client's address as text, once for a connection."""
    if x.peer.family == AF_INET:
        inet_ntop(AF_INET, &x.peer.v4.sin_addr, x.peer_ip, sizeof(x.peer_ip))
    elif x.peer.family == AF_INET6:
        inet_ntop(AF_INET6, &x.peer.v6.sin6_addr, x.peer_ip, sizeof(x.peer_ip))
    else:
        memcpy(x.peer_ip, <const char*> b"unix:", 6)
    while x.peer_ip[x.peer_ip_size]:
        x.peer_ip_size += 1
    memcpy(x.client_ip, x.peer_ip, x.peer_ip_size)
    x.client_ip_size = x.peer_ip_size


cdef void _believe(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil:
    """The client as trusted proxies in front of us saw it: the last of X-Forwarded-For that is
    none of them. With several such fields, they are one list."""
    cdef Head* head = &core.http.head
    cdef Text list
    cdef Text token
    cdef Text found = text_of(NULL, 0)
    cdef uint32_t i
    for i in range(head.n_fields):
        if head.fields[i].kind != FIELD_X_FORWARDED_FOR:
            continue
        list = field_value(head, &head.fields[i])
        while next_token(&list, &token):
            if found.size == 0 or not text_is_trusted(entry, token):
                found = token
    if 0 < found.size < sizeof(x.client_ip):
        memcpy(x.client_ip, found.at, found.size)
        x.client_ip_size = <uint8_t> found.size


cdef int _begin(Core* core, Exchange* x, uint8_t* data, uint32_t used,
                uint32_t size) noexcept nogil:
    """A whole head: `used` of the `size` bytes at `data`, which are the scratch chunk's or
    x.input's."""
    cdef Head* head = &core.http.head
    cdef HttpEntry* entry = x.bind.http
    cdef Http* http = take_http(core, x)
    cdef Text value
    cdef int verdict
    if unlikely(http == NULL):
        return _refuse(x, 503, REASON_NO_MEMORY)
    if unlikely(used > entry.header_bytes_max):
        give_http(core, http)
        return _refuse(x, 431, REASON_TOO_LARGE)
    x.http = http
    http.entry = entry
    http.begin_ms = core.now_ms
    http.method = head.method
    http.request = head.body
    timer_cancel(&x.timer)
    fl_count(&core.counters.requests, 1)
    fl_count(&x.listener.counters[core.id].requests, 1)
    x.requests += 1
    if head.flags & HEAD_CLOSE or (entry.requests_max and x.requests >= entry.requests_max) \
            or core.closing:
        x.flags |= EXCHANGE_CLOSE
    if head.method == METHOD_HEAD:
        http.flags |= HTTP_NO_BODY
    if head.minor == 0:
        http.flags |= HTTP_OLD_CLIENT
    if head.flags & HEAD_TRAILERS:
        http.flags |= HTTP_TRAILERS
    if x.client.ready & PEER_SHUT:
        http.flags |= HTTP_HALF_CLOSED
    if head.accept >= 0:
        value = field_value(head, &head.fields[head.accept])
        if memmem(value.at, value.size, <const char*> b"application/json", 16) != NULL:
            http.flags |= HTTP_JSON
    if unlikely(head.flags & HEAD_UPGRADE):
        http.flags |= HTTP_UPGRADE
        value = field_value(head, &head.fields[head.upgrade])
        http.upgrade = crc32_nocase(value.at, value.size)
        if head.flags & HEAD_WEBSOCKET:
            http.flags |= HTTP_WEBSOCKET
            websocket_accept(field_value(head, &head.fields[head.websocket_key]),
                             http.websocket_accept)
    if x.peer_ip_size == 0:
        _name_client(x)
    if unlikely(entry.n_trusted):
        memcpy(x.client_ip, x.peer_ip, x.peer_ip_size)
        x.client_ip_size = x.peer_ip_size
        x.flags &= <uint8_t> ~EXCHANGE_TRUSTED
        if is_trusted(entry, &x.peer):
            x.flags |= EXCHANGE_TRUSTED
            _believe(core, x, entry)
    verdict = _route(core, x, size - used)
    if not _keep_rest(core, x, data, used, size):
        return _refuse(x, 503, REASON_NO_MEMORY)
    return verdict


cdef bint _keep_rest(Core* core, Exchange* x, uint8_t* data, uint32_t used,
                     uint32_t size) noexcept nogil:
    """What came after the head stays in x.input, but for what went into x.http.head already."""
    used += x.http.taken
    if x.input != NULL:
        x.input.start += used
        x.input.scanned = 0
        if x.input.start == x.input.end:
            give_input(core, x)
        return True
    return used == size or take_input(core, x, data + used, size - used)


cdef bint _normalise(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil:
    cdef Head* head = &core.http.head
    cdef uint8_t* into = chunk_bytes(core.http.output)
    cdef int n
    if head.path.size == 0:             # of an absolute form without a path
        into[0] = 47
        head.path = text_of(into, 1)
        into += 1
    elif head.path.at[0] == 47 and not uri_is_plain(head.path):
        n = uri_normalise(head.path, entry.merge_slashes, into)
        if n < 0:
            return False
        head.path = text_of(into, <uint32_t> n)
        into += n
    if head.query.size:
        n = uri_query(head.query, into)
        if n < 0:
            return False
        head.query = text_of(into, <uint32_t> n)
    return True


cdef PoolEntry* _share(Core* core, Exchange* x, Route* route) noexcept nogil:
    """A pool of a split: by chance, or by what it is split on."""
    cdef Snapshot* snapshot = x.snapshot
    cdef uint32_t total = route.shares[route.n_shares - 1].upto
    cdef uint32_t place, i
    if route.split_on.on == HASH_NOTHING:
        core.http.random ^= core.http.random << 13
        core.http.random ^= core.http.random >> 7
        core.http.random ^= core.http.random << 17
        place = <uint32_t> ((core.http.random >> 32) * total >> 32)
    else:
        # Not the hash that pools use: those of one share would all be alike in it.
        place = _key_hash(core, x, &route.split_on) * <uint32_t> 2654435761u
        place = <uint32_t> (<uint64_t> place * total >> 32)
    for i in range(route.n_shares):
        if place < route.shares[i].upto:
            return &snapshot.pools[route.shares[i].pool]
    return &snapshot.pools[route.shares[route.n_shares - 1].pool]


cdef uint32_t _key_hash(Core* core, Exchange* x, const HashKey* key) noexcept nogil:
    """CRC-32 of what is hashed on; of client.ip where the request lacks it."""
    cdef Text value
    if key.on == HASH_CLIENT_ADDRESS:
        return hash_client(&x.peer, HASH_CLIENT_ADDRESS)
    if key.on != HASH_CLIENT_IP:
        if key_find(key, &core.http.head, &core.http.match, &value):
            return crc32(value.at, value.size)
        fl_count(&core.counters.keys_missing, 1)
    return crc32(<const uint8_t*> x.client_ip, x.client_ip_size)


cdef int _route(Core* core, Exchange* x, uint32_t available) noexcept nogil:
    cdef Http* http = x.http
    cdef HttpEntry* entry = http.entry
    cdef Head* head = &core.http.head
    cdef Route* route
    if not _normalise(core, x, entry):
        return _refuse(x, 400, REASON_BAD_REQUEST)
    route = route_find(entry, head, &core.http.match)
    http.route = route
    core.http.match.request_id.size = 0
    if route == NULL:
        x.status = 404
        x.reason = REASON_NO_ROUTE
        return ANSWER
    if unlikely(route.body_bytes_max != 0) and http.request.kind == BODY_LENGTH \
            and http.request.left > route.body_bytes_max:
        return _refuse(x, 413, REASON_TOO_LARGE)
    if route.action == ACTION_POOL:
        x.pool = &x.snapshot.pools[route.pool]
    elif route.action == ACTION_SPLIT:
        x.pool = _share(core, x, route)
    else:
        x.status = route.status
        x.reason = REASON_RESPONDED
        return ANSWER
    if x.pool.n_ring:
        x.hash = _key_hash(core, x, &route.hash_on if route.hash_on.on else &x.pool.hash_key)
    if route.request_timer:
        timer_start(core, &http.timer, route.request_timer)
    x.n_tried = 0
    if not write_request(core, x, available):
        return _refuse(x, 431, REASON_TOO_LARGE)
    return NEXT
