# Why a request goes where it goes, from a rehearsal: for Python.
from libc.stdint cimport uint16_t, uint32_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from fastlb._core.base.enums cimport (
    AGAIN, ANSWER, ASK, EXCHANGE_TRUSTED, FAIL, NEXT, REASON_RESPONDED,
)
from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.limits cimport HTTP_OUTPUT_CLASS, SEGMENTS_MAX
from fastlb._core.base.mem cimport chunk_bytes, chunk_size, give_held
from fastlb._core.base.parts cimport About, Address, ProxyHeader, ServerAddress
from fastlb._core.base.proxyfacts cimport PROXY_DST, make_proxied
from fastlb._core.base.routing cimport DECISION_POOL, Condition, Decision, HttpEntry, Match, Route
from fastlb._core.base.text cimport Writer, text_of
from fastlb._core.base.tlsfacts cimport drop_facts
from fastlb._core.base.types cimport Exchange, PoolEntry, ServerEntry
from fastlb._core.base.types cimport Snapshot as SnapshotTable
from fastlb._core.explain.rehearsal cimport Rehearsal, room
from fastlb._core.explain.routes cimport TRIED_HOST, TRIED_PATH, look_at_routes
from fastlb._core.ext.atomic cimport fl_load32
from fastlb._core.facts.about cimport about_drop, about_take
from fastlb._core.facts.registry cimport fact_find
from fastlb._core.filters.compress cimport coding_of
from fastlb._core.filters.rate_limit cimport rates_of
from fastlb._core.http.admit cimport prepare
from fastlb._core.http.conditions cimport condition_fits, value_seen
from fastlb._core.http.decision cimport as_the_route_says, failed, shown_body
from fastlb._core.policy.call cimport decision_of
from fastlb._core.policy.request cimport Request, facts_of, make_request
from fastlb._core.stages.answer cimport write_answer
from fastlb._core.tables.caller cimport Caller
from fastlb._core.tables.compression import NAMES as _CODINGS
from fastlb._core.tables.reasons import ERRORS as _ERRORS
from fastlb._core.tables.snapshot cimport pack_address

cdef enum:
    NOT_ROUTED = 0xFFFFFFFF         # segments; there are never so many

_VERDICTS = {NEXT: "forward", ANSWER: "answer", ASK: "ask", AGAIN: "wait", FAIL: "answer"}


cdef str _why(int reason):
    """As the error header says it; "responded" where a route answers."""
    return "responded" if reason == REASON_RESPONDED else _ERRORS.get(reason, "")


cdef bytes bytes_of(Text text):
    return (<const char*> text.at)[:text.size] if text.size else b""


cdef Address client_address(object where) except *:
    """A client's address: (host, port), or None for a unix socket's."""
    cdef ServerAddress packed
    cdef Address address
    memset(&address, 0, sizeof(address))
    if where is not None:
        pack_address(where, &packed)
        memcpy(&address, &packed, sizeof(address))
    return address


