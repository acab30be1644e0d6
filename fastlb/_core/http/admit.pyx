# A request whose head is complete: who asks, which route it takes, what its server gets.
# Reads core.http.head and the listener; writes x.http, its head for the server, and x.pool.
# Ends: NEXT, ANSWER (x.status: refused, or a route answers by itself), AGAIN (the route or a filter
# asks about the body, which isn't here: x.input has all there is, and x.wanted says how much there
# must be), ASK (a filter waits for x.decision).
from libc.stdint cimport uint16_t, uint32_t, uint8_t
from libc.string cimport memchr, memcpy

from fastlb._core.balance.shares cimport share_by_chance, share_of_key
from fastlb._core.base.enums cimport (
    AGAIN, ANSWER, ASK, EXCHANGE_CLOSE, EXCHANGE_HAS_MORE, EXCHANGE_TRUSTED, HTTP_BINDS,
    HTTP_DEADLINE, HTTP_FILTERED, HTTP_GRPC, HTTP_HALF_CLOSED, HTTP_JSON, HTTP_NO_BODY,
    HTTP_OLD_CLIENT, HTTP_TRAILERS, HTTP_UPGRADE, HTTP_WEBSOCKET, NEXT, PEER_SHUT, READABLE,
    REASON_BAD_REQUEST, REASON_NO_MEMORY, REASON_NO_ROUTE, REASON_RESPONDED, REASON_TOO_LARGE,
)
from fastlb._core.base.facts cimport FACT_CLIENT_IP, FACT_NONE, FactRef
from fastlb._core.base.flow cimport broken, count_write
from fastlb._core.base.head cimport (
    BODY_LENGTH, CLAIMS, FIELD_CLAIM, FIELD_OTHER, FIELD_X_FORWARDED_FOR, HEAD_BINDS, HEAD_CLAIMS,
    HEAD_CLOSE, HEAD_EXPECT, HEAD_TRAILERS, HEAD_UNDERSCORES, HEAD_UPGRADE, HEAD_WEBSOCKET,
    METHOD_HEAD, Field, Head, Text,
)
from fastlb._core.base.httpmem cimport give_http, take_http
from fastlb._core.base.mem cimport chunk_bytes, chunk_size, spend_input, take_input
from fastlb._core.base.net cimport address_text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.reasons cimport end_reason
from fastlb._core.base.routing cimport (
    ACTION_NONE, ACTION_POOL, ACTION_REDIRECT, ACTION_SPLIT, CONTENT_REPEATED, CONTENT_UNSEEN,
    CONTENT_WANTED, MERGE_NOT, MERGE_REWRITE, UNDERSCORES_DROP, UNDERSCORES_REFUSE, HttpEntry,
    Match, Route,
)
from fastlb._core.base.stream cimport stream_write
from fastlb._core.base.text cimport next_token, text_of, text_of_literal
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.types cimport Core, Exchange, Http
from fastlb._core.ext.atomic cimport fl_count, fl_load32, likely, unlikely
from fastlb._core.facts.registry cimport fact_find
from fastlb._core.http.captures cimport capture
from fastlb._core.http.conditions cimport method_is_one_of
from fastlb._core.http.decision cimport bind_as_decided
from fastlb._core.http.filters cimport begin_filters, end_filters
from fastlb._core.http.grpc cimport grpc_timer, is_grpc
from fastlb._core.http.identity cimport trace_request
from fastlb._core.http.networks cimport is_believed
from fastlb._core.http.note cimport make_note
from fastlb._core.http.ntlm cimport bind_to_kept
from fastlb._core.http.rewrite cimport write_request
from fastlb._core.http.routes cimport route_find
from fastlb._core.http.upstream cimport client_of
from fastlb._core.proto.addresses cimport parse_address
from fastlb._core.proto.fields cimport accepts_json
from fastlb._core.proto.http1 cimport field_value
from fastlb._core.proto.uri cimport (
    uri_has_double_slash, uri_has_parameters, uri_is_plain, uri_merge_slashes, uri_normalise,
    uri_query,
)
from fastlb._core.proto.websocket cimport websocket_accept
from fastlb._core.tables.hashring cimport crc32, crc32_nocase
from fastlb._core.tables.sticky cimport sticky_find


