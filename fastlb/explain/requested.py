"""One request, while it is explained."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from fastlb.compile.routes import names_of
from fastlb.config.effective import EffectiveListener
from fastlb.config.effective_http import EffectiveRoute
from fastlb.config.parts import PARTS
from fastlb.explain.model import Answer, Explanation, Key, Policy, PoolPick, RouteTried, Split
from fastlb.explain.tried import name_of, readable, tried
from fastlb.explain.wire import rule

if TYPE_CHECKING:
    from fastlb.explain.explainer import Explainer


class Requested:
    """Its route, its pools, and what becomes of it."""

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
        self.services = listener.http.services
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
            listener=self.listener.name, mode="http", chosen_by=self.why, live=self.of.live,
            method=self.method, url=self.url, client=self.client,
            client_ip=self.facts["client_ip"] or self.client, trusted=self.facts["trusted"],
            path=readable(self.facts["path"]), routes=seen,
            route=None if route is None else route.name,
            segments=tuple(self._segments(route)), policy=self.policy,
            action=self._action(route), answer=answer, split=split, pools=pools,
            sent=readable(head),
            response_headers=self._response_headers(),
            services=self._services(route), notes=self.of.notes(pools),
        )

    def _services(self, route: EffectiveRoute | None) -> tuple[str, ...]:
        parts = [(PARTS[key], value) for key, value in (route.services if route else ())]
        return tuple(part.explain(value, self.facts) for part, value in parts)

    def _response_headers(self) -> tuple[tuple[str, str], ...]:
        """The fields of our own answer; of a server's, those that we put into it."""
        if self.facts["verdict"] != "answer":
            return tuple(_fields(self.facts.get("lines", b"")))
        head: bytes = self.facts.get("answer", b"").partition(b"\r\n\r\n")[0]
        # (whether the connection goes on is the connection's, and not the answer's)
        return tuple(field for field in _fields(head.partition(b"\r\n")[2])
                     if field[0] != "Connection")

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
            name="", pool=self.listener.pool, services=self.services)

    # --- policies ---

    def _ask(self, route: EffectiveRoute, call: bool) -> None:
        assert route.policy is not None
        name = name_of(route.policy)
        if not call:
            self.facts = self.of.reasons.decide(None)
            self.policy = Policy(name, False, "was not asked; this is what None leads to")
            return
        function, request = self.of.reasons.question()
        try:
            result = called(function, request)
            self.facts = self.of.reasons.decide(result)
        except (Exception, SystemExit) as error:
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
            key = Key(route.split_on, readable(value), value is None, 0)
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
        elif reason == "rate_limited":
            why = "a rate limit is used up"
        elif reason == "denied":
            why = f"the route's lists deny {self.facts['client_ip']}"
        elif reason == "responded":
            why = "the policy says so" if self.policy is not None and self.policy.asked \
                else "the route says so"
        else:
            why = rule(status, self.raw)
        if page := self._page(route, status):
            why += f"; {page}"
        location = dict(self._response_headers()).get("Location", "")
        return Answer(status, reason, why, location)

    def _page(self, route: EffectiveRoute | None, status: int) -> str:
        """Which page of `errors` the client gets, as the engine finds it; "" for none."""
        said = route is not None and route.respond is not None and route.respond.body
        http = self.listener.http
        if said or http is None or (self.policy is not None and self.is_decided):
            return ""
        json = b"application/json" in self.raw.lower()
        of_route = (f"route {route.name}", route.errors) if route is not None else ("", ())
        for whose, pages in (of_route, (f"listener {self.listener.name}", http.errors)):
            page = next((one for one in pages if one.fits(status, json)), None)
            if page is not None:
                key = f"{page.status}xx" if page.status < 10 else page.status
                return f"the page is errors.{key} of {whose}" + (
                    f", {page.source}" if page.source else f" ({page.content_type})")
        return ""

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
            (name, readable(value))
            for name, value in zip(names_of(route), self.facts["segments"], strict=False) if name
        ]
        if route.path.endswith("/*"):
            found.append(("rest", readable(self.facts["rest"])))
        return found


def called(function: Any, request: Any) -> Any:
    """What a policy returns; one that is async gets a loop of its own."""
    if not inspect.iscoroutinefunction(function):
        return function(request)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:      # (this thread may have a loop that runs)
        return threads.submit(lambda: asyncio.run(function(request))).result()


def _fields(lines: bytes) -> list[tuple[str, str]]:
    pairs = [line.partition(":") for line in readable(lines).split("\r\n") if line]
    return [(name, value.strip()) for name, _, value in pairs]