cdef class Reasons(Rehearsal):
    """Tries requests and connections on a snapshot; see Rehearsal.

    `refresh()` copies the states of servers again. Binds are known by their places in the snapshot,
    and so are routes (in their listener), pools, and servers (those of all pools, one after the
    other).
    """

    def request(self, unsigned int bind, bytes raw, object client, object secured=None,
                object told=None) -> dict[str, object]:
        """What becomes of a request (head and body) of a client's, (host, port) or None for one of
        a unix socket; `secured` is what TLS knows of it (see Request.secured), `told` what a proxy
        said: the first four of ProxyFact as they came, and an address or None. Its "verdict" is
        "forward" (to a server of "pool"), "answer" (by ourselves, "status" and "reason"), "ask" (a
        policy has to decide: see `decide`) or "wait" (more of the body is missing)."""
        cdef Match* match = &self.core.http.match
        if bind >= self.table.n_binds or self.table.binds[bind].http == NULL:
            raise ValueError("no such http listener")
        if self.begin(bind) == NULL:
            raise MemoryError
        self._introduce(client, secured, told)
        # One that is refused early leaves there what the request before has put, whose bytes end.
        memset(match, 0, sizeof(Match))
        match.members = &self.core.http.members
        match.room = chunk_bytes(self.core.http.output) + \
            chunk_size(self.core.http.output.klass) // 2
        match.n_segments = NOT_ROUTED
        self._raw = raw
        self._verdict = self.receive(<const uint8_t*> <const char*> raw, <uint32_t> len(raw))
        return self._facts()

    cdef int _introduce(self, object client, object secured, object told) except -1:
        """Who it is that asks."""
        cdef ProxyHeader header
        cdef int i
        self.x.peer = client_address(client)
        drop_facts(self._secured)
        self._secured = NULL
        self.x.client.tls = self._secured = facts_of(secured)
        if told is None:
            return 0
        texts = [text.encode() for text in told[0]]     # (which the list holds)
        memset(&header, 0, sizeof(header))
        for i in range(PROXY_DST):
            header.facts[i] = text_of(<const uint8_t*> <const char*> <bytes> texts[i],
                                      <uint32_t> len(texts[i]))
        header.destination = client_address(told[1])
        self.x.proxied = make_proxied(self.core, &header)
        if self.x.proxied == NULL:
            raise MemoryError
        return 0

    def __dealloc__(self):
        drop_facts(self._secured)       # (which nothing reads by now)

    def question(self) -> tuple[object, Request]:
        """The function of the policy that has to decide, and what it would be called with."""
        cdef Caller caller
        cdef About about
        cdef Exchange* x = self.x
        cdef Head* head = &self.core.http.head
        if x == NULL or self._verdict != ASK:
            raise ValueError("nobody has to be asked")
        caller = <Caller> x.policy.caller
        try:
            if not about_take(self.core, x, -1, &about):
                raise MemoryError
            return caller.function, make_request(
                caller, head, shown_body(x.policy, head, &self.core.http.match), &about)
        finally:
            about_drop(&about)

    def decide(self, object result=None, bint failure=False) -> dict[str, object]:
        """The same once the policy has returned `result`, or has failed. Raises what
        `decision_of` does."""
        cdef Exchange* x = self.x
        if x == NULL or self._verdict != ASK:
            raise ValueError("nobody has to be asked")
        x.decision = self._decision(result, failure)
        self._verdict = self.receive(
            <const uint8_t*> <const char*> self._raw, <uint32_t> len(self._raw))
        return self._facts()

    cdef Decision* _decision(self, object result, bint failure) except NULL:
        """What the policy's `result` stands for."""
        cdef Decision* decision
        if failure:
            return failed()
        if result is None:
            return as_the_route_says()
        decision = decision_of(<Caller> self.x.policy.caller, result)
        self._adapt(decision)
        return decision

    cdef void _adapt(self, Decision* decision) noexcept nogil:
        """It names the snapshot's pools and servers; here they are ours."""
        cdef SnapshotTable* original = &self._snapshot.table
        cdef uint32_t i, k, n = 0
        if decision.kind != DECISION_POOL:
            return
        for i in range(original.n_pools):
            if decision.pool == original.pools[i].live:
                decision.pool = &self._pools[i]
            for k in range(original.pools[i].n_servers):
                if decision.server == original.pools[i].servers[k].live:
                    decision.server = &self._lives[n]
                n += 1

    def use_pool(self, unsigned int pool) -> dict[str, object]:
        """Another pool than the one that chance gave it."""
        cdef Exchange* x = self.x
        if x == NULL or self._verdict != NEXT or pool >= self.table.n_pools:
            raise ValueError("nothing that is forwarded, or no such pool")
        if x.http == NULL:
            x.pool = &self.table.pools[pool]
            return {}
        give_held(self.core, x.attempt.head)
        give_held(self.core, x.http.lines)
        x.attempt.head = x.http.lines = NULL
        x.http.taken = 0
        x.http.request = self.core.http.head.body
        x.pool = &self.table.pools[pool]
        self._verdict = prepare(
            self.core, x, <uint32_t> len(self._raw) - self.core.http.head.size)
        return self._facts()

    def picks(self, int rounds) -> tuple[int, str, list[int], int, int]:
        """Pick so many times, each as if the one before had ended: the first server (-1: none) and
        why there was none ("waits" for a place), how often each server was picked, in how many
        rounds none was, and the hash by which the first was."""
        cdef Exchange* x = self.x
        cdef PoolEntry* pool
        cdef uint32_t hash, first_hash = 0
        cdef uint16_t bound_to
        cdef int i, verdict, first = -1, none = 0
        cdef uint32_t* counts
        why = ""
        if x == NULL or self._verdict != NEXT:
            raise ValueError("nothing to pick a server for")
        pool, hash, bound_to = x.pool, x.hash, x.bound_to
        counts = <uint32_t*> room(self.n_servers, sizeof(uint32_t))
        for i in range(rounds):
            x.pool, x.hash, x.bound_to = pool, hash, bound_to
            self.restore()
            verdict = self.pick()
            if i == 0:
                first_hash = x.hash
                first = <int> self.server_at(x.attempt.entry) if verdict == NEXT else -1
                if verdict != NEXT:
                    why = "waits" if verdict == AGAIN else _why(x.reason)
            if verdict == NEXT:
                counts[self.server_at(x.attempt.entry)] += 1
            else:
                none += 1
            self.put_back()
        x.pool, x.hash, x.bound_to = pool, hash, bound_to
        self.restore()
        picked = [counts[i] for i in range(<int> self.n_servers)]
        free(counts)
        return first, why, picked, none, first_hash

    # --- what is known of it ---

    cdef object _facts(self):
        cdef Exchange* x = self.x
        cdef Head* head = &self.core.http.head
        cdef Match* match = &self.core.http.match
        cdef Route* route = x.http.route if x.http != NULL else NULL
        cdef uint32_t i
        facts = {
            "verdict": _VERDICTS[self._verdict], "status": x.status,
            "reason": _why(x.reason) if self._verdict == ANSWER else "",
            "peer_ip": x.peer_ip[:x.peer_ip_size].decode("ascii", "replace"),
            "client_ip": x.client_ip[:x.client_ip_size].decode("ascii", "replace"),
            "trusted": x.flags & EXCHANGE_TRUSTED != 0,
            "method": (<const char*> head.bytes + head.method_at)[:head.method_size],
            "host": bytes_of(head.host), "path": bytes_of(head.path), "query": bytes_of(head.query),
            "route": route - x.bind.http.routes if route != NULL else -1,
            "pool": x.pool - self.table.pools if self._verdict == NEXT else -1,
            "routed": match.n_segments != NOT_ROUTED,
            "segments": [],
            "rest": bytes_of(match.rest) if route != NULL else b"",
        }
        if route != NULL:
            for i in range(<uint32_t> SEGMENTS_MAX):
                if i < match.n_segments:
                    facts["segments"].append(bytes_of(match.segments[i]))
        if x.http != NULL and x.attempt.head != NULL:
            facts["head"] = (<const char*> chunk_bytes(x.attempt.head))[:x.attempt.head.end]
        facts["coding"] = _CODINGS[coding_of(x)]
        facts["rates"] = rates_of(self.core, x)
        if x.http != NULL and x.http.lines != NULL:
            facts["lines"] = (<const char*> chunk_bytes(x.http.lines))[:x.http.lines.end]
        if self._verdict == ANSWER:
            facts["answer"] = self._answer()
        return facts

    cdef bytes _answer(self):
        """Return the response that fastlb itself would send, head and body. It has a buffer of its
        own: the engine's output buffer holds texts that `routes()` still reads."""
        cdef Writer w
        made = bytearray(chunk_size(HTTP_OUTPUT_CLASS) // 2)
        cdef uint8_t* start = <uint8_t*> <char*> made
        w.at, w.end = start, start + len(made)
        write_answer(self.core, self.x, &w)
        return bytes(made[:w.at - start])

    def key(self) -> tuple[int, bytes | None]:
        """The hash that a server is picked by, and the value that was hashed; None where the
        request lacks it, and the client's address stands for it."""
        cdef Exchange* x = self.x
        cdef const FactRef* key
        if x == NULL or x.http == NULL or self._verdict != NEXT:
            raise ValueError("no request that is forwarded")
        key = &x.http.route.hash_on if x.http.route.hash_on.fact else &x.pool.hash_key
        return x.hash, self._value(key)

    def split_key(self) -> bytes | None:
        """Likewise, what the route's split is decided by."""
        if self.x == NULL or self.x.http == NULL or self._verdict != NEXT:
            raise ValueError("no request that is forwarded")
        return self._value(&self.x.http.route.split_on)

    cdef object _value(self, const FactRef* key):
        cdef Exchange* x = self.x
        cdef Text value
        if fact_find(self.core, x, key, &value):
            return bytes_of(value)
        return None

    def bound(self) -> tuple[bool, int]:
        """Whether the request has the pool's sticky cookie or a policy named a server, and which
        server that is (-1: none of ours)."""
        cdef Exchange* x = self.x
        cdef Text value
        cdef bint has = x.pool.sticky != NULL and fact_find(
            self.core, x, &x.pool.sticky.cookie, &value)
        if x.bound_to == 0:
            return has, -1
        return True, self.server_at(&x.pool.servers[<int> x.bound_to - 1])

    def routes(self) -> list[tuple[bool, bool, list[tuple[bool, bytes | None]]]]:
        """Of each route, whether host and path are the request's, and for each of its conditions
        whether it is met, and what the request has there. Only if the request was "routed"."""
        cdef HttpEntry* entry = self.x.bind.http
        cdef Match kept = self.core.http.match
        cdef Condition* condition
        cdef Text value
        cdef uint8_t* tried = <uint8_t*> room(entry.n_routes, 1)
        cdef uint32_t i, k
        look_at_routes(entry, &self.core.http.head, &self.core.http.match, tried)
        found = []
        for i in range(entry.n_routes):
            conditions = []
            for k in range(entry.routes[i].n_conditions):
                condition = &entry.routes[i].conditions[k]
                seen = bytes_of(value) if value_seen(
                    self.core, self.x, condition, &value) else None
                conditions.append((
                    condition_fits(self.core, self.x, condition) != condition.negate, seen))
            found.append((tried[i] & TRIED_HOST != 0, tried[i] & TRIED_PATH != 0, conditions))
        free(tried)
        self.core.http.match = kept     # (looking may have read the body)
        return found

    def servers(self) -> list[tuple[int, int, int, int]]:
        """Of each server: its pool, its group in it, its weight, and what it has in flight."""
        cdef PoolEntry* pool
        cdef ServerEntry* entry
        cdef uint32_t i, k, group
        found = []
        for i in range(self.table.n_pools):
            pool = &self.table.pools[i]
            for k in range(pool.n_servers):
                entry = &pool.servers[k]
                group = 0
                while group + 1 < pool.n_groups and entry >= pool.groups[group + 1].servers:
                    group += 1
                found.append((i, group, entry.weight, fl_load32(&entry.live.connections.count)))
        return found
