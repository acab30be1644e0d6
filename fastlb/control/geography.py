"""Databases of where clients are, while they are served: read from files in MaxMind's format, and
read again when those change.

A file is never mapped into memory: whoever overwrites it would end the process. Its search tree is
walked in the core, and maxminddb decodes each of its records once.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import logging
import os
import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from fastlb._core.engine import Engine
from fastlb._core.tables.geography import GeoDatabase, Geography, Places
from fastlb._core.tables.live import Live
from fastlb.config import limits
from fastlb.config.files import read_file
from fastlb.config.geography import COUNTRY, EffectiveGeo, EffectiveOverride
from fastlb.control.clock import Clock, Timer
from fastlb.control.retiring import Retiring
from fastlb.control.tasks import once
from fastlb.errors import ConfigError, Problem

log = logging.getLogger("fastlb.geo")

PIP_LINE = "pip install 'fastlb[geo]'"
WHAT = {"country": "country", "city": "country", "asn": "AS"}       # that a database must know

Stamp = tuple[int, int, int]        # of a file: its inode, size, and time of change


class _File(io.BytesIO):
    """A file's content, with the name that its reader puts into errors."""

    name = ""


@dataclass(frozen=True)
class Read:
    """A database as it was read."""

    database: GeoDatabase
    stamp: Stamp
    name: str               # what it calls itself: "GeoLite2-Country"
    built_s: int            # when it was made, in seconds since 1970
    networks: int           # how often another value begins in it


def find_reader() -> Any:
    """maxminddb. ConfigError: it isn't there."""
    try:
        return import_module("maxminddb")
    except ImportError:
        raise ConfigError([Problem(f"maxminddb isn't installed; run: {PIP_LINE}", "geo")]) from None


def read_database(kind: str, path: str, places: Places) -> Read:
    """Read a file. ValueError says what is wrong with it, ConfigError that nothing can be read."""
    reader = find_reader()
    try:
        data, found = read_file(path, limits.GEO_BYTES_MAX)
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    if len(data) > limits.GEO_BYTES_MAX:
        raise ValueError(f"{path} has more than {limits.GEO_BYTES_MAX >> 20} MiB")
    database, file = GeoDatabase(), _File(data)
    file.name = os.path.basename(path)
    try:
        with reader.open_database(file, reader.MODE_FD) as opened:
            about = opened.metadata()
            samples = database.walk(data, about.node_count, about.record_size, about.ip_version)
            find = _asn if kind == "asn" else _placed(places)
            values = array("I", [find(_record(opened, *one)) for one in samples])
        name, built_s = str(about.database_type), int(about.build_epoch)
    except (MemoryError, OSError):
        raise
    except Exception as error:          # (of what is broken: whatever its decoder stumbles over)
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is no database that can be used: {said}") from None
    if not any(values):
        raise ValueError(f"{path} knows no {WHAT[kind]} of any network; it calls itself"
                         f" {re.sub('[^ -~]', '?', name)[:limits.NAME_MAX]}")
    database.use(values)
    return Read(database, _stamp(found), name, built_s, database.ranges)


def _record(opened: Any, family: int, number: int) -> Any:
    return opened.get(
        ipaddress.IPv4Address(number) if family == 4 else ipaddress.IPv6Address(number))


def _of(record: Any, *keys: str) -> Any:
    for key in keys:
        record = record.get(key) if isinstance(record, dict) else None
    return record


def _code(value: Any, pattern: str) -> str:
    """A code that can stand in a header field; "" where it is none."""
    return value if isinstance(value, str) and re.fullmatch(pattern, value) else ""


def _placed(places: Places) -> Callable[[Any], int]:
    def find(record: Any) -> int:
        country = _code(_of(record, "country", "iso_code"), COUNTRY)
        continent = _code(_of(record, "continent", "code"), "[A-Z]{2}")
        parts = _of(record, "subdivisions")
        part = _code(_of(parts[0], "iso_code") if isinstance(parts, list) and parts else "",
                     "[A-Z0-9]{1,10}")
        region = f"{country}-{part}" if country and part else ""
        return places.number(country.encode(), continent.encode(), region.encode())

    return find


def _asn(record: Any) -> int:
    number = _of(record, "autonomous_system_number")
    return number if type(number) is int and 0 < number <= limits.ASN_MAX else 0


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _laid(overrides: Sequence[EffectiveOverride]) -> GeoDatabase | None:
    """The networks of overrides with the places of those in `overrides`, from 1 on."""
    if not overrides:
        return None
    by_family: dict[int, list[tuple[int, int]]] = {}
    for version in (4, 6):
        known = sorted(
            ((int(net.network_address), int(net.broadcast_address), i + 1)
             for i, one in enumerate(overrides)
             if (net := ipaddress.ip_network(one.network)).version == version),
            key=lambda one: (one[0], -one[1]))
        by_family[version] = _begins(known, (1 << (32 if version == 4 else 128)) - 1)
    database = GeoDatabase()
    database.lay(by_family[4], by_family[6])
    return database


def _begins(known: Sequence[tuple[int, int, int]], last: int) -> list[tuple[int, int]]:
    """Where values begin, of networks (first, last, value) that lie in each other or apart, the
    outer ones first."""
    found: list[tuple[int, int]] = []
    around: list[tuple[int, int]] = []          # those that have begun: their ends, and values

    def leave(upto: int) -> None:
        while around and around[-1][0] < upto:
            end = around.pop()[0]
            if end < last:
                found.append((end + 1, around[-1][1] if around else 0))

    for first, end, value in known:
        leave(first)
        found.append((first, value))
        around.append((end, value))
    leave(last + 1)
    # (of several that begin at one address the last one counts)
    return sorted(dict(found).items())


