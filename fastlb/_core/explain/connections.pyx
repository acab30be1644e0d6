# Why a connection goes where it goes, by its first bytes: for Python.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcpy

from fastlb._core.base.enums cimport FAIL, HAND, NEXT
from fastlb._core.base.facts cimport FACT_TLS
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport PROXY_FACTS, SNIFF_BYTES_MAX, TLS_FACTS
from fastlb._core.base.net cimport address_text
from fastlb._core.base.parts cimport About, TlsFacts
from fastlb._core.base.proxyfacts cimport told_by_proxy
from fastlb._core.base.routing cimport (
    DECISION_CLOSE, DECISION_MORE, Condition, Decision, SniffTable,
)
from fastlb._core.base.text cimport text_of
from fastlb._core.base.types cimport Exchange
from fastlb._core.explain.requests cimport Reasons, bytes_of
from fastlb._core.facts.about cimport about_drop, about_take
from fastlb._core.http.conditions cimport value_seen
from fastlb._core.http.decision cimport (
    bind_as_decided, drop_decision, failed, give_decision, go_by_decision,
)
from fastlb._core.policy.request cimport Connection, make_connection
from fastlb._core.proto.protocols cimport SPOKEN_ALPN, SPOKEN_FACTS, Spoken, protocol_of
from fastlb._core.stages.sniff cimport sniff_meets, sniff_told
from fastlb._core.tables.caller cimport Caller


