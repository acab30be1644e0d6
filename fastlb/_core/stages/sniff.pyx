# Find out what a client speaks by its first bytes, and where its connection goes then. Of a plain
# one nothing is taken from the socket: whoever goes on with it finds all of it there.
# Reads the bind and the client's stream; writes x.opening, x.pool and x.policy, and x.input where
# the bytes had to be taken out of TLS.
# Ends: NEXT (x.policy is to be asked, or x.pool picks), HAND (to the listener that x.opening.route
# names), AGAIN (for bytes, or the end of a time), FAIL (nowhere to go, or the client has gone).
from libc.errno cimport EAGAIN
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset

from fastlb._core.balance.hashing cimport session_hash
from fastlb._core.balance.shares cimport share_by_chance, share_of_key
from fastlb._core.base.enums cimport (
    AGAIN, ERROR, FAIL, HAND, LAYER_NONE, NEXT, PEER_SHUT, POLLER_EPOLL, PROTOCOL_MQTT,
    PROTOCOL_TLS, PROTOCOL_UNKNOWN, READABLE, REASON_CLIENT_RESET, REASON_NO_MEMORY,
    REASON_NO_ROUTE, STREAM_CAUTIOUS, STREAM_EOF,
)
from fastlb._core.base.facts cimport FACT_NONE, FACT_TLS
from fastlb._core.base.flow cimport flow_read
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport ALPN_BYTES_MAX, SNIFF_BYTES_MAX, SNIFF_CLASS, TLS_FACTS
from fastlb._core.base.mem cimport chunk_bytes, take_chunk, take_held
from fastlb._core.base.net cimport address_text, net_hold, net_peek
from fastlb._core.base.routing cimport (
    ACTION_LISTENER, ACTION_POOL, ACTION_SPLIT, KEY_CLIENT_ID, KEY_USERNAME, OP_PRESENT, Condition,
    SniffName, SniffRoute, SniffTable,
)
from fastlb._core.base.text cimport equal, hash_bytes, hash_seed, text_of
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.tls cimport tls_chosen
from fastlb._core.base.tlsfacts cimport TLS_SNI, make_facts, tls_fact
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, unlikely
from fastlb._core.http.conditions cimport condition_fits, value_fits
from fastlb._core.proto.protocols cimport (
    SPOKEN_ALPN, SPOKEN_CLIENT_ID, SPOKEN_FACTS, SPOKEN_SNI, SPOKEN_USERNAME, Spoken, protocol_of,
)
from fastlb._core.tables.hashring cimport crc32

cdef struct Bytes:
    const uint8_t* at
    uint32_t size
    bint all                    # no more of them are waited for


# --- the bytes ---

cdef bint _peek(Core* core, Exchange* x, Bytes* seen) noexcept nogil:
    """What is in the socket, and stays there. False: x.reason."""
    cdef ssize_t n = -EAGAIN
    if core.scratch[SNIFF_CLASS] == NULL:
        core.scratch[SNIFF_CLASS] = take_chunk(core, SNIFF_CLASS)
        if core.scratch[SNIFF_CLASS] == NULL:
            x.reason = REASON_NO_MEMORY
            return False
    seen.at = chunk_bytes(core.scratch[SNIFF_CLASS])
    if x.client.ready & READABLE or x.opening.over:
        n = net_peek(x.client.fd, <void*> seen.at, SNIFF_BYTES_MAX)
    if n == -EAGAIN:
        x.client.ready &= <uint8_t> ~READABLE
        n = 0
    elif n < 0:
        x.reason = REASON_CLIENT_RESET
        return False
    else:
        x.client.ready |= READABLE
        seen.all = n == 0 or n >= SNIFF_BYTES_MAX or x.client.ready & PEER_SHUT != 0
    seen.size = <uint32_t> n
    return True


cdef bint _read(Core* core, Exchange* x, Bytes* seen) noexcept nogil:
    """The same of what comes out of TLS: it is taken, into x.input."""
    cdef ssize_t n
    while x.client.ready & READABLE and not x.client.flags & STREAM_EOF \
            and (x.input == NULL or x.input.end < SNIFF_BYTES_MAX):
        if x.input == NULL:
            x.input = take_held(core, SNIFF_CLASS)
            if x.input == NULL:
                x.reason = REASON_NO_MEMORY
                return False
        n = flow_read(&x.client, chunk_bytes(x.input) + x.input.end,
                      SNIFF_BYTES_MAX - x.input.end)
        if n < 0 and n != -EAGAIN:
            x.reason = REASON_CLIENT_RESET
            return False
        if n > 0:
            x.input.end += <uint32_t> n
    if x.input != NULL:
        seen.at = chunk_bytes(x.input)
        seen.size = x.input.end
    seen.all = x.client.flags & STREAM_EOF or seen.size >= SNIFF_BYTES_MAX
    return True


