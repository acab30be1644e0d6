"""A process that is a load balancer and nothing else: signals, limits, logs, readiness."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastlb.control.tasks import once
from fastlb.errors import ConfigError
from fastlb.observe.logs import configure_logging
from fastlb.process.adminport import usual_place
from fastlb.process.descriptors import (
    connections_possible,
    fill_standard,
    raise_descriptor_limit,
)
from fastlb.process.handed import Handed, inherited
from fastlb.process.loops import run_to_end
from fastlb.process.signals import ENDING, LATER, Guard, take_early
from fastlb.process.worker import Parent

if TYPE_CHECKING:
    from fastlb.config.model import Config
    from fastlb.process.instance import Instance
    from fastlb.process.runtime import Runtime

log = logging.getLogger("fastlb")

STOP_S = 5.0            # that a stop takes beyond shutdown_timeout, on the slowest machine
HELD_UP_NS = 500_000_000        # by one call of a policy
STUCK_S = 2.0           # that the control loop may take to answer, on the slowest machine
EXIT_STUCK = 1


def notify_systemd(state: str) -> None:
    """Tell systemd, if it started us and wants to know (sd_notify(3))."""
    where = os.environ.get("NOTIFY_SOCKET")
    if not where:
        return
    address = "\0" + where[1:] if where.startswith("@") else where
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(state.encode(), address)
    except OSError as error:
        log.warning("systemd can't be notified: %s", error)


def serve(
    config: Config, *, log_level: str = "info", log_format: str = "text",
    source: str | None = None, threads: int | str | None = None,
    supervised: tuple[Parent, Handed] | None = None,
) -> int:
    """Serve a configuration until SIGTERM or SIGINT; returns the exit status. SIGHUP reads the
    file `source` again. `threads` stands before what configurations say.

    ConfigError and BindError are the caller's to show.
    """
    from fastlb.config.effective import effective
    from fastlb.config.effects import without_effect
    from fastlb.process.draft import Draft
    from fastlb.process.instance import Instance

    configure_logging(log_level, log_format)
    descriptors = raise_descriptor_limit()

    def fit(config: Config) -> Config:
        if threads is not None:
            config = config.model_copy(update={"threads": threads})
        for key, why in without_effect(config, effective(config)):
            log.warning("%s: it has no effect: %s", key, why)
        return fitted(config, descriptors)

    instance = Instance(Draft({}, fit(config)), None, source)
    instance.fit = fit
    own_process(instance, supervised=supervised)
    return 0


def fitted(config: Config, descriptors: int) -> Config:
    """A configuration with no more connections than the descriptor limit allows."""
    possible = connections_possible(descriptors)
    if config.max_connections is None:
        config = config.model_copy(update={"max_connections": possible})
        log.info("max_connections is %d: %d descriptors are allowed", possible, descriptors)
    elif config.max_connections > possible:
        log.warning(
            "max_connections is %d, but the descriptor limit only allows %d; raise it (ulimit -n)",
            config.max_connections, possible,
        )
    return config


def own_process(
    instance: Instance, started: Callable[[], None] | None = None,
    supervised: tuple[Parent, Handed] | None = None,
) -> None:
    """Run a balancer in a loop of its own until a signal ends it; a second one ends it at once."""
    import uvloop

    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "run() has a loop of its own; in an async program write `async with lb:`")
    fill_standard()
    if not _someone_listens():
        configure_logging()
    loop = uvloop.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        run_to_end(loop, _main(instance, started, supervised))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _someone_listens() -> bool:
    """Whether the program has configured logging that our lines would come to."""
    handlers = [*log.handlers, *logging.getLogger().handlers]
    return any(not isinstance(handler, logging.NullHandler) for handler in handlers)


async def _main(
    instance: Instance, started: Callable[[], None] | None,
    supervised: tuple[Parent, Handed] | None,
) -> None:
    parent, handed = supervised or (None, Handed())
    for sock in inherited():
        handed.add(sock)
    instance.handed, instance.parent = handed, parent
    instance.admin.usual = usual_place
    process = _Process(instance, parent)
    process.guard.start()
    try:
        if not await process.start():
            return
        runtime = instance.runtime
        assert runtime is not None
        await instance.admin.served()
        if not runtime.stopping:
            for url in instance.admin.urls:
                log.info("admin: %s", url)
            log.info("ready: %s", _summary(runtime))
            process.ready(runtime)
        if started is not None:
            started()
        await runtime.ended.wait()
        if parent is not None:
            await parent.close()
        log.info("stopped")
    finally:
        process.guard.stop()


class _Process:
    """What signals do, while a balancer starts, serves and stops."""

    def __init__(self, instance: Instance, parent: Parent | None) -> None:
        self._instance = instance
        self._parent = parent
        self._loop = asyncio.get_running_loop()
        self._starting: asyncio.Task[None] | None = None
        self._waiting: set[int] = set()         # signals, until we serve
        self._reloads = SignalledReloads(instance, self._notify)
        self.guard = Guard(self._is_stuck, self._end_now)
        if parent is not None:
            parent.follow(self._loop)

    def _notify(self, state: str) -> None:
        if self._parent is not None:            # it is the one that systemd listens to
            self._parent.say("notify", state=state)
        else:
            notify_systemd(state)

    async def start(self) -> bool:
        """Let the balancer start; False if a signal ended that."""
        for number in LATER:
            self._loop.add_signal_handler(number, self._waiting.add, number)
        for number in ENDING:
            self._loop.add_signal_handler(number, self._give_up, number)
        self._waiting.update(take_early())
        self._starting = asyncio.ensure_future(self._instance.start())
        try:
            await self._starting
        except asyncio.CancelledError:
            return False
        finally:
            self._starting = None
        for number in ENDING:
            self._loop.add_signal_handler(number, self._stop, number)
        return True

    def _give_up(self, number: signal.Signals) -> None:
        log.info("%s: ending before it serves", number.name)
        if self._starting is not None:
            self._starting.cancel()

    def ready(self, runtime: Runtime) -> None:
        """The balancer serves: signals that have waited are heard now."""
        heard: dict[signal.Signals, Callable[[], object]] = {
            signal.SIGHUP: self._reloads.ask,
            signal.SIGUSR1: runtime.recording.reopen,
            signal.SIGUSR2: lambda: log.warning(
                "SIGUSR2: ignored; only fastlb serve --supervise can be upgraded"),
        }
        for number, hear in heard.items():
            self._loop.add_signal_handler(number, hear)
            if number in self._waiting:
                hear()
        if self._parent is not None:
            runtime.tell_parent(runtime.listening, [])
            self._instance.admin.hold()
            self._parent.say("ready")
        else:
            notify_systemd("READY=1")

    def _stop(self, number: signal.Signals) -> None:
        instance, runtime = self._instance, self._instance.runtime
        if runtime is None:
            return                              # it has stopped
        if instance.stopping is not None:
            log.warning("%s again: ending at once", number.name)
        else:
            values, left = runtime.effective, runtime.counts()["exchanges"]
            delay_s = runtime.delay_s
            what = f"accepting for another {delay_s:g} s" if delay_s else "accepting no more"
            log.info("%s: %s; open connections: %d", number.name, what, left)
            wait_s = delay_s + values.shutdown_timeout_ms / 1000 + STOP_S
            # (a parent goes on, and says by itself when it stops)
            stopping = "STOPPING=1\n" if self._parent is None else ""
            self._notify(f"{stopping}EXTEND_TIMEOUT_USEC={int(wait_s * 1e6)}")
            self.guard.expect_end(wait_s, "shutdown_timeout")
            self._loop.add_signal_handler(signal.SIGHUP, lambda: None)
        instance.stop()

    def _is_stuck(self) -> bool:
        """Whether a policy holds up an engine or the control loop. On the guard's thread."""
        runtime, heard = self._instance.runtime, threading.Event()
        try:
            asked = [one.asked for one in runtime.engines.all] if runtime is not None else []
            if any(one and time.monotonic_ns() - one[1] > HELD_UP_NS for one in asked):
                return True
            self._loop.call_soon_threadsafe(heard.set)
        except RuntimeError:                # the engines or the loop have been closed
            return False
        return not heard.wait(STUCK_S)

    def _end_now(self, why: str) -> None:
        """On the guard's thread. A policy holds up what would end the process in order."""
        log.error("ended after %s, though a policy goes on", why)
        runtime = self._instance.runtime
        if runtime is not None:
            for one in (*runtime.listening, *runtime.leaving.all):
                if one.file is not None:
                    one.file.remove()
        self._instance.admin.remove_files()
        for handler in log.handlers:
            handler.flush()
        os._exit(EXIT_STUCK)


