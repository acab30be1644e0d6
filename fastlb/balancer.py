"""What people hold first: a Balancer, which makes the rest (handles)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from fastlb.background import Background, Stopping
from fastlb.config.base import copied
from fastlb.config.check_routes import scheme_of
from fastlb.config.diff import diff, overlaid
from fastlb.config.effective import Effective, effective
from fastlb.config.model import Config
from fastlb.config.reader import read
from fastlb.control.events import Subscription
from fastlb.errors import NOT_RUNNING, BindError, ConfigError
from fastlb.handles import Listener, Named, Pool, Server, given, listed
from fastlb.observe.recording import Subscription as Records
from fastlb.process.adminport import AdminPort
from fastlb.process.files import Files
from fastlb.process.filling import Filling
from fastlb.process.functions import look_beside
from fastlb.process.handed import Handed
from fastlb.process.reload import Reloaded, reload, tell_refused, tell_reloaded
from fastlb.process.runtime import Runtime
from fastlb.process.threads import default_poller
from fastlb.process.worker import Parent

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastlb.explain.model import Explanation
    from fastlb.explain.wire import Headers
    from fastlb.keywords import BalancerKeywords, ListenKeywords, PoolKeywords

Done = concurrent.futures.Future[None]


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
        if keys:
            Config.build(keys)
        self._config: Config | None = None
        self.source: str | None = None          # the file that a reload reads again
        if config is not None:
            self._config, self.source = read(config)
        if self.source is not None:
            look_beside(self.source)
        self._threads = threads
        self._keys: dict[str, Any] = dict(keys)
        self._pools: dict[str, dict[str, Any]] = {}
        self._listeners: dict[str, dict[str, Any]] = {}
        self._runtime: Runtime | None = None
        self._effective: Effective | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()         # where it was started last
        self._handed: Handed | None = None      # sockets that were opened for us
        self._parent: Parent | None = None      # that supervises this process
        self._admin = AdminPort(self)
        self._stopping: concurrent.futures.Future[None] | None = None
        self._stop_lock = threading.Lock()
        self._filling = Filling(self)
        self._files = Files(self)
        self._now: Config | None = None         # what is running
        self._fit: Callable[[Config], Config] = lambda config: config

    # --- building ---

    def pool(
        self, name: str, servers: Iterable[str | Server] = (), *, balance: str = "round_robin",
        **keys: Unpack[PoolKeywords],
    ) -> Pool:
        """Add a pool. Keywords are the keys of `[pools.NAME]`; mistakes raise ConfigError."""
        self._must_be_idle()
        spec = {
            "servers": [
                s._keys() if isinstance(s, Server) else s for s in listed(servers, name)
            ],
            "balance": balance,
            **given(keys),
        }
        self._check(name, self._pools, {"pools": {**self._pools, name: spec}})
        self._pools[name] = spec
        return Pool(self, name)

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
        self._must_be_idle()
        name = name if name is not None else f"listener{len(self._listeners) + 1}"
        target = pool.name if isinstance(pool, Pool) else pool
        spec = {"bind": bind, **({} if target is None else {"pool": target}), **given(keys)}
        self._check(name, self._listeners, {
            "listeners": {**self._listeners, name: spec}, "pools": self._pools})
        self._listeners[name] = spec
        return Listener(self, name)

    def _is_tcp(self, listener: str) -> bool:
        return scheme_of(self._listeners.get(listener, {})) in ("tcp", "udp")

    def _route_name(self, listener: str, function: Any) -> str:
        """The function's own, or with a number where it is taken."""
        own = getattr(function, "__name__", "policy").strip("<>")
        taken = {route.get("name") for route in self._listeners[listener].get("routes", ())}
        return next(n for n in (own, *map(f"{own}-{{}}".format, range(2, len(taken) + 3)))
                    if n not in taken)

    @property
    def pools(self) -> dict[str, Pool]:
        """All of them, by name: of the running configuration, or as it would be started."""
        return Named("pool", {name: Pool(self, name) for name in self._current.pools})

    @property
    def listeners(self) -> dict[str, Listener]:
        """All of them, by name."""
        return Named("listener", {one: Listener(self, one) for one in self._current.listeners})

    def _add_route(self, listener: str, route: dict[str, Any]) -> None:
        routes = self._listeners.get(listener, {}).get("routes", ())
        self._change_listener(listener, {"routes": [*routes, route]})

    def _change_listener(self, listener: str, keys: dict[str, Any]) -> None:
        self._must_be_idle()
        if self._config is not None:
            raise RuntimeError("this balancer was made from a whole config: change that instead")
        spec = {**self._listeners[listener], **keys}
        Config.build({"listeners": {**self._listeners, listener: spec}, "pools": self._pools})
        self._listeners[listener] = spec

    def _check(self, name: str, existing: dict[str, Any], part: dict[str, Any]) -> None:
        if self._config is not None:
            raise RuntimeError("this balancer was made from a whole config: change that instead")
        if name in existing:
            raise ValueError(f"{name!r} is taken: every name can be given once")
        Config.build(part)

    def _must_be_idle(self, end: str = ": add pools and listeners before it starts") -> None:
        self._must_be_ours()
        if self._runtime is not None:
            raise RuntimeError(f"the balancer is running{end}")

    def _must_be_ours(self) -> None:
        # (One that wasn't running when the process forked is as good there as here.)
        if self._runtime is not None and os.getpid() != self._pid:
            raise RuntimeError(
                f"this Balancer belongs to process {self._pid}, which forked this one:"
                " make a new one here"
            )

    def _running(self) -> Runtime:
        self._must_be_ours()
        if self._runtime is None:
            raise RuntimeError(NOT_RUNNING)
        return self._runtime

    @property
    def admin_url(self) -> str | None:
        """Where the admin API is, such as "http://127.0.0.1:9000"; None where there is none."""
        return self._admin.url

    @property
    def config(self) -> Config:
        """The whole configuration that is running, or as it would be started now. It is a copy:
        changing it changes nothing."""
        return copied(self._current)

    @property
    def _current(self) -> Config:
        if self._now is not None:
            return self._now
        if self._config is not None:
            return self._config
        return Config.build({**self._keys, "listeners": self._listeners, "pools": self._pools})

    def events(self) -> Subscription:
        """Changes of servers and pools from now on: `async for event in lb.events()`, see `Event`.
        It ends with the balancer. Raises RuntimeError when it isn't running."""
        return self._running().events.subscribe()

    def records(self) -> Records:
        """What becomes of each request and session from now on, see `Record`: `take()` them, or
        iterate. Of any thread; `close()` it. Raises RuntimeError when it isn't running."""
        return self._running().recording.subscribe()

    def reopen_log(self) -> None:
        """Open the access log's file anew, where it was moved away (which is noticed anyway)."""
        self._running().recording.reopen()

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
        self._must_be_ours()
        with self._stop_lock:
            runtime, loop = self._runtime, self._loop
        if runtime is None or loop is None:
            raise RuntimeError(NOT_RUNNING)
        try:
            new, values = await asyncio.to_thread(self._read, config)
        except ConfigError as error:
            if not dry_run:
                tell_refused(runtime, error)
            raise
        if dry_run:
            return Reloaded((*diff(self._current, new), *overlaid(self.overlay())), ())
        if loop is asyncio.get_running_loop():
            # Who stops waiting must not leave it half done.
            return await asyncio.shield(self._reload(runtime, new, values))
        future = asyncio.run_coroutine_threadsafe(self._reload(runtime, new, values), loop)
        return await asyncio.shield(asyncio.wrap_future(future))

    def _read(
        self, config: Config | str | os.PathLike[str] | None
    ) -> tuple[Config, Effective]:
        if config is None and self.source is None:
            raise ValueError("there is no file to read again: give a configuration")
        made, _ = read(config if config is not None else self.source or "")
        made = self._fit(copied(made))      # (nobody else changes it while it is served)
        return made, effective(made)

    async def _reload(self, runtime: Runtime, new: Config, values: Effective) -> Reloaded:
        try:
            async with self._admin.changed(values):
                warnings = await reload(runtime, values)
        except (ConfigError, BindError) as error:
            tell_refused(runtime, error)
            raise
        before = self._current
        self._took(new)
        self._config, self._effective = new, values
        self._files.follow()
        differences = diff(before, new)
        tell_reloaded(runtime, warnings, len(differences))
        return Reloaded(tuple(differences), tuple(warnings))

    def _took(self, config: Config) -> None:
        """This is what is running."""
        self._now = config
        if self._config is not None:
            self._config = config

    async def upgrade(self) -> None:
        """Have `fastlb serve --supervise` start a new process in this one's place, which is then
        told to stop. RuntimeError says why it can't be; then this one goes on."""
        if self._parent is None:
            raise RuntimeError("nobody supervises this process: start it with --supervise")
        await self._parent.upgrade()

    def overlay(self) -> dict[str, dict[str, Any]]:
        """What was set while running and holds over the configuration, by pool: `servers`,
        `weights` and `states`, where they were set."""
        runtime = self._running()
        found = runtime.overlay.as_json()
        for server in runtime.live.servers():
            if server.chosen is not None and not server.removed:
                states = found.setdefault(server.pool, {}).setdefault("states", {})
                states[server.address] = server.chosen
        return found

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
        from fastlb.explain.explainer import Explainer
        from fastlb.explain.running import explainer_of

        runtime = self._runtime
        explainer = explainer_of(runtime) if runtime is not None and runtime.snapshot is not None \
            else Explainer.offline(effective(self._current), functions=call_policy)
        content = body.encode() if isinstance(body, str) else body
        return explainer.explain(
            method, url, headers, content, client, listener, call_policy, tls, proxy, says)

    # --- running ---

    async def start(self) -> None:
        """Open all listeners and serve. ConfigError and BindError say what can't be; then
        nothing is left open."""
        self._must_be_idle(" already")
        config = copied(self._current)
        values = effective(config)
        threads = self._threads if self._threads is not None else values.threads
        runtime = Runtime(values, threads, default_poller(), self._handed, self._parent)
        self._runtime, self._pid = runtime, os.getpid()
        self._effective = values
        try:
            await self._admin.start(runtime, values)
            await runtime.start()
        except BaseException:
            self._runtime = None
            await self._admin.stop()
            raise
        self._now = config
        self._files.start(runtime)
        self._loop = asyncio.get_running_loop()
        self._stopping = None
        self._admin.begin(values)

    def stop(self, timeout: float | None = None) -> Stopping:
        """Stop accepting, let connections finish for `timeout` seconds (`shutdown_timeout` if not
        given, after `shutdown_delay`), and reset the rest. From the loop: `await lb.stop()`; from
        elsewhere: `lb.stop().wait()`. A second call ends what the first still waits for."""
        self._must_be_ours()
        with self._stop_lock:
            runtime, loop, values = self._runtime, self._loop, self._effective
            if runtime is None or loop is None or values is None:
                done: concurrent.futures.Future[None] = concurrent.futures.Future()
                done.set_result(None)
                return Stopping(done)
            again = self._stopping is not None
            future = self._stopping = self._stopping or concurrent.futures.Future()
        times_s = (timeout, 0.0) if timeout is not None else (
            values.shutdown_timeout_ms / 1000, runtime.delay_s)
        try:
            if again:
                loop.call_soon_threadsafe(runtime.hurry)
            else:
                future.set_running_or_notify_cancel()       # what is under way can't be cancelled
                loop.call_soon_threadsafe(self._begin_stop, runtime, times_s, future)
        except RuntimeError:            # the loop is closed: it has stopped, or can't by itself
            self._stopped(runtime, future)
        return Stopping(future, self.stop)

    def _begin_stop(self, runtime: Runtime, times_s: tuple[float, float], future: Done) -> None:
        self._stop_task = asyncio.ensure_future(self._stop(runtime, times_s, future))
        # A task may be cancelled before it begins.
        self._stop_task.add_done_callback(lambda _: self._stopped(runtime, future))

    async def _stop(self, runtime: Runtime, times_s: tuple[float, float], future: Done) -> None:
        failure: Exception | None = None
        try:
            self._admin.leave()
            await runtime.stop(*times_s)
        except Exception as error:
            failure = error
        finally:
            self._stopped(runtime, future, failure)

    def _stopped(
        self,
        runtime: Runtime,
        future: concurrent.futures.Future[None],
        failure: Exception | None = None,
    ) -> None:
        with self._stop_lock:
            if future.done():
                return
            runtime.end()
            self._admin.close()
            self._runtime = self._loop = self._now = None
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)

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

    def background(self) -> Background:
        """Serve beside a normal program or a notebook: on return it is serving.

        Use it in a `with`, or call `stop()` on what it returns.
        """
        return Background(self)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, owning the process: signals, logging, descriptor limit.

        Raises ConfigError or BindError if it can't start.
        """
        from fastlb.process.serve import own_process

        own_process(self)
