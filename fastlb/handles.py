"""What a Balancer hands out: its pools, their servers, its listeners."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fastlb._core.tables.states import Server as LiveServer
from fastlb.config import limits
from fastlb.config.hints import Named, hint
from fastlb.config.http import Route
from fastlb.config.policy import Policy
from fastlb.config.proxy_protocol import normal_network
from fastlb.config.server import Server
from fastlb.config.units import seconds
from fastlb.control.changes import Change
from fastlb.errors import NOT_RUNNING, ConfigError, Problem
from fastlb.observe.refused import refused_most
from fastlb.policy import Fields, Hashed, remember_path
from fastlb.process.draft import given
from fastlb.process.instance import Instance
from fastlb.process.runtime import Runtime

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastlb.keywords import RouteKeywords
    from fastlb.keywords.tables import MatchKeys

# Of `Listener.route()`; other keys of a route, and of its policy, are keywords, too.
ROUTE_PARAMETERS = ("path", "name", "methods", "host", "match", "pool", "on_error")
LOOK_S = 0.1            # how often a change that is waited for looks whether there is a balancer
Function = TypeVar("Function", bound=Callable[..., Any])
PlanFunction = TypeVar("PlanFunction", bound=Callable[[str], Any])


def _pool_name(pool: Pool | str) -> str:
    return pool if isinstance(pool, str) else pool.name


class RunningServer:
    """A server of a running balancer. Made by `Pool.servers`.

    What is set here outlives reloads; it ends with the balancer, or when the server is removed.
    """

    def __init__(self, runtime: Runtime, server: LiveServer) -> None:
        self._runtime = runtime
        self._server = server
        self._decided: Fields = (server.pool, server.address, None, None, (), ())

    def __repr__(self) -> str:
        return f"<RunningServer {self._server.pool}/{self.address} {self.state}>"

    @property
    def address(self) -> str:
        return self._server.address

    @property
    def state(self) -> str:
        """up, unchecked (no connection and no health check has reached it yet), warming (slow
        start), failing (can't be connected to), ejected, down (by health
        checks), draining or maintenance; the last of these that holds."""
        return self._server.state

    @property
    def in_flight(self) -> int:
        """Requests, or connections of tcp, under way."""
        return self._server.in_flight

    @property
    def latency(self) -> float:
        """Seconds that answers took of late, on average; for TCP, that connecting took. 0.0 where
        nothing goes by it: it is measured for balance = "peak_ewma" (HTTP: and "prequal"), for
        hedges by percentile and for outliers by latency."""
        return self._server.latency_us / 1e6

    @property
    def weight(self) -> int:
        """Its share of new clients, next to the other servers' weights. Setting it outlives
        reloads; see `set_weight`."""
        return self._runtime.edits.weight(self._server)

    @weight.setter
    def weight(self, weight: int) -> None:
        self.set_weight(weight)

    def set_weight(self, weight: int) -> Change:
        """0 to 256. `await` what it returns to know that it holds."""
        bounds = limits.WEIGHT
        if type(weight) is not int or not bounds.low <= weight <= bounds.high:
            raise ValueError(
                f"weight: {weight!r} is not a number from {bounds.low} to {bounds.high}"
            )
        return self._runtime.edits.set_weight(self._server, weight)

    def drain(self, timeout: str | float | None = None) -> Change:
        """It keeps its connections and the clients that are bound to it, and gets no others.

        `await change.drained()`, or `change.wait()` in a thread, waits until it has none. What is
        left after `timeout` ("60s", or seconds) is reset; without one, nothing is.
        """
        return self._choose("draining", timeout)

    def disable(self, timeout: str | float | None = None) -> Change:
        """Maintenance: it gets nobody new, and no checks. What is under way goes on, as of
        `drain()`."""
        return self._choose("maintenance", timeout)

    def enable(self) -> Change:
        """It is to be used again."""
        return self._choose("up", None)

    def _choose(self, state: str, timeout: str | float | None) -> Change:
        return self._runtime.edits.choose(self._server, state, seconds(timeout, "timeout"))


class Pool:
    """Servers that do the same job. Made by `Balancer.pool()`."""

    def __init__(self, instance: Instance, name: str) -> None:
        self._instance = instance
        self.name = name
        self._decided: Fields = (name, None, None, None, (), ())

    def __repr__(self) -> str:
        return f"<Pool {self.name}>"

    @property
    def servers(self) -> dict[str, RunningServer]:
        """By address, those that the pool has now. Raises RuntimeError when not running."""
        runtime = self._instance.running()
        return Named("server", {
            server.address: RunningServer(runtime, server)
            for server in runtime.live.servers()
            if server.pool == self.name and not server.removed
        })

    def set_servers(
        self, servers: Iterable[str | Server], *, drain_timeout: str | float | None = None
    ) -> Change:
        """These are its servers from now on: adds, keeps and removes in one step. Of any thread.

        Those that are removed get nobody new and keep what they have; what is left after
        `drain_timeout` ("60s", or seconds) is reset, and without one nothing is. Servers that are
        kept keep the state that was set of them. Holds over reloads, until `reset()`. Mistakes
        raise ConfigError, and change nothing. Before the start, it fills the pool.
        """
        return self._instance.filling.set_servers(
            self.name, servers, seconds(drain_timeout, "drain_timeout")
        )

    def add(self, *servers: str | Server) -> Change:
        """`set_servers` with these besides."""
        return self._instance.filling.edit_servers(self.name, servers, ())

    def remove(self, *addresses: str, drain_timeout: str | float | None = None) -> Change:
        """`set_servers` without these. KeyError if one isn't there."""
        return self._instance.filling.edit_servers(
            self.name, (), addresses, seconds(drain_timeout, "drain_timeout")
        )

    def reset(self) -> Change:
        """Drop what was set while running: servers, weights and states are again as the
        configuration says."""
        return self._instance.running().edits.reset(self.name)

    def hash(self, key: str) -> Hashed:
        """What a policy returns to send a request to a key's server in this pool, whose `balance`
        is one that hashes."""
        return Hashed(self.name, key)

    def stats(self) -> dict[str, dict[str, int]]:
        """What each server has done since the start, by its address.

        Each has `in_flight`, `up` (0 where health checks found it down), `connections`,
        `connect_failures`, `bytes_to_server` and `bytes_to_client`, and of http `requests`,
        `errors` and `reused`. Empty when the balancer isn't running.
        """
        runtime = self._instance.runtime
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

    def __init__(self, instance: Instance, name: str) -> None:
        self._instance = instance
        self.name = name

    def __repr__(self) -> str:
        return f"<Listener {self.name}>"

    def route(
        self, path: str | Sequence[str] | None = None, *, name: str | None = None,
        methods: list[str] | None = None, host: str | Sequence[str] | None = None,
        match: MatchKeys | None = None,
        pool: Pool | str | None = None, on_error: Pool | str | None = None,
        **keys: Unpack[RouteKeywords],
    ) -> Callable[[Function], Function]:
        """Let a function decide about requests: `@web.route("/docs/{doc_id}/*")`.

        `match` has further conditions; other keywords are keys of `policy` (`deadline`,
        `cache_on`, `cache_ttl`, `blocking`, `max_pending`, `body`) or of a route. On a tcp
        listener, `@tcp.route(first_bytes="1KiB")` lets it decide about connections, with
        `match={"protocol": "mqtt"}` about those. Returns the function itself. Mistakes raise
        ConfigError.
        """
        if callable(path):      # (a decorator without parentheses would register nothing)
            raise TypeError('write @web.route() or @web.route("/path/*"), with parentheses')
        conditions = {
            **({"path": path} if path is not None else {}),
            **({"method": methods} if methods is not None else {}),
            **({"host": host} if host is not None else {}),
            **(match or {}),
        }
        policy, own = self._sorted(keys)
        if on_error is not None:
            policy["on_error"] = _pool_name(on_error)

        def add(function: Function) -> Function:
            decides = {"call": function, **policy}
            with self._instance.editing() as draft:
                if draft.has_routes_of_connections(self.name) and not (
                        conditions or own or name is not None or pool is not None):
                    draft.change_listener(self.name, {"policy": decides})
                    return function
                draft.add_route(self.name, {
                    "name": name or draft.route_name(self.name, function),
                    **({"match": conditions} if conditions else {}),
                    **({"pool": _pool_name(pool)} if pool is not None else {}),
                    "policy": decides,
                    **given(own),
                })
            if path is not None:
                remember_path(function, path if isinstance(path, str) else path[0])
            return function

        return add

    def _sorted(self, keys: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Keys of the policy, and of the route. ConfigError for one that is neither."""
        of_policy = [key for key in Policy.model_fields if key not in ("call", "on_error")]
        of_route = [key for key in Route.model_fields if key not in (*ROUTE_PARAMETERS, "policy")]
        wrong = [key for key in keys if key not in (*of_policy, *of_route)]
        if wrong:
            valid = (*ROUTE_PARAMETERS, *of_policy, *of_route)
            raise ConfigError([
                Problem(f"{key!r} is not a keyword of route(){hint(key, valid)}",
                        f"listeners.{self.name}.routes", valid=valid)
                for key in wrong
            ])
        return ({key: keys[key] for key in of_policy if key in keys},
                {key: keys[key] for key in of_route if key in keys})

    @property
    def urls(self) -> list[str]:
        """Every address that is listened on, with the real port where 0 was asked for.

        Raises RuntimeError when the balancer isn't running.
        """
        return self._instance.running().urls(self.name)

    @property
    def url(self) -> str:
        """The first of `urls`, such as "tcp://127.0.0.1:43211"."""
        return self.urls[0]

    @property
    def port(self) -> int:
        """The port of the first address; 0 for a unix socket."""
        runtime = self._instance.running()
        return next(s.address.port or 0 for s in runtime.listening if s.listener == self.name)

    def stats(self) -> dict[str, int]:
        """`in_flight`, `accepted`, `closed` and `refused` connections. Empty when not running."""
        runtime = self._instance.runtime
        if runtime is None:
            return {}
        return {
            name: n
            for listener in runtime.live.listeners()
            if listener.name == self.name
            for name, n in {"in_flight": listener.in_flight, **listener.totals()}.items()
        }


class RateLimit:
    """A rate limit of a balancer. Made by `Balancer.rate_limit()`; a value of `rate_limit`."""

    def __init__(self, instance: Instance, name: str) -> None:
        self._instance = instance
        self.name = name

    def __repr__(self) -> str:
        return f"<RateLimit {self.name}>"

    @property
    def name_in_config(self) -> str:
        """The limit's name, as a value of `rate_limit`."""
        return self.name

    def plan(
        self, cache_ttl: str | None = None, *, deadline: str | None = None
    ) -> Callable[[PlanFunction], PlanFunction]:
        """Let a function give each key its own limit: `@users.plan(cache_ttl="60s")`.

        It gets the key's value and returns a `Limit`, a rate such as "500/m", or None for the
        limit as it is configured. Nobody waits for it: until it has answered, a key has that limit,
        too. The answer is good for `cache_ttl`. Returns the function itself. Mistakes raise
        ConfigError.
        """
        if callable(cache_ttl):     # (a decorator without parentheses would register nothing)
            raise TypeError("write @limit.plan(), with parentheses")
        keys = {name: value for name, value in (("cache_ttl", cache_ttl), ("deadline", deadline))
                if value is not None}

        def add(function: PlanFunction) -> PlanFunction:
            with self._instance.editing() as draft:
                draft.change_rate_limit(self.name, {"plan": {"call": function, **keys}})
            return function

        return add

    def stats(self) -> dict[str, int]:
        """`allowed`, `refused`, `reported` and `uncounted` requests since the start, `keys` that
        have used something now, and those `evicted` for want of room. With a `plan`, also the
        `plans` that are known, and calls that it `answered`, that `failed`, that are `pending` and
        that were `dropped` as too many were. Empty when not running, or while no route has the
        limit."""
        runtime = self._instance.runtime
        if runtime is None:
            return {}
        return next((
            {**limit.totals(), "keys": limit.keys, "evicted": limit.evicted,
             **runtime.plans.totals().get(self.name, {})}
            for limit in runtime.live.rate_limits() if limit.name == self.name), {})

    def refused_most(self) -> list[dict[str, Any]]:
        """The ten keys that were refused most since the start: each has its `key`, how often it
        was `refused`, and by how much that may be too high (`over`). Empty when not running."""
        runtime = self._instance.runtime
        limits = runtime.live.rate_limits() if runtime is not None else ()
        return next((refused_most(one) for one in limits if one.name == self.name), [])


class Networks:
    """A set of networks of a balancer. Made by `Balancer.networks`; a value of `deny` and
    `allow`."""

    def __init__(self, instance: Instance, name: str) -> None:
        self._instance = instance
        self.name = name

    def __repr__(self) -> str:
        return f"<Networks {self.name}>"

    @property
    def name_in_config(self) -> str:
        """The set's name, as a value of `deny` and `allow`."""
        return self.name

    def add(self, network: str, ttl: str | float | None = None) -> None:
        """Add a network or an address to the running set, for `ttl` ("10m", or seconds), or else as
        long as the process runs; reloads keep it. From another thread than the balancer's loop,
        all engines go by it when this returns. ValueError: it is no network, or the set is full.
        KeyError: the set is gone. RuntimeError: the balancer isn't running."""
        text = normal_network(network)
        ttl_s = seconds(ttl, "ttl")
        self._change(lambda runtime: runtime.networks.add(self.name, text, ttl_s))

    def remove(self, network: str) -> None:
        """Remove a network that was added to the running set. KeyError: it wasn't, or the set
        is gone."""
        text = normal_network(network)
        self._change(lambda runtime: runtime.networks.remove(self.name, text))

    def _change(self, change: Callable[[Runtime], asyncio.Future[None]]) -> None:
        runtime = self._instance.running()
        loop = runtime.loop
        if loop is None:
            raise RuntimeError(NOT_RUNNING)

        async def changed() -> None:
            await change(runtime)

        try:
            is_ours = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_ours = False
        if is_ours:
            change(runtime)
            return
        future: concurrent.futures.Future[None] = asyncio.run_coroutine_threadsafe(changed(), loop)
        while True:                     # (a stop may wait for this very thread)
            try:
                future.result(LOOK_S)
                return
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise
                if runtime.stopping or runtime.loop is None:
                    future.cancel()
                    raise RuntimeError(NOT_RUNNING) from None

    def __contains__(self, address: str) -> bool:
        """Whether an address is in the running set."""
        return any(one.name == self.name and address in one
                   for one in self._instance.running().live.networks())

    def stats(self) -> dict[str, int]:
        """`entries` of its source, `added` ones, and clients `denied` and `reported` because of it
        since the start. Empty when not running."""
        runtime = self._instance.runtime
        if runtime is None:
            return {}
        return {
            name: n
            for one in runtime.live.networks()
            if one.name == self.name
            for name, n in one.stats().items()
        }
