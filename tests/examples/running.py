"""An example as it stands, but for addresses, and what a test wants to know of it meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fastlb
from fastlb.config.reader import tomllib
from tests.flow.conftest import wait_until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# Starts an example: its name, and the servers that pools have instead of the written ones.
Start = Callable[[str, Mapping[str, Sequence[str]]], "Running"]


def patient(raw: dict[str, Any]) -> None:
    """Give all that works the time that it needs on a busy machine, whatever the example says of
    healthy servers and living clients."""
    for pool in raw["pools"].values():
        if "health" in pool:
            pool["health"]["timeout"] = "30s"
    for listener in raw["listeners"].values():
        routes = listener.get("routes", [])
        if routes and listener["bind"].startswith("tcp://"):
            listener["sniff_timeout"] = "30s"
        for one in (listener, *routes):
            if "response_header_timeout" in one:
                one["response_header_timeout"] = "60s"
            if "policy" not in one:
                continue
            if isinstance(one["policy"], str):
                one["policy"] = {"call": one["policy"]}
            one["policy"]["deadline"] = "30s"
            if "first_bytes" in one["policy"]:
                one["policy"]["first_bytes_timeout"] = "30s"


class Running:
    """A running example. `balancer` is what a program would hold."""

    def __init__(self, name: str, servers: Mapping[str, Sequence[str]]) -> None:
        raw: dict[str, Any] = tomllib.loads((EXAMPLES / name).read_text())
        patient(raw)
        assert raw["pools"].keys() == servers.keys()
        for listener in raw["listeners"].values():
            listener["bind"] = listener["bind"].partition("://")[0] + "://127.0.0.1:0"
        for pool, addresses in servers.items():
            written = raw["pools"][pool]["servers"]
            raw["pools"][pool]["servers"] = [
                {**old, "address": new} if isinstance(old, dict) else new
                for old, new in zip(written, addresses, strict=True)
            ]
        self.balancer = fastlb.Balancer(fastlb.Config.build(raw), threads=raw.get("threads", 1))

    def url(self, listener: str) -> str:
        return self.balancer.listeners[listener].url

    def where(self, listener: str) -> tuple[str, int]:
        host, _, port = self.url(listener).partition("://")[2].rpartition(":")
        return host, int(port)

    def pool(self, name: str) -> fastlb.Pool:
        return self.balancer.pools[name]

    def totals(self) -> list[dict[str, int]]:
        """Of each thread."""
        return [engine.totals() for engine in self.balancer._instance.running().engines.all]

    def dropped(self) -> dict[str, int]:
        """Datagrams: why, and how many."""
        found: dict[str, int] = {}
        for totals in self.totals():
            for name, n in totals.items():
                if name.startswith("dropped_") and n:
                    found[name] = found.get(name, 0) + n
        return found

    def counts(self) -> dict[str, int]:
        runtime = self.balancer._instance.runtime
        return runtime.counts() if runtime is not None else {}

    def end(self) -> None:
        """Sessions of datagrams end at once, and connections have ended: nothing is left."""
        for pool in self.balancer.pools.values():
            for server in pool.servers.values():
                server.drain(0)
        wait_until(lambda: not any(self.counts().values()), lambda: f"alive: {self.counts()}")
