"""One TCP connection or UDP session while it is explained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastlb.config.effective import EffectiveListener
from fastlb.config.patterns import PROXY_FACTS, TLS_FACTS
from fastlb.config.policy import EffectivePolicy
from fastlb.config.sniffing import PROTOCOLS
from fastlb.explain.model import Answer, Explanation, Key, Policy, PoolPick, RouteTried, Split
from fastlb.explain.opening import Heard
from fastlb.explain.placed import place_facts
from fastlb.explain.requested import called
from fastlb.explain.sniffed import in_words, tried
from fastlb.explain.told import Facts
from fastlb.explain.tried import name_of, readable

if TYPE_CHECKING:
    from fastlb.explain.explainer import Explainer

# In the order of SpokenFact of the core.
SPOKEN = (*(f"tls.{fact}" for fact in TLS_FACTS), "tls.alpn", "mqtt.client_id", "mqtt.username",
          "mqtt.level")
Who = tuple["tuple[str, int] | None", "Iterable[str] | None", "Facts | None"]


class Connected:
    """Its route, its pools, and what becomes of it."""

    def __init__(
        self, explainer: Explainer, listener: EffectiveListener, why: str, url: str, client: str,
        who: Who, heard: Heard,
    ) -> None:
        self.of = explainer
        self.listener = listener
        self.why = why
        self.url, self.client = url, client
        self.heard = heard
        self.is_asked = self.is_decided = False     # its policy; by it
        self.facts: dict[str, Any] = explainer.reasons.connection(
            explainer.places[listener.name], *who, heard.first, heard.chosen)
        self.routes = listener.sniffing.routes if listener.sniffing is not None else ()
        at: int = self.facts.get("route", -1)
        self.route = self.routes[at] if at >= 0 else None
        said = dict(zip(SPOKEN, self.facts.get("facts", ()), strict=False))
        self.said = {name: value.decode("utf-8", "backslashreplace")
                     for name, value in said.items() if value}
        address = who[0]
        self.keys = {
            **self.said,
            **{f"proxy.{fact}": readable(value)
               for fact, value in zip(PROXY_FACTS, self.facts["told"], strict=False)},
            **(place_facts(explainer.snapshot.live, address[0]) if address is not None else {}),
            "client.ip": address[0] if address is not None else "", "client.address": client,
        }

    @property
    def protocol(self) -> str:
        number: int = self.facts["protocol"]
        return PROTOCOLS[number]

    def explain(self, call_policy: bool, local: tuple[str, int]) -> Explanation:
        """`local` is what the client has connected to."""
        policy = self._ask(call_policy, local)
        sniffing = self.listener.sniffing is not None
        pools, split = self._pools()
        verdict = self.facts["verdict"]
        handed = self.route.listener if self.route is not None and verdict == "hand" else ""
        action = "split" if split is not None else {
            "forward": "pool", "hand": "listener", "ask": "policy", "more": "wait",
        }.get(verdict, "refuse")
        return Explanation(
            listener=self.listener.name, mode=self.listener.scheme, chosen_by=self.why,
            live=self.of.live, method="", url=self.url, client=self.client,
            client_ip=self.client, trusted=False, path="", routes=self._tried(),
            route=self.route.name if self.route is not None else "" if pools else None,
            segments=(), policy=policy, action=action, answer=self._answer(action),
            split=split, pools=pools, sent="", response_headers=(), services=(),
            notes=self.of.notes(pools), handed=handed,
            says=in_words(self.protocol, self.said) if sniffing else "",
        )

    def _tried(self) -> tuple[RouteTried, ...]:
        if not self.routes:
            return ()
        return tried(
            self.routes, self.of.reasons.sniffed_routes(), self.facts["route"], self.protocol,
            self.said.get("tls.sni", ""))

    def _ask(self, call: bool, local: tuple[str, int]) -> Policy | None:
        policy: EffectivePolicy | None = self.route.policy if self.route is not None \
            else self.listener.policy
        if policy is None:
            return None
        if call and self.facts["verdict"] != "hand":
            return self._call(name_of(policy), local)
        leads = "this is what None leads to" if self.facts["verdict"] == "forward" \
            else "it has to name a pool"
        unknown = "" if self.heard.first else ", as nobody knows what a client sends first"
        return Policy(name_of(policy), False, f"was not asked{unknown}; {leads}")

    def _call(self, name: str, local: tuple[str, int]) -> Policy:
        function, connection = self.of.reasons.question_of(*local)
        self.is_asked = True
        try:
            result = called(function, connection)
            self.facts |= self.of.reasons.decided(result)
            self.is_decided = result is not None
        except (Exception, SystemExit) as error:
            self.facts |= self.of.reasons.decided(failure=True)
            self.is_decided = True
            return Policy(name, True, f"failed: {type(error).__name__}: {error}")
        return Policy(name, True, f"said {result!r}")

    def _answer(self, action: str) -> Answer | None:
        if action != "refuse":
            return None
        if self.is_asked:
            closed = self.facts["verdict"] == "close"
            return Answer(0, "responded" if closed else "policy_failed", "the policy says so"
                          if closed else "the policy names no pool, and has no on_error", "")
        why = "no route fits, and the listener has no pool"
        if self.route is not None and self.route.listener:
            why = f"listener {self.route.listener} isn't served"
        return Answer(0, "no_route", why, "")

    # --- pools ---

    def _pools(self) -> tuple[tuple[PoolPick, ...], Split | None]:
        if self.facts["verdict"] != "forward":
            return (), None
        route = self.route
        if route is None or not route.split or self.is_decided:
            return (self._pick(self.facts["pool"], 1.0),), None
        if route.split_on:
            key = self._key(Key(route.split_on, "", False, 0))
            return (self._pick(self.facts["pool"], 1.0),), Split(route.split_on, key, route.split)
        index = {pool.name: i for i, pool in enumerate(self.of.values.pools)}
        total = sum(weight for _, weight in route.split)
        picks = []
        for name, weight in route.split:
            if weight:
                self.of.reasons.use_pool(index[name])
                picks.append(self._pick(index[name], weight / total))
        return tuple(picks), Split("", None, route.split)

    def _pick(self, index: int, share: float) -> PoolPick:
        pick = self.of.pool(index, share, None)
        if pick.key is not None and self.facts.get("by_key"):
            pick = replace(pick, key=replace(pick.key, on="of the policy"))
        elif pick.key is not None:
            on = self.route.hash_on if self.route is not None else ""
            pick = replace(pick, key=self._key(replace(pick.key, on=on or pick.key.on)))
        if self.listener.udp is not None:
            pick = replace(pick, retry="")      # (who is told that nobody is there moves)
        return pick

    def _key(self, key: Key) -> Key:
        value = self.keys.get(key.on, "")
        return replace(key, value=value, missing=not value)
