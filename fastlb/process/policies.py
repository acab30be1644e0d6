"""The policies of one balancer: finds their functions, and runs those that don't run on engines."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import inspect
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from fastlb._core.engine import Engine, questions
from fastlb._core.tables.caller import Caller
from fastlb._core.tables.live import Live
from fastlb.compile.routes import names_of
from fastlb.config.effective import EffectiveListener
from fastlb.config.effective_http import EffectiveRoute
from fastlb.control.tasks import end
from fastlb.errors import ConfigError, Problem
from fastlb.policy import Request
from fastlb.process.modules import Modules

log = logging.getLogger("fastlb.policy")

THREADS_MAX = 32            # for functions that block
LOOK_S = 0.05               # how often the watchdog looks at functions on engines' threads

Key = tuple[str, str]       # listener and route


class Policy(Caller):
    """One route's function. `deadline_s` and `blocking` are as configured."""

    deadline_s = 0.0
    blocking = False
    seen: set[tuple[str, int]]

    @property
    def name(self) -> str:
        return f"{self.listener}/{self.route}"

    @property
    def is_sync(self) -> bool:
        return not self.blocking and not inspect.iscoroutinefunction(self.function)

    def failed(self, error: Exception) -> None:
        """Say it once, with where it happened; it is counted each time."""
        frames = traceback.extract_tb(error.__traceback__)
        where = (type(error).__name__, frames[-1].lineno or 0 if frames else 0)
        if where not in self.seen:
            self.seen.add(where)
            log.error("policy of %s failed; this is said once", self.name, exc_info=error)


def find(call: str | Callable[..., Any], where: str) -> Callable[..., Any]:
    """The function "module:name", looked for in the working directory too. Raises ConfigError."""
    if not isinstance(call, str):
        return call
    module_name, _, name = call.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise ConfigError([Problem(f"{call}: there is no module {error.name!r}", where)]) from None
    except AttributeError:
        raise ConfigError(
            [Problem(f"{call}: {module_name} has no {name!r}", where)]
        ) from None
    except Exception as error:
        raise ConfigError(
            [Problem(f"{call}: {module_name} can't be imported: {error!r}", where)]
        ) from error
    if not callable(found):
        raise ConfigError([Problem(f"{call}: it is no function", where)])
    function: Callable[..., Any] = found
    return function