cdef int refuse(Exchange* x, int status, int reason) noexcept nogil:
    """An answer that ends the connection: where the next request begins is anyone's guess."""
    x.status = <uint16_t> status
    x.reason = <uint8_t> reason
    x.flags |= EXCHANGE_CLOSE
    return ANSWER


cdef int refuse_head(Exchange* x, int status) noexcept nogil:
    """A head that isn't one, or is too long: what the parser has returned, less the sign."""
    return refuse(x, status, REASON_TOO_LARGE if status == 431 or status == 414
                  else REASON_BAD_REQUEST)


cdef void _name_client(Exchange* x) noexcept nogil:
    """The client's address as text, once for a connection."""
    x.peer_ip_size = address_text(&x.peer, x.peer_ip)
    memcpy(x.client_ip, x.peer_ip, x.peer_ip_size)
    x.client_ip_size = x.peer_ip_size


cdef void _believe(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil:
    """The client as trusted proxies in front of us saw it: the last of X-Forwarded-For that is
    none of them. With several such fields, they are one list. An address counts however it is
    written, and is kept without a port."""
    cdef Head* head = &core.http.head
    cdef Text list
    cdef Text token
    cdef Text found = text_of(NULL, 0)
    cdef Address address
    cdef uint32_t i
    for i in range(head.n_fields):
        if head.fields[i].kind != FIELD_X_FORWARDED_FOR:
            continue
        list = field_value(head, &head.fields[i])
        while next_token(&list, &token):
            if found.size == 0 or not (
                    parse_address(token, &address) and is_believed(&entry.trusted, &address)):
                found = token
    if parse_address(found, &address):
        x.client_ip_size = address_text(&address, x.client_ip)
    elif found.size:                    # "unknown", or what its writer calls it
        if found.size >= sizeof(x.client_ip):       # (in no case the proxy's own address)
            found = text_of_literal(b"unknown")
        memcpy(x.client_ip, found.at, found.size)
        x.client_ip_size = <uint8_t> found.size


cdef bint _disbelieve(Exchange* x, HttpEntry* entry, Head* head) noexcept nogil:
    """Take away what the client may not say: for routes, policies and servers it isn't there.
    False: the request is refused."""
    cdef bint trusted = x.flags & EXCHANGE_TRUSTED
    cdef Field* field
    cdef uint32_t i
    for i in range(head.n_fields):
        field = &head.fields[i]
        if FIELD_CLAIM <= field.kind < FIELD_CLAIM + CLAIMS:
            if not trusted and not entry.kept_claims >> (field.kind - FIELD_CLAIM) & 1:
                field.drop = True
            field.kind = FIELD_OTHER            # (one like any other, from here on)
        elif entry.underscores >= UNDERSCORES_DROP and memchr(
                head.bytes + field.name_at, c'_', field.name_size) != NULL:
            field.drop = True
            if entry.underscores == UNDERSCORES_REFUSE:
                return False
    return True


cdef void _note(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil:
    """What the head says that matters later on."""
    cdef Head* head = &core.http.head
    cdef Http* http = x.http
    cdef Text value
    http.entry = entry
    http.begin_ms = core.now_ms
    http.method = head.method
    http.request = head.body
    if head.method == METHOD_HEAD:
        http.flags |= HTTP_NO_BODY
    if head.minor == 0 or x.carrier != NULL:
        # (of HTTP/2 the answer has neither chunks nor the connection's own fields)
        http.flags |= HTTP_OLD_CLIENT
    if head.flags & HEAD_TRAILERS:
        http.flags |= HTTP_TRAILERS
    if unlikely(head.flags & HEAD_BINDS):
        http.flags |= HTTP_BINDS
    if x.client.ready & PEER_SHUT:
        http.flags |= HTTP_HALF_CLOSED
    if head.accept >= 0:
        value = field_value(head, &head.fields[head.accept])
        if accepts_json(value):
            http.flags |= HTTP_JSON
    if unlikely(head.content_type >= 0) and is_grpc(
            field_value(head, &head.fields[head.content_type])):
        http.flags |= HTTP_GRPC
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
    if unlikely(entry.trusted.n or x.flags & EXCHANGE_TRUSTED):     # (a reload may end all trust)
        memcpy(x.client_ip, x.peer_ip, x.peer_ip_size)
        x.client_ip_size = x.peer_ip_size
        x.flags &= <uint8_t> ~EXCHANGE_TRUSTED
        if is_believed(&entry.trusted, &x.peer):
            x.flags |= EXCHANGE_TRUSTED
            _believe(core, x, entry)


cdef int admit(Core* core, Exchange* x, uint8_t* data, uint32_t used,
               uint32_t size) noexcept nogil:
    """The head is `used` of the `size` bytes at `data`, which are the scratch chunk's or
    x.input's."""
    cdef Head* head = &core.http.head
    cdef HttpEntry* entry = x.bind.http
    cdef Match* match = &core.http.match
    cdef int verdict
    if unlikely(used > entry.header_bytes_max):
        return refuse(x, 431, REASON_TOO_LARGE)
    if likely(x.http == NULL):
        x.http = take_http(core, x)
        if unlikely(x.http == NULL):
            return refuse(x, 503, REASON_NO_MEMORY)
    _note(core, x, entry)
    if x.books.begin_ns == 0:
        x.books.begin_ns = core.now_ns
    if unlikely(head.flags & (HEAD_CLAIMS | HEAD_UNDERSCORES)) and not _disbelieve(x, entry, head):
        return refuse(x, 400, REASON_BAD_REQUEST)
    if unlikely(entry.methods.size) and not method_is_one_of(entry.methods, head):
        return refuse(x, 501, REASON_BAD_REQUEST)
    match.content = CONTENT_UNSEEN
    match.content_max = entry.match_body_max
    match.after = text_of(data + used, size - used)
    match.room = chunk_bytes(core.http.output) + chunk_size(core.http.output.klass) // 2
    match.members = &core.http.members
    match.shown = text_of(NULL, 0)
    verdict = _route(core, x)
    if unlikely(verdict == AGAIN):
        return _wait_for_body(core, x, data, used, size)
    if unlikely(verdict == ASK):
        return _wait_for_decision(core, x, data, size)
    x.wanted = 0
    timer_cancel(&x.timer)
    fl_count(&core.counters.requests, 1)
    fl_count(&x.listener.counters[core.id].requests, 1)
    x.requests += 1
    if head.flags & HEAD_CLOSE or (entry.requests_max and x.requests >= entry.requests_max) \
            or core.closing:
        x.flags |= EXCHANGE_CLOSE
    if unlikely(fl_load32(&core.live.traced) != 0):
        trace_request(core)
    if verdict == NEXT:
        verdict = prepare(core, x, size - used)
    if unlikely(fl_load32(&core.live.recording) != 0):
        make_note(core, x)
    if not _keep_rest(core, x, data, used, size):
        return refuse(x, 503, REASON_NO_MEMORY)
    return verdict


cdef int _wait_for_body(Core* core, Exchange* x, uint8_t* data, uint32_t used,
                        uint32_t size) noexcept nogil:
    """Keep all that there is, to begin anew once the body is here."""
    cdef Head* head = &core.http.head
    cdef bint first = x.wanted == 0
    _keep_filters(core, x)
    x.wanted = used + core.http.match.wanted
    if first and head.flags & HEAD_EXPECT and size == used:
        if stream_write(&x.client, <const char*> b"HTTP/1.1 100 Continue\r\n\r\n", 25,
                        False) != 25:
            return broken(x, &x.client)     # (its socket can't be full: nothing is under way)
        count_write(x, &x.client)
    if x.input == NULL and not take_input(core, x, data, size):
        forget_request(core, x)
        return refuse(x, 503, REASON_NO_MEMORY)
    if x.timer.slot != x.bind.http.header_timer or x.timer.link.next == NULL:
        timer_start(core, &x.timer, x.bind.http.header_timer)
    if x.client.ready & READABLE:       # a read filled its chunk: there is no event for the rest
        x.flags |= EXCHANGE_HAS_MORE
    return AGAIN


cdef int _wait_for_decision(Core* core, Exchange* x, uint8_t* data, uint32_t size) noexcept nogil:
    """Keep all that there is, to begin anew once x.decision is here."""
    _keep_filters(core, x)
    x.wanted = 0
    if x.input == NULL and not take_input(core, x, data, size):
        forget_request(core, x)
        return refuse(x, 503, REASON_NO_MEMORY)
    x.input.scanned = 0
    return ASK


cdef void _keep_filters(Core* core, Exchange* x) noexcept nogil:
    """Forget what was found out about the request, but for what its filters know."""
    cdef Http* http = x.http
    if not http.flags & HTTP_FILTERED:
        forget_request(core, x)
    else:
        http.flags = HTTP_FILTERED


cdef void forget_request(Core* core, Exchange* x) noexcept nogil:
    """A request that waits to be admitted begins anew, or not at all."""
    if x.http == NULL:
        return
    if x.http.flags & HTTP_FILTERED:
        end_filters(core, x)
    give_http(core, x.http)
    x.http = NULL


cdef bint _keep_rest(Core* core, Exchange* x, uint8_t* data, uint32_t used,
                     uint32_t size) noexcept nogil:
    """Keep the bytes that follow the head in x.input, except those already in x.attempt.head."""
    used += x.http.taken
    if x.input != NULL:
        x.input.start += used
        x.input.scanned = 0
        if x.input.start == x.input.end:
            spend_input(core, x)
        return True
    return used == size or take_input(core, x, data + used, size - used)


cdef uint8_t* normalise(Head* head, int merge_slashes, uint8_t* into) noexcept nogil:
    """Path and query as they are matched and passed on: what is behind them; NULL if they can't be.
    They take up to six times the bytes of the target, and one."""
    cdef int n
    head.sent = head.path
    if head.path.size == 0:             # of an absolute form without a path
        into[0] = c'/'
        head.path = head.sent = text_of(into, 1)
        into += 1
    elif head.path.at[0] == c'/' and not uri_is_plain(head.path):
        n = uri_normalise(head.path, into)
        if n < 0:
            return NULL
        head.path = text_of(into, <uint32_t> n)
        into += n
        head.sent = head.path
        if merge_slashes != MERGE_NOT and uri_has_double_slash(head.path):
            # (at last: dot segments are resolved as by servers, which get what came)
            n = <int> uri_merge_slashes(head.path, into)
            head.path = text_of(into, <uint32_t> n)
            into += n
            if merge_slashes == MERGE_REWRITE:
                head.sent = head.path
    if head.query.size:
        n = uri_query(head.query, into)
        if n < 0:
            return NULL
        head.query = text_of(into, <uint32_t> n)
        into += n
    return into


cdef uint32_t _share(Core* core, Exchange* x, const Route* route) noexcept nogil:
    if route.split_on.fact == FACT_NONE:
        return share_by_chance(core, route.shares, route.n_shares)
    return share_of_key(route.shares, route.n_shares, key_hash(core, x, &route.split_on))


cdef uint32_t key_hash(Core* core, Exchange* x, const FactRef* key) noexcept nogil:
    """CRC-32 of what is hashed on; of client.ip where the request lacks it."""
    cdef Text value
    if key.fact != FACT_CLIENT_IP:
        if fact_find(core, x, key, &value):
            return crc32(value.at, value.size)
        fl_count(&core.counters.keys_missing, 1)
    return crc32(<const uint8_t*> x.client_ip, x.client_ip_size)


cdef int _route(Core* core, Exchange* x) noexcept nogil:
    cdef Http* http = x.http
    cdef HttpEntry* entry = http.entry
    cdef Match* match = &core.http.match
    cdef Route* route
    cdef int verdict
    if likely(http.route == NULL):      # (else its filters have begun, and may have chosen one)
        x.pool = NULL
    match.request_id.size = match.trace.size = match.parent.size = 0
    match.decoded = normalise(&core.http.head, entry.merge_slashes, chunk_bytes(core.http.output))
    if match.decoded == NULL or (unlikely(entry.refuse_parameters)
                                 and uri_has_parameters(core.http.head.path)):
        return refuse(x, 400, REASON_BAD_REQUEST)
    route = route_find(core, x, entry)
    if unlikely(match.content >= CONTENT_WANTED):
        if match.content == CONTENT_WANTED:
            return AGAIN
        if match.content == CONTENT_REPEATED:
            return refuse(x, 400, REASON_BAD_REQUEST)
        if http.route == NULL:
            fl_count(&core.counters.bodies_unread, 1)
    if likely(http.route == NULL):
        http.route = route
    else:
        route = http.route              # (the same: what it looks at is as it was)
    if route == NULL:
        x.status = 404
        x.reason = REASON_NO_ROUTE
        return ANSWER
    match.names = route.names
    match.n_names = route.n_names
    if unlikely(route.captures != NULL):
        capture(route.captures, core.http.head.path, match, core.http.output)
    if unlikely(route.body_bytes_max != 0) and http.request.kind == BODY_LENGTH \
            and http.request.left > route.body_bytes_max:
        return refuse(x, 413, REASON_TOO_LARGE)
    if unlikely(route.n_filters != 0):
        verdict = begin_filters(core, x)
        if verdict == ANSWER:
            x.pool = NULL
        if verdict != NEXT or x.pool != NULL:
            return verdict
    return _by_action(core, x, route)


cdef int _by_action(Core* core, Exchange* x, Route* route) noexcept nogil:
    if route.action == ACTION_POOL:
        x.pool = &x.snapshot.pools[route.pool]
    elif route.action == ACTION_SPLIT:
        x.pool = &x.snapshot.pools[_share(core, x, route)]
    elif unlikely(route.action == ACTION_NONE):
        x.status = 404
        x.reason = REASON_NO_ROUTE
        return ANSWER
    else:
        x.status = route.status if route.action == ACTION_REDIRECT else route.reply.status
        x.reason = REASON_RESPONDED
        return ANSWER
    return NEXT


cdef uint16_t _sooner(const Core* core, uint16_t a, uint16_t b) noexcept nogil:
    """The slot of the shorter time, where 0 is any."""
    if a == 0 or b == 0:
        return a | b
    return a if core.timers[a].length_ms <= core.timers[b].length_ms else b


cdef int prepare(Core* core, Exchange* x, uint32_t available) noexcept nogil:
    """For a server of x.pool."""
    cdef Route* route = x.http.route
    cdef Text token
    cdef uint16_t timer, deadline
    cdef int status
    if x.pool.is_keyed:
        x.hash = key_hash(core, x, &route.hash_on if route.hash_on.fact else &x.pool.hash_key)
    timer = route.request_timer
    if unlikely(x.http.flags & HTTP_GRPC):
        deadline = grpc_timer(core, x.http.entry)
        timer = _sooner(core, timer, deadline)
        if deadline and timer == deadline:
            x.http.flags |= HTTP_DEADLINE
    if timer:
        timer_start(core, &x.http.timer, timer)
    x.n_tried = x.books.attempts = 0
    x.bound_to = 0
    if unlikely(x.pool.sticky != NULL) and fact_find(
            core, x, &x.pool.sticky.cookie, &token):
        x.bound_to = <uint16_t> sticky_find(x.pool.sticky, token)
    if unlikely(client_of(x).kept != NULL):
        bind_to_kept(x)
    if unlikely(x.decision != NULL):
        bind_as_decided(x)
    status = write_request(core, x, available)
    if unlikely(status < 0):
        x.status = end_reason(x.reason).status or 502
        x.flags |= EXCHANGE_CLOSE
        return ANSWER
    if unlikely(status != 0):
        return refuse(x, status, REASON_BAD_REQUEST if status == 400 else REASON_TOO_LARGE)
    return NEXT
