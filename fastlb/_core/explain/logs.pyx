# The requests of a log, each rehearsed on one or two configurations.
from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memchr, memcmp, memcpy, memset

from fastlb._core.base.enums cimport (
    ANSWER, ASK, NEXT, REASON_DENIED, REASON_RATE_LIMITED, REHEARSES_LOG,
)
from fastlb._core.base.head cimport Members, Text
from fastlb._core.base.text cimport (
    Writer, equal, hash_bytes, hash_seed, mix64, put, put_literal, text_of,
)
from fastlb._core.base.types cimport Exchange
from fastlb._core.explain.rehearsal cimport Rehearsal, room
from fastlb._core.ext.linux cimport AF_INET, htons
from fastlb._core.http.decision cimport as_the_route_says
from fastlb._core.proto.addresses cimport parse_address
from fastlb._core.proto.logline cimport (
    LINE_CONNECTION, LINE_REQUEST, LINE_UNKNOWN, LogLine, parse_line,
)

cdef enum:
    LINE_BYTES_MAX = 65536      # longer ones are not understood
    LISTENERS_MAX = 64          # that a log's lines may name
    SAMPLES = 5                 # lines that are shown, of each kind
    PLACES = 1048576            # of different outcomes
    SEEN_MAX = 4194304          # of different clients, and of different keys
    DISORDER_MS = 60000         # a log has requests in the order of their ends
    REFUSED_MAX = 256           # clients that are counted at a time; those with most stay
    NONE = 65535
    NOBODY = 2147483647

cdef struct Outcome:            # where a request went
    uint16_t bind
    uint16_t status             # 0: to a server, else of an answer of our own
    uint16_t route              # NONE: none
    uint16_t pool               # NONE: none
    uint32_t server             # of all pools; NOBODY: none

cdef struct Place:
    Outcome one
    Outcome other
    uint64_t requests           # 0: free
    uint64_t bytes

cdef struct Seen:               # a set of hashes, of which some have moved
    uint64_t* places            # 0: free; the lowest bit says whether it moved
    uint64_t n
    uint64_t moved

cdef struct Refused:            # a client that a rate limit or a list refused
    char[46] client
    uint8_t size                # 0: the place is free
    uint64_t requests

cdef struct Totals:
    uint64_t lines
    uint64_t unknown
    uint64_t requests
    uint64_t connections        # of tcp
    uint64_t bytes
    uint64_t clients_unknown    # lines whose client is no IP address
    uint64_t no_route
    uint64_t refused
    uint64_t policies           # requests that a policy would have decided on
    uint64_t keys_missing
    uint64_t changed            # requests that go elsewhere: another pool, or a key's other server
    uint64_t uncounted          # outcomes beyond PLACES
    uint64_t timeless           # lines without a time that is understood
    uint64_t disordered         # lines that are older than one before them, by DISORDER_MS


cdef class Side:
    """One configuration. `names` are those of listeners that lines may name, `binds` their places;
    `bind` is for all other lines. `pools` and `servers` are numbers by which those of two
    configurations can be compared."""

    cdef Rehearsal of
    cdef uint64_t now_ns            # of the latest line so far: time never goes back
    cdef Refused refused[REFUSED_MAX]
    cdef Text names[LISTENERS_MAX]
    cdef uint32_t binds[LISTENERS_MAX]
    cdef uint32_t n_names
    cdef uint32_t bind
    cdef bint is_http
    cdef Text host
    cdef uint32_t* pools
    cdef uint32_t* servers
    cdef list _kept

    def __init__(self, Rehearsal reasons, names, binds, unsigned int bind, bytes host, pools,
                 servers):
        cdef uint32_t i
        self.of = reasons
        self._kept = [*names, host]
        for i in range(<uint32_t> min(len(names), LISTENERS_MAX)):
            self.names[i] = text_of(<const uint8_t*> <const char*> names[i], len(names[i]))
            self.binds[i] = binds[i]
            self.n_names += 1
        self.bind = bind
        self.host = text_of(<const uint8_t*> <const char*> host, len(host))
        free(self.pools)
        free(self.servers)
        self.pools = <uint32_t*> room(len(pools), sizeof(uint32_t))
        self.servers = <uint32_t*> room(len(servers), sizeof(uint32_t))
        for i in range(<uint32_t> len(pools)):
            self.pools[i] = pools[i]
        for i in range(<uint32_t> len(servers)):
            self.servers[i] = servers[i]

    def __dealloc__(self):
        free(self.pools)
        free(self.servers)

    cdef void refuse(self, Text client) noexcept nogil:
        """Count a client. A new one takes the place, and the number, of the one with the fewest
        requests (Metwally et al., Space-Saving, 2005)."""
        cdef Refused* least = &self.refused[0]
        cdef Refused* one
        cdef uint32_t i
        client.size = min(client.size, <uint32_t> sizeof(one.client))
        for i in range(<uint32_t> REFUSED_MAX):
            one = &self.refused[i]
            if one.size == client.size and memcmp(one.client, client.at, client.size) == 0:
                one.requests += 1
                return
            if one.requests < least.requests:
                least = one
        memcpy(least.client, client.at, client.size)
        least.size = <uint8_t> client.size
        least.requests += 1

    def refused_most(self) -> list[tuple[str, int]]:
        """The clients that rate limits refused most often, and how often."""
        cdef uint32_t i
        found = [(self.refused[i].client[:self.refused[i].size].decode("ascii", "replace"),
                  self.refused[i].requests)
                 for i in range(<uint32_t> REFUSED_MAX) if self.refused[i].requests]
        return sorted(found, key=lambda one: (-one[1], one[0]))


