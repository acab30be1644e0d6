"""Files of certificates, keys, authorities and tickets: what changes there is served soon after."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastlb.config.check import read_again
from fastlb.config.effective import Effective
from fastlb.config.effective_tls import effective_server_tls, effective_tls
from fastlb.config.model import Config
from fastlb.config.tls import Seen, ServerTls, Tls, files_of
from fastlb.control.tasks import end
from fastlb.errors import ConfigError, Problem

if TYPE_CHECKING:
    from fastlb.process.instance import Instance
    from fastlb.process.runtime import Runtime

log = logging.getLogger("fastlb")

LOOK_S = 1.0            # a look costs 2 us a file
END_S = 1.0             # for a look under way: a file that is far away isn't waited for
SHOWN = 5               # certificates of one listener, in a line of the log
TRY_AGAIN_LOOKS = 60    # at files that can't be used, and don't change: certificates begin to hold

Table = tuple[str, str]             # "listeners" or "pools", and which
Made = dict[Table, Tls | ServerTls]
Found = dict[Table, tuple[Seen, ...]]       # what looks different now, and how


@dataclass
class _Bad:
    """Files of one table that couldn't be used: how they looked, and how often since."""

    seen: tuple[Seen, ...]
    looks: int = 0


class Files:
    """Looks each second at the files that are in use. What has changed is checked and served, a
    listener or pool as a whole or not at all; what can't be used changes nothing, and is told
    once."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._runtime: Runtime | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._changing: asyncio.Task[None] | None = None
        self._bad: dict[Table, _Bad] = {}

    def start(self, runtime: Runtime) -> None:
        self._runtime, self._thread, self._bad = runtime, None, {}
        self._ended = threading.Event()
        runtime.closers.append(self.stop)
        self.follow()

    def follow(self) -> None:
        """The configuration is another one. Who has no files isn't woken for them."""
        if self._thread is None and _tables(self._instance.current):
            # A thread of its own, as a file may be far away; and the loop sleeps on meanwhile.
            self._thread = threading.Thread(
                target=self._watch, args=(self._ended, asyncio.get_running_loop()),
                name="fastlb-files", daemon=True,
            )
            self._thread.start()

    async def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, END_S)
            self._thread = None
        if self._changing is not None:
            await end([self._changing])

    def _watch(self, ended: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        while not ended.wait(LOOK_S) and not loop.is_closed():
            try:
                found = _different(self._instance.current)
                if found or self._bad:
                    loop.call_soon_threadsafe(self._found, found)
            except RuntimeError:
                return                      # the loop has been closed
            except Exception:
                log.exception("files of certificates can't be looked at")

    def _found(self, found: Found) -> None:
        if self._changing is None and not self._ended.is_set():
            self._changing = asyncio.ensure_future(self._change(found))
            self._changing.add_done_callback(self._changed)

    def _changed(self, done: asyncio.Task[None]) -> None:
        self._changing = None
        if not done.cancelled() and done.exception() is not None:
            log.error("changed files can't be used", exc_info=done.exception())

    async def _change(self, found: Found) -> None:
        self._bad = {key: bad for key, bad in self._bad.items() if key in found}
        wanted = {key: seen for key, seen in found.items() if self._is_due(key, seen)}
        runtime = self._runtime
        if not wanted or runtime is None:
            return
        async with runtime.edits.lock:
            if runtime.stopping:
                return
            config = self._instance.current          # (it may be another one by now)
            made: Made = {}
            for key in wanted.keys() & _tables(config).keys():
                try:
                    made[key] = await asyncio.to_thread(read_again, config, *key)
                except ConfigError as error:
                    self._refuse(key, wanted[key], error)
            for key, tls in made.items():
                self._serve(runtime, key, tls, wanted[key])

    def _is_due(self, key: Table, seen: tuple[Seen, ...]) -> bool:
        bad = self._bad.get(key)
        if bad is None or bad.seen != seen:
            return True
        bad.looks += 1
        # The second look is for who writes a certificate and then its key.
        return bad.looks == 1 or bad.looks % TRY_AGAIN_LOOKS == 0

    def _refuse(self, key: Table, seen: tuple[Seen, ...], error: ConfigError) -> None:
        bad = self._bad.get(key)
        if bad is None or bad.seen != seen:
            self._bad[key] = _Bad(seen)
        elif bad.looks == 1:
            assert self._runtime is not None
            self._runtime.securing.refused += 1
            for problem in error.problems:
                log.error("changed files: %s", problem)
            log.error("changed files: the old ones are still in use")

    def _serve(
        self, runtime: Runtime, key: Table, tls: Tls | ServerTls, seen: tuple[Seen, ...]
    ) -> None:
        before, values = runtime.effective, _with(runtime.effective, key, tls)
        if values != before:            # else they were only touched
            runtime.effective = values
            try:
                runtime.update()
            except (ConfigError, ValueError) as error:
                runtime.effective = before
                if not isinstance(error, ConfigError):
                    error = ConfigError([Problem(str(error), ".".join(key))])
                self._refuse(key, seen, error)
                return
            runtime.securing.refreshed += 1
            log.info("%s %s: its files have changed and are in use: %s",
                     key[0][:-1], key[1], _named(tls))
        self._bad.pop(key, None)
        self._instance.took(_with_part(self._instance.current, key, tls))


def _tables(config: Config) -> dict[Table, Tls | ServerTls]:
    """Those that are made of files."""
    parts = [(("listeners", name), one.tls) for name, one in config.listeners.items()]
    pools = [(("pools", name), one.tls) for name, one in config.pools.items()]
    return {
        key: tls for key, tls in (*parts, *pools)
        if isinstance(tls, (Tls, ServerTls)) and files_of(tls)
    }


def _different(config: Config) -> Found:
    """The tables whose files look different now, and how."""
    found: Found = {}
    for key, tls in _tables(config).items():
        files = files_of(tls)
        seen = tuple(file.looks() for file in files)
        if seen != tuple(file.seen for file in files):
            found[key] = seen
    return found


def _with(values: Effective, key: Table, tls: Tls | ServerTls) -> Effective:
    name = key[1]
    if isinstance(tls, Tls):
        return replace(values, listeners=[
            replace(one, tls=effective_tls(tls, one.scheme)) if one.name == name else one
            for one in values.listeners
        ])
    return replace(values, pools=[
        replace(one, tls=effective_server_tls(tls)) if one.name == name else one
        for one in values.pools
    ])


def _with_part(config: Config, key: Table, tls: Tls | ServerTls) -> Config:
    kind, name = key
    parts = getattr(config, kind)
    part = parts[name].model_copy(update={"tls": tls})
    return config.model_copy(update={kind: {**parts, name: part}})


def _named(tls: Tls | ServerTls) -> str:
    certificates = tls.certificates if isinstance(tls, Tls) else \
        [tls.certificate] if tls.certificate is not None else []
    shown = [f"{one.cert} (sha256:{one.fingerprint})" for one in certificates[:SHOWN]]
    more = len(certificates) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])]) or "authorities"