class Policies:
    """Keeps a Policy for each route that has one, over configurations that don't change it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._known: dict[Key, tuple[EffectiveRoute, Policy]] = {}
        self._before: dict[Key, tuple[EffectiveRoute, Policy]] | None = None
        self._modules = Modules()
        self._callers: dict[int, Policy] = {}
        self._tasks: dict[tuple[int, int], asyncio.Future[Any]] = {}    # by engine and ticket
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None
        self._watchdog: Watchdog | None = None

    def of(self, listeners: list[EffectiveListener]) -> dict[str, dict[str, Policy]]:
        """Those of a configuration, by listener and route. Raises ConfigError where a function
        can't be found."""
        found: dict[str, dict[str, Policy]] = {}
        known: dict[Key, tuple[EffectiveRoute, Policy]] = {}
        for listener in listeners:
            for route in listener.http.routes if listener.http is not None else ():
                if route.policy is None:
                    continue
                key = (listener.name, route.name)
                before = self._known.get(key)
                if before is not None and before[0] == route:
                    policy = before[1]
                else:
                    policy = self._made(listener, route)
                known[key] = (route, policy)
                found.setdefault(listener.name, {})[route.name] = policy
        self._known = known
        self._callers = {**self._callers, **{p.id: p for _, p in known.values()}}
        return found

    def refresh(self, listeners: list[EffectiveListener]) -> None:
        """Before a reload: import modules again whose files changed. ConfigError if one can't be.
        """
        self._before = self._known
        calls = [
            (route.policy.call, f"listeners.{listener.name}.routes.{route.name}.policy")
            for listener in listeners
            for route in (listener.http.routes if listener.http is not None else ())
            if route.policy is not None and isinstance(route.policy.call, str)
        ]
        changed = self._modules.refresh(calls)
        self._known = {
            key: (route, policy) for key, (route, policy) in self._known.items()
            if getattr(policy.function, "__module__", "") not in changed
        }

    def restore(self) -> None:
        """The reload failed: all is as before `refresh`."""
        self._modules.restore()
        if self._before is not None:
            self._known = self._before

    def _made(self, listener: EffectiveListener, route: EffectiveRoute) -> Policy:
        assert route.policy is not None and listener.http is not None
        where = f"listeners.{listener.name}.routes.{route.name}.policy"
        function = find(route.policy.call, where)
        if isinstance(route.policy.call, str):
            self._modules.note([route.policy.call.partition(":")[0]])
        policy = Policy(
            function, Request, self._live, listener.name, route.name, "http", names_of(route),
            listener.http.merge_slashes,
        )
        policy.deadline_s = route.policy.deadline_ms / 1000
        policy.blocking = route.policy.blocking
        policy.seen = set()
        if policy.blocking and inspect.iscoroutinefunction(function):
            raise ConfigError([Problem("an async function doesn't block: leave it out", where)])
        return policy

    def watch(self, engines: list[Engine], thread_of: Callable[[int], int | None]) -> None:
        """Look after functions that run on engines' threads, if there are any."""
        if self._watchdog is None and any(p.is_sync for _, p in self._known.values()):
            self._watchdog = Watchdog(engines, thread_of, self._callers)

    def totals(self) -> Mapping[str, dict[str, int]]:
        """Of each policy, by listener and route."""
        return {policy.name: policy.totals() for _, policy in self._known.values()}

    # --- what engines ask ---

    def answer(self, engines: list[Engine]) -> None:
        """Begin to answer what engines have asked since the last time."""
        loop = asyncio.get_running_loop()
        for engine, ticket, exchange, policy, request in questions(self._live, self._callers):
            key = (engine, ticket)
            if request is None:
                task = self._tasks.pop(key, None)
                if task is not None:
                    task.cancel()
                continue
            asked: asyncio.Future[Any]
            if policy.blocking:
                asked = loop.run_in_executor(self._pool(), policy.function, request)
            else:
                asked = loop.create_task(policy.function(request))
            self._tasks[key] = asked
            asked.add_done_callback(
                lambda done, key=key, exchange=exchange, policy=policy: self._done(
                    engines[key[0]], key, exchange, policy, done)
            )

    def _done(
        self, engine: Engine, key: tuple[int, int], exchange: int, policy: Policy,
        done: asyncio.Future[Any],
    ) -> None:
        if done.cancelled():
            return
        self._tasks.pop(key, None)
        error = done.exception()
        try:
            if error is not None:
                raise error
            engine.decide(key[1], exchange, policy, done.result())
        except Exception as failure:
            policy.failed(failure)
            engine.decide(key[1], exchange, policy, None, True)

    def _pool(self) -> concurrent.futures.ThreadPoolExecutor:
        if self._threads is None:
            self._threads = concurrent.futures.ThreadPoolExecutor(
                THREADS_MAX, thread_name_prefix="fastlb-policy"
            )
        return self._threads

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, {}
        await end([task for task in tasks.values() if isinstance(task, asyncio.Task)])
        self.end()

    def end(self) -> None:
        """Without the loop. A function that blocks goes on until it is through."""
        questions(self._live, {})
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        if self._watchdog is not None:
            self._watchdog.end()
            self._watchdog = None


class Watchdog:
    """Says where a function on an engine's thread is stuck, once a call, past its deadline."""

    def __init__(
        self, engines: list[Engine], thread_of: Callable[[int], int | None],
        callers: Mapping[int, Policy],
    ) -> None:
        self._engines = engines
        self._thread_of = thread_of
        self._callers = callers
        self._told: dict[int, int] = {}         # since when it was stuck, by engine
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fastlb-watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            for engine in self._engines:
                try:
                    asked = engine.asked
                except RuntimeError:            # it has been closed
                    return
                if asked is not None and self._told.get(engine.id) != asked[1]:
                    self._look_at(engine.id, *asked)

    def _look_at(self, engine: int, policy_id: int, since_ns: int) -> None:
        policy = self._callers.get(policy_id)
        stuck_s = (time.monotonic_ns() - since_ns) / 1e9
        if policy is None or stuck_s < policy.deadline_s:
            return
        self._told[engine] = since_ns
        frame = sys._current_frames().get(self._thread_of(engine) or 0)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "(unknown)\n"
        log.warning(
            "policy of %s is past its deadline of %g s and holds up an engine; it is here:\n%s",
            policy.name, policy.deadline_s, stack.rstrip(),
        )

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