cdef bint _set_client(Exchange* x, Text ip, uint32_t port) noexcept nogil:
    if not parse_address(ip, &x.peer):
        return False
    if x.peer.family == AF_INET:
        x.peer.v4.sin_port = htons(<uint16_t> port)
    else:
        x.peer.v6.sin6_port = htons(<uint16_t> port)
    return True


cdef void _put_clean(Writer* w, Text text) noexcept nogil:
    """Without bytes that would end a line."""
    cdef uint8_t c
    cdef uint32_t i
    for i in range(text.size):
        c = text.at[i]
        if c < 32 or c == 127:
            c = 63
        put(w, &c, 1)


cdef void _put_field(Writer* w, const char* name, Text value) noexcept nogil:
    put_literal(w, name)
    _put_clean(w, value)
    put_literal(w, b"\r\n")


cdef uint32_t _write_request(const LogLine* line, Text host, uint8_t* into) noexcept nogil:
    """The head that the client may have sent; 0: it is too long."""
    cdef Writer w
    w.at = into
    w.end = into + 2 * LINE_BYTES_MAX
    w.full = False
    _put_clean(&w, line.method)
    put_literal(&w, b" ")
    _put_clean(&w, line.target)
    if line.query.size:
        put_literal(&w, b"?")
        _put_clean(&w, line.query)
    _put_field(&w, b" HTTP/1.1\r\nHost: ", line.host if line.host.size else host)
    if line.user_agent.size:
        _put_field(&w, b"User-Agent: ", line.user_agent)
    if line.referer.size:
        _put_field(&w, b"Referer: ", line.referer)
    put_literal(&w, b"\r\n")
    return 0 if w.full else <uint32_t> (w.at - into)


cdef uint32_t _bind_of(Side side, const LogLine* line) noexcept nogil:
    cdef uint32_t i
    for i in range(side.n_names):
        if equal(side.names[i].at, side.names[i].size, line.listener.at, line.listener.size):
            return side.binds[i]
    return side.bind


cdef bint _see(Seen* seen, uint64_t hash, bint moved) noexcept nogil:
    """Whether there was room for it."""
    cdef uint64_t place = hash & (2 * SEEN_MAX - 1)
    hash |= 2
    hash &= ~<uint64_t> 1
    while seen.places[place]:
        if seen.places[place] & ~<uint64_t> 1 == hash:
            if moved and not seen.places[place] & 1:
                seen.places[place] |= 1
                seen.moved += 1
            return True
        place = (place + 1) & (2 * SEEN_MAX - 1)
    if seen.n == SEEN_MAX:
        return False
    seen.places[place] = hash | moved
    seen.n += 1
    seen.moved += moved
    return True


cdef object _outcome(const Outcome* o):
    return (o.bind, o.status, -1 if o.route == NONE else o.route,
            -1 if o.pool == NONE else o.pool, -1 if o.server == <uint32_t> NOBODY else o.server)


