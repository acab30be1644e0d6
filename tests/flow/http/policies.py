"""A balancer whose routes ask functions, of the three kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import fastlb
from fastlb.policy import Request
from tests.flow.conftest import DEADLINE_S, Site
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin

GET = b"GET %b HTTP/1.1\r\nHost: a.test\r\n%b\r\n"
Decide = Callable[[Request], Any]


def get(path: bytes = b"/x", *fields: bytes) -> bytes:
    return GET % (path, b"".join(field + b"\r\n" for field in fields))


class Decided:
    """A balancer with two pools, a and b, of one origin each, and an http listener."""

    def __init__(self, threads: int, origins: Callable[..., HttpOrigin], stack: ExitStack) -> None:
        self.threads = threads
        self.lb = fastlb.Balancer(threads=threads)
        self.a, self.b = origins(name="a"), origins(name="b")
        self.pool_a = self.lb.pool("a", [self.a.address])
        self.pool_b = self.lb.pool("b", [self.b.address], balance="ring_hash", hash_on="header.k")
        self.listener = self.lb.listen("http://127.0.0.1:0", name="web", pool=self.pool_a)
        self._stack = stack
        self.site: Site | None = None

    def start(self) -> HttpSite:
        self._stack.enter_context(self.lb.background())
        self.site = Site(self.lb, self.listener)
        return HttpSite(self.site)

    def totals(self) -> dict[str, int]:
        """Of the only policy."""
        (totals,) = self.lb._instance.running().policies.totals().values()
        return totals


def of_kind(kind: str, decide: Decide) -> tuple[Any, dict[str, Any]]:
    """The function as one of this kind, and the keys that go with it. On a busy machine it may
    need seconds."""
    keys: dict[str, Any] = {"deadline": f"{DEADLINE_S:.0f}s"}
    if kind == "async":
        async def policy(request: Request) -> Any:
            await asyncio.sleep(0)
            return decide(request)
        return policy, keys

    def function(request: Request) -> Any:
        return decide(request)

    return function, {**keys, "blocking": True} if kind == "blocking" else keys


def add(decided: Decided, kind: str, decide: Decide, path: str = "/*", **keys: Any) -> None:
    function, more = of_kind(kind, decide)
    assert decided.listener.route(path, name="r", **{**more, **keys})(function) is function