def _geography(
    places: Places, read: dict[str, Read], overrides: Sequence[EffectiveOverride]
) -> Geography:
    spots = [(places.number(one.country.encode(), one.continent.encode(), one.region.encode()),
              one.asn) for one in overrides]
    return Geography(
        places, overrides=_laid(overrides), spots=spots,
        **{kind: one.database for kind, one in read.items()})


def _problem(kind: str, error: ValueError) -> Problem:
    return Problem(str(error), f"geo.{kind}")


def fill_geography(live: Live, wanted: EffectiveGeo | None) -> None:
    """Read the databases of a configuration that isn't served. Raises ConfigError."""
    if wanted is None:
        return
    problems, read = [], {}
    places = live.known_places()
    for kind, path in wanted.files.items():
        try:
            read[kind] = read_database(kind, path, places)
        except ValueError as error:
            problems.append(_problem(kind, error))
    if problems:
        raise ConfigError(problems)
    live.use_geography(_geography(places, read, wanted.overrides))


class GeoFiles:
    """The databases of a running balancer."""

    def __init__(self, live: Live, engines: Sequence[Engine], clock: Clock) -> None:
        self._live, self._clock = live, clock
        self._wanted: EffectiveGeo | None = None
        self._timer: Timer | None = None
        self._retiring = Retiring(engines, clock)
        self._told: dict[str, str] = {}         # by kind: why its file can't be used now
        self.read: dict[str, Read] = {}         # by kind: what is in use
        self.failures = 0                       # how often a file could not be used

    async def learn(self, wanted: EffectiveGeo | None) -> dict[str, Read]:
        """Read the files that are new, or have changed. What nobody has known yet is used at once;
        `follow` does the rest. ConfigError: nothing has changed."""
        found: dict[str, Read] = {}
        if wanted is None:
            return found
        places = self._live.known_places()
        problems = []
        for kind, path in wanted.files.items():
            try:
                read = await asyncio.to_thread(_changed, kind, path, self._known(kind, path),
                                               places)
                if read is not None:
                    found[kind] = read
            except ValueError as error:
                problems.append(_problem(kind, error))
        if problems:
            raise ConfigError(problems)
        if self._wanted is None:
            self._use(wanted, found)
        return found

    def follow(self, wanted: EffectiveGeo | None, found: dict[str, Read]) -> None:
        """This is served from now on; `found` is what `learn` has returned for it."""
        if wanted is None:
            self.read.clear()
            self._retiring.keep(self._live.use_geography(None))
        elif found or wanted != self._wanted:
            kept = {kind: one for kind, one in self.read.items() if kind in wanted.files}
            self._use(wanted, {**kept, **found})
        self._wanted = wanted
        self._told.clear()
        self._wait()

    def keep(self, wanted: EffectiveGeo | None) -> None:
        """A change was refused: forget what only it had."""
        if wanted is None:
            self.follow(None, {})

    def _known(self, kind: str, path: str) -> Stamp | None:
        """The stamp of a file that is in use."""
        is_same = self._wanted is not None and self._wanted.files.get(kind) == path
        return self.read[kind].stamp if is_same and kind in self.read else None

    def _use(self, wanted: EffectiveGeo, read: dict[str, Read]) -> None:
        made = _geography(self._live.known_places(), read, wanted.overrides)
        self.read = read
        self._retiring.keep(self._live.use_geography(made))

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._wanted is not None and self._wanted.files:
            self._timer = self._clock.call_later(
                self._wanted.refresh_ms / 1000, self._begin_looking, self._wanted)

    def _begin_looking(self, wanted: EffectiveGeo) -> None:
        once("reading databases of geo", self._look(wanted))

    async def _look(self, wanted: EffectiveGeo) -> None:
        with self._clock.work():
            try:
                for kind, path in wanted.files.items():
                    await self._read_again(wanted, kind, path)
            finally:
                if self._wanted is wanted:
                    self._wait()

    async def _read_again(self, wanted: EffectiveGeo, kind: str, path: str) -> None:
        """A file that can't be used keeps what was known, which is said once for each cause."""
        if self._wanted is not wanted:
            return                              # (a reload came in between)
        try:
            read = await asyncio.to_thread(
                _changed, kind, path, self._known(kind, path), self._live.known_places())
        except ValueError as error:
            self.failures += 1
            if self._told.get(kind) != str(error):
                self._told[kind] = str(error)
                log.warning("geo.%s: %s; what was known of clients is kept", kind, error)
            return
        if self._wanted is not wanted:
            return
        self._told.pop(kind, None)
        if read is not None:
            self._use(wanted, {**self.read, kind: read})
            log.info("geo.%s: read again: %s, networks: %d", kind, read.name, read.networks)

    def end(self) -> None:
        """The engines have ended, or have never begun."""
        if self._timer is not None:
            self._timer.cancel()
        self._wanted = None
        self._retiring.end()


def _changed(kind: str, path: str, stamp: Stamp | None, places: Places) -> Read | None:
    """Read a file again. Returns None if it still has this stamp."""
    try:
        if stamp is not None and _stamp(os.stat(path)) == stamp:
            return None
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    return read_database(kind, path, places)
