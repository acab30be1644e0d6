"""The policies of one balancer: finds their functions, and runs those that don't run on engines."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import math
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import FrameType
from typing import Any

from fastlb._core.engine import Engine
from fastlb._core.policy.call import questions
from fastlb._core.tables.caller import Caller
from fastlb._core.tables.live import Live
from fastlb._core.tables.numbers import MERGE_SLASHES
from fastlb.compile.policies import is_async
from fastlb.compile.routes import names_of
from fastlb.config.effective import EffectiveListener
from fastlb.config.effective_http import EffectiveRoute
from fastlb.config.policy import EffectivePolicy
from fastlb.policy import Connection, Request
from fastlb.process.blocking import Blocking
from fastlb.process.functions import (
    END_S,
    Told,
    calls_of,
    find,
    is_told,
    run_function,
    running_loop,
)
from fastlb.process.modules import Modules

log = logging.getLogger("fastlb.policy")

THREADS_MAX = 32            # for functions that block
LATE_S = 60.0               # between two lines about a policy that is past its deadline
LOOK_S = 0.05               # how often the watchdog looks at functions on engines' threads

Key = tuple[str, str]       # listener and route; no route: of the listener's connections
Callers = Mapping[str, Mapping[str, Caller]]


class Policy(Caller):
    """One route's or listener's function. `deadline_s` and `blocking` are as configured."""

    deadline_s: float
    blocking: bool
    loop: asyncio.AbstractEventLoop | None
    thread: int                 # of the loop
    seen: Told
    said_late: float = -math.inf

    @property
    def name(self) -> str:
        return f"{self.listener}/{self.route}" if self.route else self.listener

    @property
    def is_sync(self) -> bool:
        return not self.blocking and not is_async(self.function)

    def failed(self, error: BaseException) -> None:
        """Say it once, with where it happened; it is counted each time."""
        if is_told(error, self.seen):
            return
        say = partial(log.error, "policy of %s failed; this is said once", self.name,
                      exc_info=error)
        if self.loop is None or self.thread == threading.get_ident():
            say()
        else:
            # An engine's thread waits for nobody's log handler.
            self.loop.call_soon_threadsafe(say)

    def late(self, asked: asyncio.Future[Any]) -> None:
        """Say where it is stuck, at most once in LATE_S; it is counted each time."""
        now = time.monotonic()
        if now < self.said_late + LATE_S:
            return
        self.said_late = now
        frames = _frames(asked.get_coro()) if isinstance(asked, asyncio.Task) else ()
        stack = "".join(traceback.StackSummary.extract(frames).format())
        log.warning(
            "policy of %s is past its deadline of %g s, and was given up%s", self.name,
            self.deadline_s, f"; it is here:\n{stack.rstrip()}" if stack else "",
        )


def _frames(waits: Any) -> Iterator[tuple[FrameType, int]]:
    """Where a coroutine waits, and what it awaits in turn."""
    while (frame := getattr(waits, "cr_frame", None)) is not None:
        yield frame, frame.f_lineno
        waits = waits.cr_await


class Policies:
    """Keeps a Policy for each route or listener that has one, over configurations that don't
    change it."""

    def __init__(self, live: Live, modules: Modules) -> None:
        self._live, self._modules = live, modules
        self._known: dict[Key, tuple[object, Policy]] = {}
        self._before: dict[Key, tuple[object, Policy]] | None = None
        # Snapshots keep their policies alive, and questions name them by number.
        self._callers: weakref.WeakValueDictionary[int, Policy] = weakref.WeakValueDictionary()
        self._asked: dict[tuple[int, int], asyncio.Future[Any]] = {}    # by engine and ticket
        self._threads: Blocking | None = None
        self._blocked: set[concurrent.futures.Future[Any]] = set()
        self._watchdog: Watchdog | None = None

    def of(self, listeners: list[EffectiveListener]) -> Callers:
        """Those of a configuration, by listener and route. Raises ConfigError where a function
        can't be found."""
        found: dict[str, dict[str, Policy]] = {}
        known: dict[Key, tuple[object, Policy]] = {}
        for listener in listeners:
            routes = listener.http.routes if listener.http is not None else ()
            of_requests = {route.name: route for route in routes}
            for name, policy in listener.policies:
                self._add(listener, name, of_requests.get(name), policy, known, found)
        self._known = known
        return found

    def _add(
        self, listener: EffectiveListener, name: str, route: EffectiveRoute | None,
        values: EffectivePolicy, known: dict[Key, tuple[object, Policy]],
        found: dict[str, dict[str, Policy]],
    ) -> None:
        http = listener.http
        made_of = (values, route and route.path, http and http.merge_slashes,
                   listener.written_scheme)
        before = self._known.get((listener.name, name))
        if before is not None and before[0] == made_of:
            policy = before[1]
        else:
            where = f"listeners.{listener.name}" + (f".routes.{name}" if name else "") + ".policy"
            policy = Policy(
                find(values.call, where, values.blocking,
                     listener.udp is not None and listener.udp.each),
                Request if route is not None else Connection, self._live, listener.name, name,
                listener.written_scheme, names_of(route) if route is not None else (),
                MERGE_SLASHES[http.merge_slashes] if http is not None else 0,
            )
            policy.deadline_s = values.deadline_ms / 1000
            policy.blocking = values.blocking
            policy.loop, policy.thread = running_loop(), threading.get_ident()
            policy.seen = set()
            self._callers[policy.id] = policy
            if isinstance(values.call, str):
                self._modules.note([values.call.partition(":")[0]])
        known[(listener.name, name)] = (made_of, policy)
        found.setdefault(listener.name, {})[name] = policy

    def refresh(self, listeners: list[EffectiveListener]) -> None:
        """Before a reload: import modules again whose files changed. ConfigError if one can't be.
        """
        self._before = self._known
        changed = self._modules.refresh(calls_of(listeners))
        self._known = {
            key: (made_of, policy) for key, (made_of, policy) in self._known.items()
            if getattr(policy.function, "__module__", "") not in changed
        }

    def settle(self) -> None:
        """The reload is through: `restore` does nothing until the next `refresh`."""
        self._before = None
        self._modules.settle()

    def restore(self) -> None:
        """The reload failed: all is as before `refresh`, if that was called."""
        self._modules.restore()
        if self._before is not None:
            self._known, self._before = self._before, None

    def watch(self, engines: list[Engine], thread_of: Callable[[int], int | None]) -> None:
        """Look after functions that run on engines' threads, if there are any."""
        if self._watchdog is None and any(p.is_sync for _, p in self._known.values()):
            self._watchdog = Watchdog(engines, thread_of, self._callers)

    def totals(self) -> Mapping[str, dict[str, int]]:
        """Of each policy, by "LISTENER/ROUTE" or "LISTENER"; see `Caller.totals`, and `pending`."""
        return {
            policy.name: {**policy.totals(), "pending": policy.pending}
            for _, policy in self._known.values()
        }

    # --- what engines ask ---

    def answer(self, engines: list[Engine]) -> None:
        """Begin to answer what engines have asked since the last time."""
        for engine, ticket, exchange, caller, about, late in questions(
                self._live, self._callers):
            key = (engine, ticket)
            if about is None:
                asked = self._asked.pop(key, None)
                if asked is not None:
                    if late and isinstance(caller, Policy):
                        caller.late(asked)
                    asked.cancel()
                continue
            assert isinstance(caller, Policy)
            try:
                asked = self._begin(caller, about)
            except Exception as error:
                self._tell(engines[engine], key, exchange, caller, error)
                continue
            self._asked[key] = asked
            asked.add_done_callback(partial(self._done, engines[engine], key, exchange, caller))

    def _begin(self, policy: Policy, about: object) -> asyncio.Future[Any]:
        if not policy.blocking:
            return asyncio.get_running_loop().create_task(run_function(policy.function, about))
        if self._threads is None:
            self._threads = Blocking(THREADS_MAX)
        future = self._threads.submit(policy.function, about)
        self._blocked.add(future)
        future.add_done_callback(self._blocked.discard)
        return asyncio.wrap_future(future)

    def _done(
        self, engine: Engine, key: tuple[int, int], exchange: int, policy: Policy,
        done: asyncio.Future[Any],
    ) -> None:
        withdrawn = self._asked.pop(key, None) is None
        error: BaseException | None = asyncio.CancelledError("it was cancelled from within")
        if not done.cancelled():
            error = done.exception()
        if withdrawn:
            return
        if error is not None:
            self._tell(engine, key, exchange, policy, error)
            return
        try:
            engine.decide(key[1], exchange, policy, done.result())
        except Exception as nonsense:
            self._tell(engine, key, exchange, policy, nonsense)

    def _tell(
        self, engine: Engine, key: tuple[int, int], exchange: int, policy: Policy,
        error: BaseException,
    ) -> None:
        policy.failed(error)
        engine.decide(key[1], exchange, policy, None, True)

    async def stop(self) -> None:
        asked, self._asked = set(self._asked.values()), {}
        for one in asked:
            one.cancel()
        if asked:
            await asyncio.wait(asked, timeout=END_S)
        self.end()

    def end(self) -> None:
        """Without the loop. A function that blocks goes on until it is through."""
        questions(self._live, {})
        if self._threads is not None:
            # Those that wait for work go at once.
            self._threads.end(wait=not self._blocked)
            self._threads = None
        if self._watchdog is not None:
            self._watchdog.end()
            self._watchdog = None


class Watchdog:
    """Says where a function on an engine's thread is stuck, once a call, past its deadline."""

    def __init__(
        self, engines: list[Engine], thread_of: Callable[[int], int | None],
        callers: weakref.WeakValueDictionary[int, Policy],
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
