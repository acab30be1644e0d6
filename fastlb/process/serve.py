"""A process that is a load balancer and nothing else: signals, limits, logs, readiness."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastlb.errors import ConfigError
from fastlb.process.adminport import usual_place
from fastlb.process.handed import Handed, inherited
from fastlb.process.worker import Parent

if TYPE_CHECKING:
    from fastlb.balancer import Balancer
    from fastlb.config.model import Config

log = logging.getLogger("fastlb")

# Besides two a connection: listening sockets, engines, pipes, names, logs, and room to look inside;
# of a low limit not more than a quarter.
DESCRIPTORS_RESERVED = 200
STOP_US = 5_000_000     # that a stop takes beyond shutdown_timeout, on the slowest machine


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure_logging(level: str = "info", format: str = "text") -> None:
    """Send the loggers below `fastlb` to stderr, one line an event."""
    handler = logging.StreamHandler(sys.stderr)
    if format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("fastlb")
    root.handlers = [handler]
    root.setLevel(level.upper())
    root.propagate = False


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.warning("the descriptor limit stays at %d: %s", soft, error)
            return soft
    return hard


def connections_possible(descriptors: int) -> int:
    """How many connections fit below a descriptor limit: each takes two."""
    return max((descriptors - min(DESCRIPTORS_RESERVED, descriptors // 4)) // 2, 1)


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
    from fastlb.balancer import Balancer
    from fastlb.config.effective import effective
    from fastlb.config.effects import without_effect

    configure_logging(log_level, log_format)
    descriptors = raise_descriptor_limit()

    def fit(config: Config) -> Config:
        if threads is not None:
            config = config.model_copy(update={"threads": threads})
        for key, why in without_effect(config, effective(config)):
            log.warning("%s: it has no effect: %s", key, why)
        return fitted(config, descriptors)

    balancer = Balancer(fit(config))
    balancer.source, balancer._fit = source, fit
    own_process(balancer, supervised=supervised)
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
    balancer: Balancer, started: Callable[[], None] | None = None,
    supervised: tuple[Parent, Handed] | None = None,
) -> None:
    """Run a balancer in a loop of its own until a signal ends it; a second one ends it at once."""
    import uvloop

    if not _someone_listens():
        configure_logging()
    loop = uvloop.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_main(balancer, started, supervised))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _someone_listens() -> bool:
    """Whether the program has configured logging that our lines would come to."""
    handlers = [*log.handlers, *logging.getLogger().handlers]
    return any(not isinstance(handler, logging.NullHandler) for handler in handlers)


async def _main(
    balancer: Balancer, started: Callable[[], None] | None,
    supervised: tuple[Parent, Handed] | None,
) -> None:
    loop = asyncio.get_running_loop()
    parent, handed = supervised or (None, Handed())
    # Whoever rotates logs sends it to everybody: it must not end who has none to open again.
    loop.add_signal_handler(signal.SIGUSR1, lambda: None)
    for sock in inherited():
        handed.add(sock)
    balancer._handed, balancer._parent = handed, parent
    balancer._admin.usual = usual_place
    await balancer.start()
    runtime = balancer._runtime
    assert runtime is not None
    notify = notify_systemd
    if parent is not None:
        parent.follow(loop)
        notify = functools.partial(_tell_parent, parent)

    def on_signal(number: signal.Signals) -> None:
        if balancer._stopping is not None:
            log.warning("%s again: ending at once", number.name)
        else:
            left = runtime.counts()["exchanges"]
            log.info("%s: accepting no more; open connections: %d", number.name, left)
            wait_us = runtime.effective.shutdown_timeout_ms * 1000 + STOP_US
            # (a parent goes on, and says by itself when it stops)
            stopping = "STOPPING=1\n" if parent is None else ""
            notify(f"{stopping}EXTEND_TIMEOUT_USEC={wait_us}")
        balancer.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGUSR1, runtime.recording.reopen)
    reloads = Reloads(balancer, notify)
    loop.add_signal_handler(signal.SIGHUP, reloads.ask)
    await balancer._admin.served()
    if balancer.admin_url is not None:
        log.info("admin: %s", balancer.admin_url)
    log.info("ready: %s", runtime.summary())
    if parent is not None:
        runtime.tell_parent(runtime.listening, [])
        parent.say("ready")
    else:
        notify("READY=1")
    if started is not None:
        started()
    await runtime.ended.wait()
    loop.remove_signal_handler(signal.SIGHUP)
    if parent is not None:
        parent.close()
    log.info("stopped")


def _tell_parent(parent: Parent, state: str) -> None:
    """It is the one that systemd listens to."""
    parent.say("notify", state=state)


class Reloads:
    """Reads the file again for each SIGHUP; those that come meanwhile are one."""

    def __init__(self, balancer: Balancer, notify: Callable[[str], None]) -> None:
        self._balancer = balancer
        self._notify = notify
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        if self._balancer.source is None:
            log.warning("SIGHUP: there is no file to read again")
            return
        self._asked = True
        if self._task is None:
            self._task = asyncio.ensure_future(self._reload())

    async def _reload(self) -> None:
        while self._asked:
            self._asked = False
            # (systemd wants to know when it was, by CLOCK_MONOTONIC: sd_notify(3).)
            self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                await self._balancer.reload()
            except ConfigError as error:
                for problem in error.problems:
                    log.error("reload: %s", problem)
                log.error("reload: nothing was changed")
            except Exception as error:
                log.error("reload: %s; nothing was changed", error)
            self._notify("READY=1")
        self._task = None
