"""Says of one request after the other where it goes, and why."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastlb._core.reasons import Reasons
from fastlb._core.tables.snapshot import Snapshot
from fastlb.compile.routes import names_of
from fastlb.config.address import Address
from fastlb.config.effective import Effective, EffectiveListener, EffectivePool
from fastlb.config.effective_http import EffectiveRoute
from fastlb.config.policy import EffectivePolicy
from fastlb.errors import ConfigError, Problem
from fastlb.explain.model import (
    Answer,
    Candidate,
    Explanation,
    Key,
    Policy,
    PoolPick,
    RouteTried,
    Split,
)
from fastlb.explain.offline import compile_offline
from fastlb.explain.secured import in_words, secured
from fastlb.explain.told import Facts, told
from fastlb.explain.told import in_words as told_in_words
from fastlb.explain.tried import tried
from fastlb.explain.wire import (
    Headers,
    Url,
    choose_listener,
    parse_client,
    parse_url,
    request_bytes,
    rule,
)
from fastlb.process.machine import bind_llhttp

ROUNDS = 1000           # picks that shares are told by: within 3 %, and a millisecond
ROUNDS_WORK = 2_000_000         # servers looked at in all of them, at most
KEYED = ("ring_hash", "maglev", "rendezvous")
WHY_NONE = {
    "no_server": "no server can be had", "servers_full": "all servers are full",
    "queue_full": "there is no place, and too many wait already", "waits": "waits for a place",
}


class Explainer:
    """On one snapshot; `binds` are the addresses of its listeners, `live` says that the states of
    servers are a running process'."""

    def __init__(
        self, values: Effective, snapshot: Snapshot, binds: Mapping[str, Sequence[Address]],
        places: Mapping[str, int], live: bool, unresolved: Sequence[str] = (),
    ) -> None:
        failure = bind_llhttp()
        if failure and any(listener.http is not None for listener in values.listeners):
            raise ConfigError([Problem(f"http needs llhttp, and {failure}", "")])
        self.values = values
        self.reasons = Reasons(snapshot)
        self.snapshot = snapshot
        self._binds = binds
        self._places = places           # of a bind of each listener in the snapshot
        self._live = live
        self._unresolved = unresolved
        self._pools = values.pools

    @staticmethod
    def offline(values: Effective, functions: bool = False) -> Explainer:
        """Of a configuration that isn't served. `functions`: find those of its policies, so that
        they can be called. Raises ConfigError."""
        snapshot, unresolved = compile_offline(values, functions)
        binds = {listener.name: listener.binds for listener in values.listeners}
        places = {listener.name: i for i, listener in enumerate(values.listeners)}
        return Explainer(values, snapshot, binds, places, False, unresolved)

    def explain(
        self, method: str, url: str, headers: Headers = (), body: bytes = b"",
        client: str = "127.0.0.1", listener: str | None = None, call_policy: bool = False,
        tls: Mapping[str, str] | None = None, proxy: Mapping[str, str] | None = None,
    ) -> Explanation:
        """`tls` is what TLS knows of the client, such as {"client_subject": "CN=gateway"}, `proxy`
        what a proxy tells of it, such as {"authority": "a.example"}. Raises ValueError for what is
        no request, or where there is no such listener."""
        where = parse_url(url)
        found, why = choose_listener(self.values.listeners, self._binds, where, listener)
        address = None if client == "unix:" else parse_client(client)
        if found.name not in self._places:
            raise ValueError(f"listener {found.name!r} isn't served")
        known = secured(found, where.host, tls or {})
        facts_told = told(found, self.values, proxy or {})
        self.reasons.refresh()
        if found.http is None:
            if not found.pool:
                raise ValueError(
                    f"listener {found.name!r} goes by what a client says first, and has no pool for"
                    " others")
            made = self._connection(found, why, where, client, address, known, facts_told)
            return replace(made, proxy=told_in_words(proxy or {}))
        bind = self._binds[found.name][0]
        default = f"{bind.host}:{bind.port}" if bind.host is not None else "localhost"
        raw = request_bytes(method, where, headers, body, default)
        facts = self.reasons.request(
            self._places[found.name], raw, address, known and known.values(), facts_told)
        made = _Request(self, found, why, method, url, client, raw, facts).explain(call_policy)
        return replace(made, tls=_of_tls(found, known), proxy=told_in_words(proxy or {}))

    def _connection(
        self, listener: EffectiveListener, why: str, url: Url, client: str,
        address: tuple[str, int] | None, known: dict[str, str] | None, facts_told: Facts | None,
    ) -> Explanation:
        facts = self.reasons.connection(
            self._places[listener.name], address, known and known.values(), facts_told)
        pool = self.pool(facts["pool"], 1.0, None)
        policy = None
        if listener.policy is not None:
            policy = Policy(
                _name_of(listener.policy), False,
                "was not asked, as nobody knows what a client sends first; this is what None leads"
                " to",
            )
        where = f"{url.scheme or 'tcp'}://{url.authority or self._binds[listener.name][0]}"
        return Explanation(
            listener=listener.name, mode="tcp", chosen_by=why, live=self._live, method="",
            url=where, client=client, client_ip=client, trusted=False, path="", routes=(),
            route=None, segments=(), policy=policy, action="pool", answer=None, split=None,
            pools=(pool,), sent="", response_headers=(), mirror="", notes=self.notes([pool]),
            tls=_of_tls(listener, known),
        )

    # --- pools ---

    def pool(self, index: int, share: float, route: EffectiveRoute | None) -> PoolPick:
        """The pick of what was tried last, which goes to this pool."""
        pool = self._pools[index]
        keyed = pool.balance in KEYED
        first, why, counts, none, hash_ = self.reasons.picks(self._rounds(pool))
        rounds = sum(counts) + none
        servers = self.reasons.servers()
        mine = {at for at, (of, *_) in enumerate(servers) if of == index}
        picked_in = index if first < 0 else servers[first][0]
        shown = mine | {at for at, n in enumerate(counts) if n}
        return PoolPick(
            name=pool.name, share=share, balance=pool.balance,
            key=self._key(pool, route, hash_) if keyed else None,
            sticky=self._sticky(pool) if route is not None else "",
            candidates=tuple(
                self._candidate(at, servers[at], counts[at] / rounds) for at in sorted(shown)
            ),
            pick=self._name(first) if first >= 0 else None,
            certain=first >= 0 and counts[first] == rounds,
            why_none=WHY_NONE.get(why, why) if first < 0 else "",
            fallbacks=tuple(self._fallbacks(pool)),
            picked_in=self._pools[picked_in].name,
            limits=_limits(pool), retry=_retry(pool, route), hedge=_hedge(pool),
        )

    def _rounds(self, pool: EffectivePool) -> int:
        """For turns whole rounds of them, so that shares are exact."""
        most = max(ROUNDS_WORK // max(len(self.snapshot.servers), 1), 50)
        if pool.balance in KEYED:
            return min(most, 64)
        turns = sum(server.weight for server in pool.servers)
        rounds = min(ROUNDS, most)
        if pool.balance == "round_robin" and 0 < turns <= rounds:
            return math.ceil(rounds / turns) * turns
        return rounds

    def _name(self, at: int) -> str:
        return self.snapshot.servers[at].address

    def _candidate(self, at: int, seen: tuple[int, int, int, int], share: float) -> Candidate:
        server = self.snapshot.servers[at]
        pool, _, weight, in_flight = seen
        known = next(
            (s for s in self._pools[pool].servers if str(s.address) == server.address), None
        )
        return Candidate(
            address=server.address, weight=weight, state=server.state, in_flight=in_flight,
            priority=known.priority if known else 0, zone=known.zone if known else "", share=share,
        )

    def _key(self, pool: EffectivePool, route: EffectiveRoute | None, hash_: int) -> Key:
        on = (route.hash_on if route is not None else "") or pool.hash_on
        if route is None:
            return Key(on, "", False, hash_)
        value = self.reasons.key()[1]
        return Key(on, _shown(value), value is None, hash_)

    def _sticky(self, pool: EffectivePool) -> str:
        if pool.sticky is None:
            return ""
        has, server = self.reasons.bound()
        if server >= 0:
            return f"bound to {self._name(server)}"
        cookie = f"cookie {pool.sticky.cookie}"
        return f"{cookie} names no server of ours" if has else f"{cookie} is absent: it gets one"

    def _fallbacks(self, pool: EffectivePool) -> list[str]:
        by_name = {one.name: one for one in self._pools}
        found: list[str] = []
        while pool.fallback and pool.fallback not in found:
            found.append(pool.fallback)
            pool = by_name[pool.fallback]
        return found

    def notes(self, pools: Sequence[PoolPick]) -> tuple[str, ...]:
        found = []
        if self._unresolved and pools:
            found.append(
                f"names were not resolved, and are a server each: {', '.join(self._unresolved)}"
            )
        if not self._live and pools:
            found.append("nothing is served here: all servers are as configured, and none is busy")
        return tuple(found)


def _of_tls(listener: EffectiveListener, known: dict[str, str] | None) -> str:
    return in_words(listener, known) if known is not None else ""


class _Request:
    """One request, while it is explained."""

    def __init__(
        self, explainer: Explainer, listener: EffectiveListener, why: str, method: str, url: str,
        client: str, raw: bytes, facts: dict[str, Any],
    ) -> None:
        assert listener.http is not None
        self.of = explainer
        self.listener = listener
        self.why = why
        self.method, self.url, self.client = method, url, client
        self.raw = raw
        self.facts = facts
        self.routes = listener.http.routes
        self.policy: Policy | None = None
        self.is_decided = False         # by a policy, and not as the route says

    def explain(self, call_policy: bool) -> Explanation:
        asked = self.facts["verdict"] == "ask"
        at: int = self.facts["route"]
        seen = self._tried(at)
        if asked:
            self._ask(self.routes[at], call_policy)
        route = self._route(at)
        pools, split, answer = self._outcome(route)
        head = self.facts.get("head", b"").partition(b"\r\n\r\n")[0]
        return Explanation(
            listener=self.listener.name, mode="http", chosen_by=self.why, live=self.of._live,
            method=self.method, url=self.url, client=self.client,
            client_ip=self.facts["client_ip"] or self.client, trusted=self.facts["trusted"],
            path=_shown(self.facts["path"]), routes=seen,
            route=None if route is None else route.name,
            segments=tuple(self._segments(route)), policy=self.policy,
            action=self._action(route), answer=answer, split=split, pools=pools, sent=_shown(head),
            response_headers=tuple(_fields(self.facts.get("lines", b""))),
            mirror=_mirror(route), notes=self.of.notes(pools),
        )

    def _tried(self, at: int) -> tuple[RouteTried, ...]:
        if not self.facts["routed"]:
            return ()
        return tried(
            self.routes, self.of.reasons.routes()[: len(self.routes)], at, self.facts["host"],
            self.facts["path"],
        )

    def _route(self, at: int) -> EffectiveRoute | None:
        """The listener's pool is the last route."""
        if at < 0:
            return None
        return self.routes[at] if at < len(self.routes) else EffectiveRoute(
            name="", pool=self.listener.pool)

    # --- policies ---

    def _ask(self, route: EffectiveRoute, call: bool) -> None:
        assert route.policy is not None
        name = _name_of(route.policy)
        if not call:
            self.facts = self.of.reasons.decide(None)
            self.policy = Policy(name, False, "was not asked; this is what None leads to")
            return
        function, request = self.of.reasons.question()
        try:
            result = _called(function, request)
            self.facts = self.of.reasons.decide(result)
        except Exception as error:
            self.facts = self.of.reasons.decide(failure=True)
            self.policy = Policy(name, True, f"failed: {type(error).__name__}: {error}")
            return
        self.policy = Policy(name, True, f"said {result!r}")
        fields = result if isinstance(result, str) else getattr(result, "_decided", None)
        self.is_decided = bool(fields and fields[0])

    # --- what becomes of it ---

    def _outcome(
        self, route: EffectiveRoute | None
    ) -> tuple[tuple[PoolPick, ...], Split | None, Answer | None]:
        verdict = self.facts["verdict"]
        if verdict == "answer":
            return (), None, self._answer(route)
        if verdict != "forward":
            return (), None, None
        if route is None or not route.split or self.is_decided:
            return (self.of.pool(self.facts["pool"], 1.0, route),), None, None
        shares = tuple(route.split)
        total = sum(weight for _, weight in shares)
        index = {pool.name: i for i, pool in enumerate(self.of.values.pools)}
        if route.split_on:
            value = self.of.reasons.split_key()
            key = Key(route.split_on, _shown(value), value is None, 0)
            picks = [self.of.pool(self.facts["pool"], 1.0, route)]
            return tuple(picks), Split(route.split_on, key, shares), None
        picks = []
        for name, weight in shares:
            if weight:
                self.of.reasons.use_pool(index[name])
                picks.append(self.of.pool(index[name], weight / total, route))
        return tuple(picks), Split("", None, shares), None

    def _answer(self, route: EffectiveRoute | None) -> Answer:
        status, reason = self.facts["status"], self.facts["reason"]
        if reason == "no_route":
            why = "no route fits, and the listener has no pool"
        elif reason == "policy_failed":
            why = "the policy failed, and has no on_error"
        elif reason == "responded":
            why = "the policy says so" if self.policy is not None and self.policy.asked \
                else "the route says so"
        else:
            why = rule(status, self.raw)
        return Answer(status, reason, why, _shown(self.facts.get("location", b"")))

    def _action(self, route: EffectiveRoute | None) -> str:
        verdict = self.facts["verdict"]
        if verdict == "wait":
            return "wait"
        if verdict == "answer":
            if self.facts["reason"] != "responded" or route is None:
                return "refuse"
            return "redirect" if 300 <= self.facts["status"] < 400 else "respond"
        if self.is_decided:
            return "policy"
        return "split" if route is not None and route.split else "pool"

    def _segments(self, route: EffectiveRoute | None) -> list[tuple[str, str]]:
        if route is None or not route.path:
            return []
        found = [
            (name, _shown(value))
            for name, value in zip(names_of(route), self.facts["segments"], strict=False) if name
        ]
        if route.path.endswith("/*"):
            found.append(("rest", _shown(self.facts["rest"])))
        return found


def _name_of(policy: EffectivePolicy) -> str:
    call = policy.call
    return call if isinstance(call, str) else f"{call.__module__}:{call.__qualname__}"


def _called(function: Any, request: Any) -> Any:
    """What a policy returns; one that is async gets a loop of its own."""
    if not inspect.iscoroutinefunction(function):
        return function(request)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:      # (this thread may have a loop that runs)
        return threads.submit(lambda: asyncio.run(function(request))).result()


def _shown(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "backslashreplace")


def _fields(lines: bytes) -> list[tuple[str, str]]:
    pairs = [line.partition(":") for line in _shown(lines).split("\r\n") if line]
    return [(name, value.strip()) for name, _, value in pairs]


def _mirror(route: EffectiveRoute | None) -> str:
    if route is None or not route.mirror_pool:
        return ""
    return f"{route.mirror_share:.4g} of the requests are copied to pool {route.mirror_pool}" \
        if route.mirror_share < 1 else f"copied to pool {route.mirror_pool}"


def _limits(pool: EffectivePool) -> str:
    limits = pool.limits
    parts = [f"{limits.in_flight_max} requests" if limits.in_flight_max else "",
             f"{limits.pending_max} wait" if limits.pending_max else "",
             f"{limits.retries_max} retries" if limits.retries_max else ""]
    return ", ".join(part for part in parts if part)


def _retry(pool: EffectivePool, route: EffectiveRoute | None) -> str:
    retry = (route.retry if route is not None else None) or pool.retry
    if retry.attempts <= 1:
        return "one try"
    return f"{retry.attempts} tries, on {retry.on_text or 'nothing'}"


def _hedge(pool: EffectivePool) -> str:
    hedge = pool.hedge
    if hedge is None:
        return ""
    after = f"{hedge.delay_ms} ms" if hedge.delay_ms else f"{hedge.percentile / 10:g}% of answers"
    return f"a second server is asked after {after}"