cdef void _wait(Core* core, Exchange* x, uint32_t size, uint32_t wanted) noexcept nogil:
    """For more than the `size` bytes that are here. A socket of TCP tells when all that is wanted
    is: who sends byte by byte wakes nobody up."""
    if size and not x.opening.begun:
        x.opening.begun = True
        timer_start(core, &x.timer, x.bind.sniff.whole_timer)
    if x.client.layer != LAYER_NONE or x.client.flags & STREAM_CAUTIOUS or size == 0:
        return
    if wanted > x.wanted:
        net_hold(x.client.fd, wanted)
        x.opening.held = True
    if unlikely(core.poller.kind != POLLER_EPOLL):      # (it isn't asked again for what is known)
        x.client.ready &= <uint8_t> ~READABLE


cdef void _settle(Exchange* x) noexcept nogil:
    """Nothing is waited for any more."""
    timer_cancel(&x.timer)
    x.wanted = 0
    if x.opening.held:
        x.opening.held = False
        net_hold(x.client.fd, 1)


# --- what they say ---

cdef void _keep_name(Exchange* x, const Spoken* spoken) noexcept nogil:
    """The name that was asked for, where facts of TLS are looked for: by hash_on, policies and the
    log."""
    cdef Text[TLS_FACTS] all
    if spoken.facts[SPOKEN_SNI].size:
        memset(all, 0, sizeof(all))
        all[TLS_SNI] = spoken.facts[SPOKEN_SNI]
        x.client.tls = make_facts(all)


cdef void _keep_key(Exchange* x, int key, Text value) noexcept nogil:
    if value.size:
        x.opening.keys[key] = crc32(value.at, value.size)
        x.opening.keys_known |= <uint8_t> (1 << key)


cdef void _use_secured(Exchange* x, Spoken* spoken) noexcept nogil:
    """Behind TLS, facts of TLS are those of what we have ended, and not of another one in it."""
    cdef int i
    cdef Text chosen = tls_chosen(&x.client)
    for i in range(TLS_FACTS):
        spoken.facts[i] = tls_fact(&x.client, i)
    if chosen.size >= ALPN_BYTES_MAX:
        chosen.size = 0
    spoken.hello.alpn[0] = <uint8_t> chosen.size
    if chosen.size:
        memcpy(&spoken.hello.alpn[1], chosen.at, chosen.size)
    spoken.facts[SPOKEN_ALPN] = text_of(spoken.hello.alpn, chosen.size + 1 if chosen.size else 0)


cdef void _note(Core* core, Exchange* x, Spoken* spoken) noexcept nogil:
    """What is known of the client, for its route and for later."""
    x.opening.protocol = spoken.protocol
    if spoken.protocol == PROTOCOL_UNKNOWN and not x.bind.sniff.is_blind:
        fl_count(&core.counters.protocols_unknown, 1)
    if x.client.layer == LAYER_NONE and x.client.tls == NULL and spoken.protocol == PROTOCOL_TLS:
        _keep_name(x, spoken)
    if spoken.protocol == PROTOCOL_MQTT:
        _keep_key(x, KEY_CLIENT_ID, spoken.facts[SPOKEN_CLIENT_ID])
        _keep_key(x, KEY_USERNAME, spoken.facts[SPOKEN_USERNAME])
    if x.client_ip_size == 0:
        x.client_ip_size = address_text(&x.peer, x.client_ip)


# --- routes ---

cdef bint _offers(const Condition* c, Text offered) noexcept nogil:
    """Whether one of a list of protocols is like that."""
    cdef uint32_t i = 0, size
    while i < offered.size:
        size = offered.at[i]
        if value_fits(c, text_of(offered.at + i + 1, size)):
            return True
        i += 1 + size
    return False


cdef bint sniff_meets(Core* core, Exchange* x, const Condition* c,
                      const Spoken* spoken) noexcept nogil:
    """Whether it holds what a condition asks for, be it wanted or not."""
    cdef Text value
    cdef int which = c.of.fact - FACT_TLS
    if not 0 <= which < SPOKEN_FACTS:
        return condition_fits(core, x, c)
    value = spoken.facts[which]
    if value.size == 0 or c.op == OP_PRESENT:
        return value.size != 0
    return _offers(c, value) if which == SPOKEN_ALPN else value_fits(c, value)


