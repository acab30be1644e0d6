"""One balancer: what it is to be started with, what is running, and how it starts, reloads and
stops. A Balancer is its face for programs. Handles, the admin API and `fastlb serve` share it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastlb.config.base import copied
from fastlb.config.diff import diff, overlaid
from fastlb.config.effective import Effective, effective
from fastlb.config.model import Config
from fastlb.config.reader import read
from fastlb.control.events import Subscription
from fastlb.errors import NOT_RUNNING, BindError, ConfigError
from fastlb.process.adminport import AdminPort
from fastlb.process.draft import Draft
from fastlb.process.files import Files
from fastlb.process.filling import Filling
from fastlb.process.handed import Handed
from fastlb.process.reload import Reloaded, reload, tell_refused, tell_reloaded
from fastlb.process.runtime import Runtime
from fastlb.process.stopping import Stopping
from fastlb.process.threads import default_poller
from fastlb.process.worker import Parent

if TYPE_CHECKING:
    from fastlb.explain.model import Explanation
    from fastlb.explain.wire import Headers

Done = concurrent.futures.Future[None]


class Instance:
    """`threads` as in `Balancer`; `source` is the file that a reload reads again.

    `fit` changes each configuration to what this process can have. `handed` are sockets that were
    opened for us, and `parent` supervises this process.
    """

    def __init__(self, draft: Draft, threads: int | None, source: str | None) -> None:
        self.draft = draft
        self.threads = threads
        self.source = source
        self.fit: Callable[[Config], Config] = lambda config: config
        self.handed: Handed | None = None
        self.parent: Parent | None = None
        self.runtime: Runtime | None = None
        self.admin = AdminPort(self)
        self.filling = Filling(self)
        self.stopping: Done | None = None
        self._pid = os.getpid()                 # where it was started last
        self._files = Files(self)
        self._effective: Effective | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_lock = threading.Lock()
        self._now: Config | None = None         # what is running

    # --- where it stands ---

    @property
    def is_ours(self) -> bool:
        """Whether this process is the one that started it, and not a child that was forked."""
        return os.getpid() == self._pid

    def must_be_ours(self) -> None:
        # (One that wasn't running when the process forked is as good there as here.)
        if self.runtime is not None and not self.is_ours:
            raise RuntimeError(
                f"this Balancer belongs to process {self._pid}, which forked this one:"
                " make a new one here"
            )

    def must_be_idle(self, end: str = ": add pools and listeners before it starts") -> None:
        self.must_be_ours()
        if self.runtime is not None:
            raise RuntimeError(f"the balancer is running{end}")

    @contextmanager
    def editing(self) -> Iterator[Draft]:
        """Around a change of what it is to be started with. RuntimeError while it runs."""
        self.must_be_idle()
        yield self.draft

    def running(self) -> Runtime:
        """Return what is running. Raises RuntimeError if nothing is."""
        self.must_be_ours()
        if self.runtime is None:
            raise RuntimeError(NOT_RUNNING)
        return self.runtime

    def started(self) -> Runtime | None:
        """What is running, if anything is and no stop has begun to take it away."""
        with self._stop_lock:
            return self.runtime

    @property
    def current(self) -> Config:
        """The whole configuration that is running, or as it would be started now."""
        return self._now if self._now is not None else self.draft.config()

    def took(self, config: Config) -> None:
        """This is what is running."""
        self._now = config
        if self.draft.whole is not None:
            self.draft.whole = config

    def events(self) -> Subscription:
        return self.running().events.subscribe()

    def overlay(self) -> dict[str, dict[str, Any]]:
        """See Balancer.overlay."""
        runtime = self.running()
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
        """See Balancer.explain."""
        from fastlb.explain.explainer import Explainer
        from fastlb.explain.running import explainer_of

        runtime = self.runtime
        explainer = explainer_of(runtime) if runtime is not None and runtime.snapshot is not None \
            else Explainer.offline(effective(self.current), functions=call_policy)
        content = body.encode() if isinstance(body, str) else body
        return explainer.explain(
            method, url, headers, content, client, listener, call_policy, tls, proxy, says)

    # --- start, reload, stop ---

    async def start(self) -> None:
        """See Balancer.start."""
        self.must_be_idle(" already")
        config = copied(self.current)
        values = effective(config)
        threads = self.threads if self.threads is not None else values.threads
        runtime = Runtime(values, threads, default_poller(), self.handed, self.parent)
        self.runtime, self._pid = runtime, os.getpid()
        self._effective = values
        try:
            await self.admin.start(runtime, values)
            await runtime.start()
        except BaseException:
            self.runtime = None
            await self.admin.stop()
            raise
        self._now = config
        self._files.start(runtime)
        self._loop = asyncio.get_running_loop()
        self.stopping = None
        self.admin.begin(values)

    async def reload(
        self, config: Config | str | os.PathLike[str] | None = None, *, dry_run: bool = False
    ) -> Reloaded:
        """See Balancer.reload."""
        self.must_be_ours()
        with self._stop_lock:
            runtime, loop = self.runtime, self._loop
        if runtime is None or loop is None:
            raise RuntimeError(NOT_RUNNING)
        try:
            new, values = await asyncio.to_thread(self._read, config)
        except ConfigError as error:
            if not dry_run:
                tell_refused(runtime, error)
            raise
        if dry_run:
            return Reloaded((*diff(self.current, new), *overlaid(self.overlay())), ())
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
        made = self.fit(copied(made))       # (nobody else changes it while it is served)
        return made, effective(made)

    async def _reload(self, runtime: Runtime, new: Config, values: Effective) -> Reloaded:
        try:
            async with self.admin.changed(values):
                warnings = await reload(runtime, values)
        except (ConfigError, BindError) as error:
            tell_refused(runtime, error)
            raise
        before = self.current
        self.took(new)
        self.draft.whole, self._effective = new, values
        self._files.follow()
        differences = diff(before, new)
        tell_reloaded(runtime, warnings, len(differences))
        return Reloaded(tuple(differences), tuple(warnings))

    async def upgrade(self) -> None:
        """See Balancer.upgrade."""
        if self.parent is None:
            raise RuntimeError("nobody supervises this process: start it with --supervise")
        await self.parent.upgrade()

    def stop(self, timeout: float | None = None) -> Stopping:
        """See Balancer.stop."""
        self.must_be_ours()
        with self._stop_lock:
            runtime, loop, values = self.runtime, self._loop, self._effective
            if runtime is None or loop is None or values is None:
                done: Done = concurrent.futures.Future()
                done.set_result(None)
                return Stopping(done)
            again = self.stopping is not None
            future = self.stopping = self.stopping or concurrent.futures.Future()
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
            self.admin.leave()
            await runtime.stop(*times_s)
        except Exception as error:
            failure = error
        finally:
            self._stopped(runtime, future, failure)

    def _stopped(self, runtime: Runtime, future: Done, failure: Exception | None = None) -> None:
        with self._stop_lock:
            if future.done():
                return
            runtime.end()
            self.admin.close()
            self.runtime = self._loop = self._now = None
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)
