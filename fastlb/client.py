"""A running process from outside: the objects of a Balancer, over its admin API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from typing import Any, cast
from urllib.parse import quote

from fastlb.config.hints import Named
from fastlb.config.server import Server, listed, server_keys
from fastlb.config.units import seconds, show_ms
from fastlb.control.events import Event
from fastlb.link import Link, find
from fastlb.policy import Hashed

WAIT_S = 60.0           # of one request that waits; it is asked again


def connect(admin: str | None = None, *, token: str | None = None) -> Client:
    """The running process whose admin API is at `admin`: "http://127.0.0.1:9000" or
    "http://unix:/run/fastlb/admin.sock".

    Without it: $FASTLB_ADMIN, else the one process that has a socket in the usual places.
    `token`: what its configuration says, or $FASTLB_TOKEN. Raises NotRunningError where nobody
    answers.
    """
    client = Client(find(admin, token, "admin"))
    client.status()                     # fails here, and not later
    return client


class Client:
    """What `connect()` returns. Methods block; in a loop call them by `asyncio.to_thread`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __repr__(self) -> str:
        return f"<Client {self._link}>"

    @property
    def pools(self) -> dict[str, RemotePool]:
        """All pools, by name."""
        return Named("pool", {pool["name"]: RemotePool(self._link, pool["name"])
                              for pool in self._link.get("/pools")})

    @property
    def listeners(self) -> dict[str, dict[str, Any]]:
        """What all listeners are and count, by name."""
        return {one["name"]: one for one in self._link.get("/listeners")}

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as it was given, without its secrets."""
        return cast(dict[str, Any], self._link.get("/config"))

    def status(self) -> dict[str, Any]:
        """Everything that is counted; docs/admin.md has the keys."""
        return cast(dict[str, Any], self._link.get("/status"))

    def metrics(self) -> str:
        """The metrics, as Prometheus reads them."""
        return self._link.text("/metrics")

    def reload(self, config: str | Mapping[str, Any] | None = None, *, dry_run: bool = False
               ) -> dict[str, Any]:
        """Change to a configuration (TOML, or values), or read the process's file again. Returns
        what has changed; ConfigError says what is wrong, and then nothing has."""
        query = "?dry_run=1" if dry_run else ""
        if config is None:
            made = self._link.ask("POST", f"/reload{query}", {})
        elif isinstance(config, str):
            made = self._link.ask("PUT", f"/config{query}", config.encode(), "application/toml")
        else:
            made = self._link.ask("PUT", f"/config{query}", dict(config))
        return cast(dict[str, Any], made)

    def ban(self, name: str, network: str, ttl: str | float | None = None) -> None:
        """Add a network to a set, for `ttl`, or as long as the process runs."""
        ttl_s = seconds(ttl, "ttl")
        body = {"network": network}
        if ttl_s is not None:
            body["ttl"] = show_ms(int(ttl_s * 1000))
        self._link.ask("POST", f"/networks/{quote(name, safe='')}", body)

    def unban(self, name: str, network: str) -> None:
        """Remove a network that was added to a set."""
        self._link.ask("DELETE", f"/networks/{quote(name, safe='')}", {"network": network})

    def explain(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        """Which route and server a request would get, and why; keywords as of
        `Balancer.explain`."""
        return cast(dict[str, Any], self._link.ask(
            "POST", "/explain", {"method": method, "url": url, **request}))

    async def events(self) -> AsyncIterator[Event]:
        """Changes of servers and pools from now on: `async for event in client.events()`."""
        async for kind, data in self._link.stream("/events"):
            if kind == "event":
                yield Event(**data)


class RemoteServer:
    """A server of a running process; as RunningServer. What is read is as new as this object."""

    def __init__(self, link: Link, pool: str, facts: dict[str, Any]) -> None:
        self._link = link
        self._pool = pool
        self._facts = facts

    def __repr__(self) -> str:
        return f"<RemoteServer {self._pool}/{self.address} {self.state}>"

    @property
    def address(self) -> str:
        return cast(str, self._facts["address"])

    @property
    def state(self) -> str:
        return cast(str, self._facts["state"])

    @property
    def in_flight(self) -> int:
        return cast(int, self._facts["in_flight"])

    @property
    def latency(self) -> float:
        """Seconds that answers took of late, on average; 0.0 if there were none."""
        return cast(float, self._facts.get("latency_recent", 0.0))

    @property
    def weight(self) -> int:
        """Its share of new clients, next to the other servers' weights."""
        return cast(int, self._facts["weight"])

    @weight.setter
    def weight(self, weight: int) -> None:
        self.set_weight(weight)

    def set_weight(self, weight: int) -> RemoteChange:
        """0 to 256."""
        return self._change({"weight": weight})

    def drain(self, timeout: str | float | None = None) -> RemoteChange:
        """It keeps its connections and the clients that are bound to it, and gets no others. What
        is left after `timeout` is reset; without one, nothing is."""
        return self._change({"state": "draining", **_timeout(timeout)})

    def disable(self, timeout: str | float | None = None) -> RemoteChange:
        """Maintenance: it gets nobody new, and no checks. What is under way goes on."""
        return self._change({"state": "maintenance", **_timeout(timeout)})

    def enable(self) -> RemoteChange:
        """It is to be used again."""
        return self._change({"state": "up"})

    def _change(self, values: dict[str, Any]) -> RemoteChange:
        path = f"{_path(self._pool)}/servers/{quote(self.address, safe='')}"
        made = self._link.ask("PATCH", path, values)
        self._facts.update(made["server"])
        return RemoteChange(self._link, made)


