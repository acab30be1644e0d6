"""What people hold first: a Balancer, which makes the rest (handles)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from fastlb.background import Background
from fastlb.config.base import copied
from fastlb.config.hints import Named
from fastlb.config.model import Config
from fastlb.config.reader import read
from fastlb.config.server import Server
from fastlb.control.events import Subscription
from fastlb.handles import Listener, Networks, Pool, RateLimit
from fastlb.observe.recording import Subscription as Records
from fastlb.process.draft import Draft
from fastlb.process.functions import look_beside
from fastlb.process.instance import Instance
from fastlb.process.reload import Reloaded
from fastlb.process.stopping import Stopping

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastlb.explain.model import Explanation
    from fastlb.explain.wire import Headers
    from fastlb.keywords import (
        BalancerKeywords,
        ListenKeywords,
        NetworksKeywords,
        PoolKeywords,
        RateLimitKeywords,
    )


class Balancer:
    """A load balancer inside your program.

    `threads` engines serve on threads of their own, without the GIL; with `threads=0` the running
    asyncio or uvloop loop serves. Other keywords are the top-level keys of the configuration
    (docs/config.md). Build it up with `pool()` and `listen()`, or hand over a whole `config`: the
    path of a file, TOML text (with a line break in it), or a `Config`. Then `async with` it,
    `await start()` and `stop()` it, run it beside a program with `background()`, or let it own
    the process with `run()`.

    `async with`, `start()` and `background()` install no signal handler, configure no logging,
    never fork and leave limits alone. In a child that was forked while it ran, the object raises
    RuntimeError.
    """

    _made_of: type[Instance] = Instance

    def __init__(
        self,
        config: Config | str | os.PathLike[str] | None = None,
        *,
        threads: int | Literal["auto"] | None = None,
        **keys: Unpack[BalancerKeywords],
    ) -> None:
        if threads == "auto":
            threads = None
        if threads is not None and not (isinstance(threads, int) and 0 <= threads <= 64):
            raise ValueError(f"threads: {threads!r} is not a number from 0 to 64")
        if config is not None and keys:
            raise ValueError("give a config or keys, not both")
        whole, source = read(config) if config is not None else (None, None)
        if source is not None:
            look_beside(source)
        self._instance = self._made_of(Draft(keys, whole), threads, source)

    @property
    def source(self) -> str | None:
        """The file that a reload reads again."""
        return self._instance.source

    @source.setter
    def source(self, path: str | None) -> None:
        self._instance.source = path

    # --- building ---

    def pool(
        self, name: str, servers: Iterable[str | Server] = (), *, balance: str = "round_robin",
        **keys: Unpack[PoolKeywords],
    ) -> Pool:
        """Add a pool. Keywords are the keys of `[pools.NAME]`; mistakes raise ConfigError."""
        with self._instance.editing() as draft:
            draft.add_pool(name, servers, balance, keys)
        return Pool(self._instance, name)

    def listen(
        self,
        bind: str | list[str],
        *,
        pool: Pool | str | None = None,
        name: str | None = None,
        **keys: Unpack[ListenKeywords],
    ) -> Listener:
        """Add a listener. Keywords are the keys of `[listeners.NAME]`; mistakes raise ConfigError.

        Port 0 takes any free one: see `Listener.url`.
        """
        target = pool.name if isinstance(pool, Pool) else pool
        with self._instance.editing() as draft:
            made = draft.add_listener(name, bind, target, keys)
        return Listener(self._instance, made)

    def rate_limit(
        self, name: str, *, limit: str, **keys: Unpack[RateLimitKeywords]
    ) -> RateLimit:
        """Add a rate limit, for `rate_limit` of listeners and routes. Keywords are the keys of
        `[rate_limits.NAME]`; mistakes raise ConfigError."""
        with self._instance.editing() as draft:
            draft.add_rate_limit(name, {"limit": limit, **keys})
        return RateLimit(self._instance, name)

    @property
    def rate_limits(self) -> dict[str, RateLimit]:
        """Those that have a name, by it."""
        return Named("rate limit", {
            name: RateLimit(self._instance, name) for name in self._instance.current.rate_limits})

    def network(self, name: str, **keys: Unpack[NetworksKeywords]) -> Networks:
        """Add a set of networks, for `deny`, `allow` and `match.client.network`. Keywords are the
        keys of `[networks.NAME]`; mistakes raise ConfigError."""
        with self._instance.editing() as draft:
            draft.add_networks(name, keys)
        return Networks(self._instance, name)

    @property
    def networks(self) -> dict[str, Networks]:
        """The sets of networks, by name."""
        return Named("set of networks", {
            name: Networks(self._instance, name) for name in self._instance.current.networks})

    @property
    def pools(self) -> dict[str, Pool]:
        """All of them, by name: of the running configuration, or as it would be started."""
        return Named("pool", {
            name: Pool(self._instance, name) for name in self._instance.current.pools})

    @property
    def listeners(self) -> dict[str, Listener]:
        """All of them, by name."""
        return Named("listener", {
            name: Listener(self._instance, name) for name in self._instance.current.listeners})

    @property
    def admin_url(self) -> str | None:
        """Where the admin API is, such as "http://127.0.0.1:9000"; None where there is none."""
        return self._instance.admin.url

    @property
    def config(self) -> Config:
        """The whole configuration that is running, or as it would be started now. It is a copy:
        changing it changes nothing."""
        return copied(self._instance.current)

    def events(self) -> Subscription:
        """Changes of servers and pools from now on: `async for event in lb.events()`, see `Event`.
        It ends with the balancer. Raises RuntimeError when it isn't running."""
        return self._instance.events()

    def records(self) -> Records:
        """What becomes of each request and session from now on, see `Record`: `take()` them, or
        iterate. Of any thread; `close()` it. Raises RuntimeError when it isn't running."""
        return self._instance.running().recording.subscribe()

    def reopen_log(self) -> None:
        """Open the access log's file anew, where it was moved away (which is noticed anyway)."""
        self._instance.running().recording.reopen()

    async def reload(
        self, config: Config | str | os.PathLike[str] | None = None, *, dry_run: bool = False
    ) -> Reloaded:
        """Serve another configuration from now on, in one step: a `Config`, the path of a file, or
        TOML text (with a line break in it); without one, the file that it was started with is
        read again. Of any loop.

        Nothing that is under way ends, addresses that stay are never bound again, and what was set
        while running holds over it. ConfigError and BindError say all that is wrong, and change
        nothing. `dry_run` only says what would be different, and what was set while running.
        """
        return await self._instance.reload(config, dry_run=dry_run)

    async def upgrade(self) -> None:
        """Have `fastlb serve --supervise` start a new process in this one's place, which is then
        told to stop. RuntimeError says why it can't be; then this one goes on."""
        await self._instance.upgrade()

    def overlay(self) -> dict[str, dict[str, Any]]:
        """What was set while running and holds over the configuration, by pool: `servers`,
        `weights` and `states`, where they were set."""
        return self._instance.overlay()

    def explain(
        self, method: str, url: str, *, headers: Headers = (), body: str | bytes = b"",
        client: str = "127.0.0.1", listener: str | None = None, call_policy: bool = False,
        tls: Mapping[str, str] | None = None, proxy: Mapping[str, str] | None = None,
        says: Mapping[str, str] | None = None,
    ) -> Explanation:
        """Why a request would go where it goes: nothing is sent or changed.

        `url` is a whole one, or a path for the first http listener; `client` is "IP", "IP:PORT" or
        "unix:"; `tls` is what TLS knows of it, such as {"sni": "a.example"}, and `proxy` what a
        proxy tells of it, such as {"authority": "a.example"}. Of a "tcp://" one, `says` is what its
        client says first, such as {"protocol": "mqtt", "client_id": "sensor-7"}, or that is `body`.
        While running, servers are in the states they have now. Policies are asked with
        `call_policy`. Raises ValueError for what is no request.
        """
        return self._instance.explain(
            method, url, headers=headers, body=body, client=client, listener=listener,
            call_policy=call_policy, tls=tls, proxy=proxy, says=says)

    # --- running ---

    async def start(self) -> None:
        """Open all listeners and serve. ConfigError and BindError say what can't be; then
        nothing is left open."""
        await self._instance.start()

    def stop(self, timeout: float | None = None) -> Stopping:
        """Stop accepting, let connections finish for `timeout` seconds (`shutdown_timeout` if not
        given, after `shutdown_delay`), and reset the rest. From the loop: `await lb.stop()`; from
        elsewhere: `lb.stop().wait()`. A second call ends what the first still waits for."""
        return self._instance.stop(timeout)

    def __enter__(self) -> NoReturn:
        raise TypeError(
            "a Balancer is entered by `async with lb:`; without a loop of your own, write"
            " `with lb.background():`"
        )

    def __exit__(self, *_: object) -> None:
        """(So that `with lb:` comes to the hint above.)"""

    async def __aenter__(self) -> Balancer:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Leaving because of an error must not wait for connections that nobody serves any more.
        await self.stop(timeout=None if kind is None else 0)

    def background(self) -> Background[Balancer]:
        """Serve beside a normal program or a notebook: on return it is serving.

        Use it in a `with`, or call `stop()` on what it returns.
        """
        return Background(self._instance, self)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, owning the process: signals, logging, descriptor limit.

        Raises ConfigError or BindError if it can't start.
        """
        from fastlb.process.serve import own_process

        own_process(self._instance)