class SignalledReloads:
    """Reads the file again for each SIGHUP; those that come meanwhile are one."""

    def __init__(self, instance: Instance, notify: Callable[[str], None]) -> None:
        self._instance = instance
        self._notify = notify
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        if self._instance.source is None:
            log.warning("SIGHUP: there is no file to read again")
            return
        self._asked = True
        if self._task is None:
            self._task = once("a reload", self._reload())

    async def _reload(self) -> None:
        while self._asked:
            self._asked = False
            # (systemd wants to know when it was, by CLOCK_MONOTONIC: sd_notify(3).)
            self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                await self._instance.reload()
            except ConfigError as error:
                for problem in error.problems:
                    log.error("reload: %s", problem)
                log.error("reload: nothing was changed")
            except Exception as error:
                log.error("reload: %s; nothing was changed", error)
            self._notify("READY=1")
        self._task = None


def _summary(runtime: Runtime) -> str:
    """Return what is served, in one line."""
    engines = runtime.engines
    n = len(engines.all)
    by = "inside this loop" if engines.inline else f"{n} thread{'s' if n > 1 else ''}"
    parts = [
        f"{one.address} -> {listener.target}"
        for listener in runtime.effective.listeners
        for one in runtime.listening if one.listener == listener.name
    ]
    return f"{', '.join(parts) or 'no listener'} ({by})"