cdef class Heard(Reasons):
    """The same of connections. Listeners are known by the places of their binds."""

    cdef Spoken _spoken                 # by a client
    cdef bytes _chosen

    def connection(self, unsigned int bind, object client, object secured=None,
                   object told=None, bytes first=b"", bytes chosen=b"") -> dict[str, object]:
        """What becomes of a connection of tcp, or of a session of udp: see Reasons.request.
        `first`: what its client says first, all of it; `chosen`: what TLS has chosen with it
        (ALPN). Where routes go by it there is a "protocol", by its number, "facts" (SpokenFact) and
        a "route" (-1: none), and "hand" is a verdict too: to another listener."""
        cdef Exchange* x
        cdef int verdict
        if bind >= self.table.n_binds or self.table.binds[bind].http != NULL:
            raise ValueError("no such tcp or udp listener")
        x = self.begin(bind)
        if x == NULL:
            raise MemoryError
        self._introduce(client, secured, told)
        self._verdict = NEXT
        self._raw = first               # (which facts are parts of)
        if x.bind.sniff == NULL:        # (then there is a pool)
            x.policy = x.bind.policy
            return {"verdict": "forward", "pool": x.pool - self.table.pools,
                    "told": self._told()}
        self._hear(first, chosen)
        verdict = sniff_told(self.core, x, &self._spoken)
        if self._secured == NULL:
            self._secured = <TlsFacts*> x.client.tls        # (that a hello told)
        if verdict != NEXT or x.pool == NULL:
            self._verdict = FAIL
        return {
            "verdict": "hand" if verdict == HAND else "ask" if verdict == NEXT and x.pool == NULL
            else "forward" if verdict == NEXT else "answer",
            "pool": x.pool - self.table.pools if self._verdict == NEXT else -1,
            "told": self._told(),
            "protocol": self._spoken.protocol,
            "facts": [self._said(i) for i in range(SPOKEN_FACTS)],
            "route": x.opening.route - x.bind.sniff.routes if x.opening.route != NULL else -1,
        }

    cdef list _told(self):
        """What a proxy tells, as it is hashed: by ProxyFact."""
        cdef const Text* told = told_by_proxy(self.x)
        cdef int i
        return [bytes_of(told[i]) for i in range(PROXY_FACTS)] if told != NULL else []

    cdef int _hear(self, bytes first, bytes chosen) except -1:
        cdef int i
        cdef uint32_t size = <uint32_t> min(len(first), SNIFF_BYTES_MAX)
        protocol_of(<const uint8_t*> <const char*> first, size, &self._spoken)
        if self._secured == NULL:
            return 0
        for i in range(TLS_FACTS):
            self._spoken.facts[i] = self._secured.all[i]
        self._chosen = bytes([len(chosen)]) + chosen if chosen else b""
        self._spoken.facts[SPOKEN_ALPN] = text_of(
            <const uint8_t*> <const char*> self._chosen, <uint32_t> len(self._chosen))
        return 0

    cdef bytes _said(self, int fact):
        """As people write it."""
        cdef bytes found = bytes_of(self._spoken.facts[fact])
        cdef int at = 0
        if fact != SPOKEN_ALPN:
            return found
        offered = []
        while at < len(found):
            offered.append(found[at + 1 : at + 1 + found[at]])
            at += 1 + found[at]
        return b", ".join(offered)

    def sniffed_routes(self) -> list[list[tuple[bool, bytes | None]]]:
        """Of each route of the connection's listener, and each of its conditions, whether it is
        met, and what the client has there."""
        cdef const SniffTable* table = self.x.bind.sniff
        cdef const Condition* condition
        cdef uint32_t i, k
        found = []
        for i in range(table.n_routes):
            conditions = []
            for k in range(table.routes[i].n_conditions):
                condition = &table.routes[i].conditions[k]
                conditions.append((
                    sniff_meets(self.core, self.x, condition, &self._spoken) != condition.negate,
                    self._seen(condition) or None))
            found.append(conditions)
        return found

    cdef bytes _seen(self, const Condition* condition):
        cdef int which = condition.of.fact - FACT_TLS
        cdef Text value
        if 0 <= which < SPOKEN_FACTS:
            return self._said(which)
        return bytes_of(value) if value_seen(self.core, self.x, condition, &value) else b""

    def question_of(self, str local_host, int local_port) -> tuple[object, Connection]:
        """The function of the policy that decides about the connection, and what it would be called
        with."""
        cdef Exchange* x = self.x
        cdef Caller caller
        cdef size_t size = len(self._raw)
        cdef About about
        cdef bytes local = local_host.encode()[:sizeof(about.local_ip)]
        if x == NULL or x.policy == NULL:
            raise ValueError("nobody has to be asked")
        caller = <Caller> x.policy.caller
        if x.bind.udp == NULL and size > x.policy.body_max:
            size = x.policy.body_max
        if x.client_ip_size == 0:
            x.client_ip_size = address_text(&x.peer, x.client_ip)
        try:
            if not about_take(self.core, x, -1, &about):
                raise MemoryError
            about.local_ip_size, about.local_port = len(local), local_port
            memcpy(about.local_ip, <const char*> local, len(local))
            return caller.function, make_connection(
                caller, <const uint8_t*> <const char*> self._raw, size, &about)
        finally:
            about_drop(&about)

    def decided(self, object result=None, bint failure=False) -> dict[str, object]:
        """What holds once the policy has returned `result`, or has failed; "close" and "more" are
        verdicts too. Raises what `decision_of` does."""
        cdef Exchange* x = self.x
        cdef Decision* decision
        if x == NULL or x.policy == NULL:
            raise ValueError("nobody has to be asked")
        decision = self._decision(result, failure)
        if decision.kind == DECISION_MORE and x.bind.udp != NULL:   # (there is no more of it)
            give_decision(decision)
            decision = failed()
        x.decision = decision
        self._verdict = FAIL
        verdict = "close" if decision.kind == DECISION_CLOSE else "more"
        if decision.kind != DECISION_CLOSE and decision.kind != DECISION_MORE:
            verdict = "answer"
            if go_by_decision(self.core, x, x.policy) == NEXT and x.pool != NULL:
                bind_as_decided(x)
                verdict = "forward"
                self._verdict = NEXT
        drop_decision(x)
        return {"verdict": verdict, "by_key": x.is_hashed,
                "pool": x.pool - self.table.pools if self._verdict == NEXT else -1}