cdef bint _fits(Core* core, Exchange* x, const SniffRoute* route,
                const Spoken* spoken) noexcept nogil:
    cdef uint32_t i
    if route.protocols and not route.protocols >> spoken.protocol & 1:
        return False
    for i in range(route.n_conditions):
        if sniff_meets(core, x, &route.conditions[i], spoken) == route.conditions[i].negate:
            return False
    return True


cdef SniffRoute* _first_of(Core* core, Exchange* x, SniffRoute** routes, uint32_t n,
                           const Spoken* spoken) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if _fits(core, x, routes[i], spoken):
            return routes[i]
    return NULL


cdef SniffRoute* _of_name(Core* core, Exchange* x, Text name, const Spoken* spoken) noexcept nogil:
    cdef const SniffTable* table = x.bind.sniff
    cdef uint64_t hash = hash_bytes(hash_seed(), name.at, name.size)
    cdef uint32_t slot = <uint32_t> (hash ^ hash >> 32) & table.name_mask
    cdef SniffName* found
    while True:                 # ends: a table is never full
        found = table.names[slot]
        if found == NULL:
            return NULL
        if equal(found.name.at, found.name.size, name.at, name.size):
            return _first_of(core, x, found.routes, found.n_routes, spoken)
        slot = (slot + 1) & table.name_mask


cdef SniffRoute* _find(Core* core, Exchange* x, const Spoken* spoken) noexcept nogil:
    """The most specific that fits: of the very name, of the longest wildcard, of any name."""
    cdef const SniffTable* table = x.bind.sniff
    cdef Text name = spoken.facts[SPOKEN_SNI]
    cdef SniffRoute* route = NULL
    cdef uint32_t i
    if table.names != NULL and name.size:
        route = _of_name(core, x, name, spoken)
        for i in range(1, name.size):
            if route != NULL:
                return route
            if name.at[i] == c'.':
                route = _of_name(core, x, text_of(name.at + i, name.size - i), spoken)
    if route != NULL:
        return route
    return _first_of(core, x, table.any, table.n_any, spoken)


cdef uint32_t _share(Core* core, Exchange* x, const SniffRoute* route) noexcept nogil:
    if route.split_on.fact == FACT_NONE:
        return share_by_chance(core, route.shares, route.n_shares)
    return share_of_key(route.shares, route.n_shares, session_hash(core, x, &route.split_on))


cdef int _take(Core* core, Exchange* x, SniffRoute* route) noexcept nogil:
    if route == NULL:
        x.policy = x.bind.policy
    else:
        x.opening.route = route
        x.opening.route_name = route.id
        if route.action == ACTION_LISTENER:
            if route.bind >= 0:
                return HAND
            x.reason = REASON_NO_ROUTE
            return FAIL
        x.policy = route.policy
        if route.action == ACTION_POOL:
            x.pool = &x.snapshot.pools[route.pool]
        elif route.action == ACTION_SPLIT:
            x.pool = &x.snapshot.pools[_share(core, x, route)]
    if x.pool == NULL and x.policy == NULL:
        x.reason = REASON_NO_ROUTE
        return FAIL
    return NEXT


cdef int sniff_told(Core* core, Exchange* x, Spoken* spoken) noexcept nogil:
    """Where it goes, once that is known: NEXT, HAND or FAIL."""
    _note(core, x, spoken)
    return _take(core, x, _find(core, x, spoken))


cdef int sniff_step(Core* core, Exchange* x) noexcept nogil:
    cdef Bytes seen
    cdef Spoken spoken
    cdef bint told
    if x.client.ready & ERROR:
        x.reason = REASON_CLIENT_RESET
        return FAIL
    memset(&seen, 0, sizeof(seen))
    if unlikely(x.bind.sniff.is_blind):
        timer_cancel(&x.timer)
        protocol_of(NULL, 0, &spoken)
        if x.client.layer != LAYER_NONE:
            _use_secured(x, &spoken)
        return sniff_told(core, x, &spoken)
    if not (_peek(core, x, &seen) if x.client.layer == LAYER_NONE else _read(core, x, &seen)):
        return FAIL
    seen.all = seen.all or x.opening.over
    if seen.size < x.wanted and not seen.all:
        _wait(core, x, seen.size, x.wanted)
        return AGAIN
    told = protocol_of(seen.at, seen.size, &spoken)
    if not told and not seen.all:
        if spoken.wanted > SNIFF_BYTES_MAX:
            spoken.wanted = SNIFF_BYTES_MAX
        _wait(core, x, seen.size, spoken.wanted)
        x.wanted = spoken.wanted
        return AGAIN
    _settle(x)
    if x.client.layer != LAYER_NONE:
        _use_secured(x, &spoken)
    return sniff_told(core, x, &spoken)
