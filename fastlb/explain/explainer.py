"""Says of one request after the other where it goes, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fastlb._core.base.balancing import BALANCES
from fastlb._core.explain.connections import Heard
from fastlb._core.tables.snapshot import Snapshot
from fastlb.config.address import Address
from fastlb.config.effective import Effective, EffectiveListener, EffectivePool
from fastlb.config.effective_http import EffectiveRoute
from fastlb.errors import ConfigError, Problem
from fastlb.explain.access import closed, denial, denials, rate_of, unfetched
from fastlb.explain.connected import Connected
from fastlb.explain.model import Candidate, Explanation, Key, PoolPick
from fastlb.explain.offline import compile_offline
from fastlb.explain.opening import heard
from fastlb.explain.placed import place_in_words
from fastlb.explain.requested import Requested
from fastlb.explain.secured import in_words, secured
from fastlb.explain.told import in_words as told_in_words
from fastlb.explain.told import told
from fastlb.explain.tried import readable
from fastlb.explain.wire import (
    Headers,
    choose_listener,
    met_by,
    parse_client,
    parse_url,
    request_bytes,
)
from fastlb.process.machine import bind_llhttp

ROUNDS = 1000           # picks that shares are told by: within 3 %, and a millisecond
ROUNDS_WORK = 2_000_000         # servers looked at in all of them, at most
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
        self.reasons = Heard(snapshot)
        self.snapshot = snapshot
        self._binds = binds
        self.places = places           # of a bind of each listener in the snapshot
        self.live = live
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
        says: Mapping[str, str] | None = None,
    ) -> Explanation:
        """`tls` is what TLS knows of the client, such as {"client_subject": "CN=gateway"}, `proxy`
        what a proxy tells of it, such as {"authority": "a.example"}. Of tcp, `says` is what it says
        first, such as {"protocol": "mqtt", "client_id": "sensor-7"}; or that is `body`. Raises
        ValueError for what is no request, or where there is no such listener."""
        where = parse_url(url)
        found, why = choose_listener(self.values.listeners, self._binds, where, listener)
        address = None if client == "unix:" else parse_client(client)
        if found.name not in self.places:
            raise ValueError(f"listener {found.name!r} isn't served")
        tls, first = heard(found, dict(tls or {}), dict(says or {}), body)
        known = secured(found, where.host, tls)
        facts_told = told(found, self.values, proxy or {})
        self.reasons.refresh()
        who = (address, known and known.values(), facts_told)
        denied, is_reported = denial(found, self.snapshot.live, address)
        empty = () if self.live else tuple(unfetched(self.values.networks))
        if denied and not is_reported:
            return replace(
                closed(found, why, self.live, method, url, client, denied), notes=empty)
        rate, is_over = rate_of(found, self.snapshot.live, address)
        if is_over:
            return replace(
                closed(found, why, self.live, method, url, client, rate, "source_rate"),
                notes=empty)
        bind = self._binds[found.name][0]
        if found.http is None:
            url = f"{where.scheme or found.scheme}://{where.authority or bind}"
            made = Connected(
                self, found, why, url, client, who, first
            ).explain(call_policy, met_by(self._binds[found.name], where))
        else:
            default = f"{bind.host}:{bind.port}" if bind.host is not None else "localhost"
            raw = request_bytes(method, where, headers, body, default)
            facts = self.reasons.request(self.places[found.name], raw, *who)
            made = Requested(
                self, found, why, method, url, client, raw, facts).explain(call_policy)
        notes = (*made.notes, f"{denied}: that is reported only") if denied else made.notes
        notes += tuple(one for one in (rate, denials(found, self.snapshot.live, address)) if one)
        return replace(
            made, place=place_in_words(self.snapshot.live, made.client_ip),
            tls=_of_tls(found, known), proxy=told_in_words(proxy or {}), notes=(*notes, *empty))

    # --- pools ---

    def pool(self, index: int, share: float, route: EffectiveRoute | None) -> PoolPick:
        """The pick of what was tried last, which goes to this pool."""
        pool = self._pools[index]
        keyed = BALANCES[pool.balance].by_key
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
        if BALANCES[pool.balance].by_key:
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
        return Key(on, readable(value), value is None, hash_)

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
        if not self.live and pools:
            found.append("nothing is served here: all servers are as configured, and none is busy")
        return tuple(found)


def _of_tls(listener: EffectiveListener, known: dict[str, str] | None) -> str:
    return in_words(listener, known) if known is not None else ""


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