cdef class Replay:
    """Feed it blocks of whole lines, and ask what came of them."""

    cdef Side _one
    cdef Side _other
    cdef Totals _totals
    cdef Seen _clients
    cdef Seen _keys
    cdef Place* _places
    cdef uint32_t* _used            # which places, in the order in which they were taken
    cdef uint32_t _n_places
    cdef Members* _members
    cdef uint8_t* _room             # for a line's texts, and then for the request
    cdef uint32_t _key
    cdef bint _is_keyed
    cdef Text _samples[2 * SAMPLES]
    cdef uint32_t _n_samples[2]
    cdef readonly list unknown      # the first lines that were not understood
    cdef readonly list lost         # and that no route fits

    def __cinit__(self, Side one, Side other=None):
        self._one, self._other = one, other
        self._places = <Place*> room(2 * PLACES, sizeof(Place))
        self._used = <uint32_t*> room(PLACES, sizeof(uint32_t))
        self._clients.places = <uint64_t*> room(2 * SEEN_MAX, sizeof(uint64_t))
        self._keys.places = <uint64_t*> room(2 * SEEN_MAX, sizeof(uint64_t))
        self._members = <Members*> room(1, sizeof(Members))
        self._room = <uint8_t*> room(3 * LINE_BYTES_MAX, 1)
        self.unknown, self.lost = [], []

    def __dealloc__(self):
        free(self._places)
        free(self._used)
        free(self._clients.places)
        free(self._keys.places)
        free(self._members)
        free(self._room)

    def feed(self, bytes block) -> None:
        cdef const uint8_t* at = <const uint8_t*> <const char*> block
        cdef const uint8_t* end = at + len(block)
        cdef uint32_t i
        self._n_samples[0] = self._n_samples[1] = 0
        with nogil:
            self._feed(at, end)
        for i in range(self._n_samples[0]):
            self.unknown.append((<const char*> self._samples[i].at)[:self._samples[i].size])
        for i in range(self._n_samples[1]):
            self.lost.append((<const char*> self._samples[SAMPLES + i].at)[
                :self._samples[SAMPLES + i].size])
        del self.unknown[SAMPLES:], self.lost[SAMPLES:]

    cdef void _feed(self, const uint8_t* at, const uint8_t* end) noexcept nogil:
        cdef const uint8_t* found
        cdef Text text
        while at < end:
            found = <const uint8_t*> memchr(at, 10, end - at)
            found = found if found != NULL else end
            text = text_of(at, <uint32_t> (found - at))
            if text.size:
                self._line(text)
            at = found + 1

    cdef void _sample(self, int which, Text text) noexcept nogil:
        if self._n_samples[which] < SAMPLES:
            text.size = min(text.size, <uint32_t> 200)
            self._samples[which * SAMPLES + self._n_samples[which]] = text
            self._n_samples[which] += 1

    cdef void _line(self, Text text) noexcept nogil:
        cdef LogLine line
        cdef Outcome one, other
        cdef int kind = LINE_UNKNOWN
        cdef uint32_t key
        cdef bint is_keyed, moved = False
        self._totals.lines += 1
        if text.size < LINE_BYTES_MAX:
            kind = parse_line(text, &line, self._members, self._room)
        if kind == LINE_UNKNOWN:
            self._totals.unknown += 1
            self._sample(0, text)
            return
        if not self._go(self._one, self._one.of, &line, kind, &one):
            self._totals.unknown += 1
            self._sample(0, text)
            return
        self._totals.timeless += line.time_ms == 0
        self._totals.disordered += line.time_ms + DISORDER_MS < self._one.now_ns // 1000000
        key, is_keyed = self._key, self._is_keyed
        if kind == LINE_CONNECTION:
            self._totals.connections += 1
        self._totals.requests += 1
        self._totals.bytes += line.bytes
        if one.route == NONE and one.status == 404:
            self._totals.no_route += 1
            self._sample(1, text)
        elif one.status and one.route == NONE:
            self._totals.refused += 1
        memset(&other, 0, sizeof(other))
        if self._other is not None:
            if not self._go(self._other, self._other.of, &line, kind, &other):
                other.route = other.pool = NONE
                other.server = <uint32_t> NOBODY
                other.status = 404
            moved = self._has_moved(&one, &other, is_keyed and self._is_keyed)
            self._totals.changed += moved
        _see(&self._clients, mix64(hash_bytes(
            hash_seed(), line.client_ip.at, line.client_ip.size)), moved)
        if is_keyed:
            _see(&self._keys, mix64(<uint64_t> one.pool << 32 | key), moved)
        self._count(&one, &other, line.bytes)

    cdef bint _has_moved(self, const Outcome* one, const Outcome* other, bint keyed) noexcept nogil:
        if one.status != other.status or (one.pool == NONE) != (other.pool == NONE):
            return True
        if one.pool == NONE:
            return False
        if self._one.pools[one.pool] != self._other.pools[other.pool]:
            return True
        if not keyed:
            return False
        if one.server == <uint32_t> NOBODY or other.server == <uint32_t> NOBODY:
            return one.server != other.server
        return self._one.servers[one.server] != self._other.servers[other.server]

    cdef bint _go(self, Side side, Rehearsal of, const LogLine* line, int kind,
                  Outcome* o) noexcept nogil:
        """Let one go its way; False if it can't be."""
        cdef uint8_t* raw = self._room + LINE_BYTES_MAX
        cdef uint32_t size, bind = _bind_of(side, line)
        cdef Exchange* x = of.begin(bind)
        cdef int verdict = NEXT
        memset(o, 0, sizeof(Outcome))
        o.bind = <uint16_t> bind
        o.route, o.pool, o.server = NONE, NONE, <uint32_t> NOBODY
        if x == NULL or (x.bind.http == NULL) != (kind == LINE_CONNECTION):
            return False
        if not _set_client(x, line.client_ip, line.client_port) and side is self._one:
            self._totals.clients_unknown += 1
        self._is_keyed = False
        of.core.rehearses = REHEARSES_LOG
        if line.time_ms * 1000000 > side.now_ns:
            side.now_ns = line.time_ms * 1000000
        of.core.now_ns = side.now_ns
        if of.denies():                 # (its connection would be closed)
            verdict, x.status, x.reason = ANSWER, 403, REASON_DENIED
        elif kind == LINE_REQUEST:
            size = _write_request(line, side.host, raw)
            if size == 0:
                return False
            of.core.counters.keys_missing = 0
            verdict = of.receive(raw, size)
            if verdict == ASK:
                self._totals.policies += side is self._one
                x.decision = as_the_route_says()
                verdict = of.receive(raw, size)
            if side is self._one and of.core.counters.keys_missing:
                self._totals.keys_missing += 1
            if x.http != NULL and x.http.route != NULL:
                o.route = <uint16_t> (x.http.route - x.bind.http.routes)
        if verdict == NEXT and x.pool == NULL:
            o.status = 404              # (of tcp, by what a client says first: no log has that)
        elif verdict == NEXT:
            self._pick(of, x, o)
        else:
            o.status = x.status if verdict == ANSWER else 400
            if x.reason == REASON_RATE_LIMITED or x.reason == REASON_DENIED:
                side.refuse(line.client_ip)
        if x.http != NULL:
            x.http.response.total = line.bytes
        of.end()
        return True

    cdef void _pick(self, Rehearsal of, Exchange* x, Outcome* o) noexcept nogil:
        self._is_keyed = x.pool.is_keyed
        o.pool = <uint16_t> (x.pool - of.table.pools)
        if of.pick() == NEXT:
            o.pool = <uint16_t> (x.pool - of.table.pools)
            o.server = of.server_at(x.attempt.entry)
        else:
            o.status = 503
        self._key = x.hash
        of.put_back()

    cdef void _count(self, const Outcome* one, const Outcome* other,
                     uint64_t n_bytes) noexcept nogil:
        cdef uint64_t hash = hash_bytes(
            hash_bytes(hash_seed(), <const uint8_t*> one, sizeof(Outcome)),
            <const uint8_t*> other, sizeof(Outcome))
        cdef uint32_t at = <uint32_t> (mix64(hash) & (2 * PLACES - 1))
        cdef Place* place
        while True:
            place = &self._places[at]
            if place.requests == 0:
                if self._n_places == PLACES:
                    self._totals.uncounted += 1
                    return
                self._used[self._n_places] = at
                self._n_places += 1
                place.one, place.other = one[0], other[0]
                break
            if equal(<const uint8_t*> &place.one, sizeof(Outcome), <const uint8_t*> one,
                     sizeof(Outcome)) and equal(
                         <const uint8_t*> &place.other, sizeof(Outcome), <const uint8_t*> other,
                         sizeof(Outcome)):
                break
            at = (at + 1) & (2 * PLACES - 1)
        place.requests += 1
        place.bytes += n_bytes

    @property
    def totals(self) -> dict[str, int]:
        found = dict(self._totals)
        found["clients"], found["clients_moved"] = self._clients.n, self._clients.moved
        found["keys"], found["keys_moved"] = self._keys.n, self._keys.moved
        return found

    def counted(self) -> list[tuple]:
        """(where they went by the one, by the other, requests, bytes): each where is (bind, status
        or 0, route, pool, server), -1 for none."""
        cdef Place* place
        cdef uint32_t i
        found = []
        for i in range(self._n_places):
            place = &self._places[self._used[i]]
            found.append((_outcome(&place.one), _outcome(&place.other), place.requests,
                          place.bytes))
        return found