def _path(pool: str) -> str:
    return f"/pools/{quote(pool, safe='')}"


def _timeout(value: str | float | None) -> dict[str, str]:
    s = seconds(value, "timeout")
    return {} if s is None else {"drain_timeout": show_ms(int(s * 1000))}


class RemotePool:
    """A pool of a running process; as Pool."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self.name = name

    def __repr__(self) -> str:
        return f"<RemotePool {self.name}>"

    @property
    def servers(self) -> dict[str, RemoteServer]:
        """By address, those that the pool has now."""
        return Named("server", {facts["address"]: RemoteServer(self._link, self.name, facts)
                                for facts in self._link.get(_path(self.name))["servers"]})

    def hash(self, key: str) -> Hashed:
        """As of a Pool: what a policy returns."""
        return Hashed(self.name, key)

    def stats(self) -> dict[str, dict[str, Any]]:
        """What each server has done since the start, by its address."""
        found = self._link.get(_path(self.name))["servers"]
        return {facts.pop("address"): facts for facts in found}

    def set_servers(
        self, servers: Iterable[str | Server], *, drain_timeout: str | float | None = None
    ) -> RemoteChange:
        """These are its servers from now on: adds, keeps and removes in one step. What is left of
        those that are removed after `drain_timeout` is reset, and without one nothing is."""
        given = [
            server_keys(one) for one in listed(servers, self.name)
        ]
        body = {"servers": given, **_timeout(drain_timeout)}
        made = self._link.ask("PUT", f"{_path(self.name)}/servers", body)
        return RemoteChange(self._link, made)

    def add(self, *servers: str | Server) -> RemoteChange:
        """Servers besides those that it has."""
        given = [server_keys(one) for one in servers]
        made = self._link.ask("POST", f"{_path(self.name)}/servers", {"servers": given})
        return RemoteChange(self._link, made)

    def remove(
        self, *addresses: str, drain_timeout: str | float | None = None
    ) -> RemoteChange:
        """Without these from now on."""
        body = {"servers": list(addresses), **_timeout(drain_timeout)}
        made = self._link.ask("DELETE", f"{_path(self.name)}/servers", body)
        return RemoteChange(self._link, made)

    def reset(self) -> RemoteChange:
        """Drop what was set while running: it is again as the configuration says."""
        return RemoteChange(self._link, self._link.ask("POST", f"{_path(self.name)}/reset", {}))


class RemoteChange:
    """A change of a running process; as what `Pool.set_servers` returns."""

    def __init__(self, link: Link, facts: dict[str, Any]) -> None:
        self._link = link
        self._facts = facts
        self.pool: str = facts["pool"]
        self.added: tuple[str, ...] = tuple(facts["added"])
        self.kept: tuple[str, ...] = tuple(facts["kept"])
        self.removed: tuple[str, ...] = tuple(facts["removed"])

    def __repr__(self) -> str:
        counts = f"{len(self.added)} added, {len(self.kept)} kept, {len(self.removed)} removed"
        return f"<RemoteChange of {self.pool}: {counts}>"

    @property
    def reset(self) -> int:
        """Connections and requests that took longer than the `drain_timeout`, and were reset."""
        return cast(int, self._look(0)["reset"])

    @property
    def done(self) -> bool:
        """Whether it holds, and who had to leave has left."""
        return cast(bool, self._look(0)["drained"])

    def __await__(self) -> Generator[Any, None, RemoteChange]:
        return self                     # the process answered when it held
        yield

    async def drained(self) -> int:
        """Wait until those who left have ended all; returns `reset`."""
        return await asyncio.to_thread(self.wait)

    def wait(self, timeout: float | None = None) -> int:
        """The same in a thread; TimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left_s = WAIT_S if deadline is None else max(deadline - time.monotonic(), 0)
            if self._look(left_s)["drained"]:
                return cast(int, self._facts["reset"])
            if deadline is not None and left_s == 0:
                raise TimeoutError(f"{self!r} after {timeout:g} s")

    def _look(self, wait_s: float) -> dict[str, Any]:
        if not self._facts["drained"]:
            path = f"/changes/{self._facts['change']}?wait={_duration(wait_s)}"
            self._facts.update(self._link.get(path))
        return self._facts


def _duration(seconds: float) -> str:
    return show_ms(int(min(seconds, WAIT_S) * 1000))


