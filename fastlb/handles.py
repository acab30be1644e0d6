"""What a Balancer hands out: its pools, their servers, its listeners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fastlb._core.tables.live import Server as LiveServer
from fastlb.config.policy import Policy
from fastlb.policy import Fields, Hashed, remember_path
from fastlb.process.runtime import Runtime

if TYPE_CHECKING:
    from fastlb.balancer import Balancer

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Server:
    """One server of a pool: an `address` ("HOST:PORT", "[v6]:PORT" or "unix:/PATH"), or a `dns`
    name with a port, of which every address is a server."""

    address: str | None = None
    _: KW_ONLY
    dns: str | None = None
    refresh: str | None = None              # "ttl", or a duration; of a name
    weight: int = 1
    max_connections: int | None = None
    priority: int = 0                       # 0 comes first
    zone: str | None = None
    state: str = "up"                       # draining, maintenance

    def _keys(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def _pool_name(pool: Pool | str) -> str:
    return pool if isinstance(pool, str) else pool.name


class RunningServer:
    """A server of a running balancer. Made by `Pool.servers`.

    What is set here outlives reloads; it ends with the balancer, or when the server is removed.
    """

    def __init__(self, runtime: Runtime, server: LiveServer) -> None:
        self._runtime = runtime
        self._server = server

    def __repr__(self) -> str:
        return f"<RunningServer {self._server.pool}/{self.address} {self.state}>"

    @property
    def address(self) -> str:
        return self._server.address

    @property
    def state(self) -> str:
        """up, warming (slow start), failing (can't be connected to), ejected, down (by health
        checks), draining or maintenance; the last of these that holds."""
        return self._server.state

    @property
    def in_flight(self) -> int:
        """Requests, or connections of tcp, under way."""
        return self._server.in_flight

    def drain(self) -> None:
        """It keeps its connections and the clients that are bound to it, and gets no others."""
        self._choose("draining")

    def disable(self) -> None:
        """Maintenance: it gets nobody new, and no checks. What is under way goes on."""
        self._choose("maintenance")

    def enable(self) -> None:
        """It is to be used again."""
        self._choose("up")

    def _decision(self) -> Fields:
        return self._server.pool, self._server.address, None, None, (), ()

    def _choose(self, state: str) -> None:
        self._runtime.choose(self._server, state)


class Pool:
    """Servers that do the same job. Made by `Balancer.pool()`."""

    def __init__(self, balancer: Balancer, name: str) -> None:
        self._balancer = balancer
        self.name = name

    def __repr__(self) -> str:
        return f"<Pool {self.name}>"

    @property
    def servers(self) -> dict[str, RunningServer]:
        """By address, those that the pool has now. Raises RuntimeError when not running."""
        runtime = self._balancer._running()
        return {
            server.address: RunningServer(runtime, server)
            for server in runtime.live.servers()
            if server.pool == self.name
        }

    def hash(self, key: str) -> Hashed:
        """What a policy returns to send a request to a key's server in this pool, whose `balance`
        is one that hashes."""
        return Hashed(self.name, key)

    def _decision(self) -> Fields:
        return self.name, None, None, None, (), ()

    def stats(self) -> dict[str, dict[str, int]]:
        """What each server has done since the start, by its address.

        Each has `in_flight`, `up` (0 where health checks found it down), `connections`,
        `connect_failures`, `bytes_to_server` and `bytes_to_client`, and of http `requests`,
        `errors` and `reused`. Empty when the balancer isn't running.
        """
        runtime = self._balancer._runtime
        if runtime is None:
            return {}
        return {
            server.address: {
                "in_flight": server.in_flight, "up": int(not server.down), **server.totals(),
            }
            for server in runtime.live.servers()
            if server.pool == self.name
        }


class Listener:
    """Addresses that are accepted on. Made by `Balancer.listen()`."""

    def __init__(self, balancer: Balancer, name: str) -> None:
        self._balancer = balancer
        self.name = name

    def __repr__(self) -> str:
        return f"<Listener {self.name}>"

    def route(
        self, path: str | None = None, *, name: str | None = None, methods: list[str] | None = None,
        host: str | None = None, match: Mapping[str, Any] | None = None,
        pool: Pool | str | None = None, on_error: Pool | str | None = None, **keys: Any,
    ) -> Callable[[Function], Function]:
        """Let a function decide about requests: `@web.route("/docs/{doc_id}/*")`.

        `match` has further conditions; other keywords are keys of `policy` (`deadline`,
        `cache_on`, `cache_ttl`, `blocking`, `max_pending`, `body`) or of a route. Returns the
        function itself. Mistakes raise ConfigError.
        """
        conditions = {
            **({"path": path} if path is not None else {}),
            **({"method": methods} if methods is not None else {}),
            **({"host": host} if host is not None else {}),
            **(match or {}),
        }
        policy = {key: keys.pop(key) for key in Policy.model_fields if key in keys}
        if on_error is not None:
            policy["on_error"] = _pool_name(on_error)

        def add(function: Function) -> Function:
            called = name or getattr(function, "__name__", "policy")
            self._balancer._add_route(self.name, {
                "name": called,
                **({"match": conditions} if conditions else {}),
                **({"pool": _pool_name(pool)} if pool is not None else {}),
                "policy": {"call": function, **policy},
                **keys,
            })
            if path is not None:
                remember_path(function, path)
            return function

        return add

    @property
    def urls(self) -> list[str]:
        """Every address that is listened on, with the real port where 0 was asked for.

        Raises RuntimeError when the balancer isn't running.
        """
        runtime = self._balancer._running()
        return [str(s.address) for s in runtime.listening if s.listener == self.name]

    @property
    def url(self) -> str:
        """The first of `urls`, such as "tcp://127.0.0.1:43211"."""
        return self.urls[0]

    @property
    def port(self) -> int:
        """The port of the first address; 0 for a unix socket."""
        runtime = self._balancer._running()
        return next(s.address.port or 0 for s in runtime.listening if s.listener == self.name)

    def stats(self) -> dict[str, int]:
        """`in_flight`, `accepted`, `closed` and `refused` connections. Empty when not running."""
        runtime = self._balancer._runtime
        if runtime is None:
            return {}
        return {
            name: n
            for listener in runtime.live.listeners()
            if listener.name == self.name
            for name, n in {"in_flight": listener.in_flight, **listener.totals()}.items()
        }
