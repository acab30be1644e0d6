"""Sources of sets of networks: lists in files and at URLs, read again only if they have changed."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from fastlb._core.tables.networks import NetworkSet
from fastlb.config import limits
from fastlb.config.files import read_file
from fastlb.config.networks import EffectiveNetworks
from fastlb.control.fetching import Fetched, Version, fetch
from fastlb.errors import ConfigError, Problem

LINES_SHOWN = 5         # of those that are no networks

Stamp = tuple[int, int, int]        # of a file: its inode, size, and time of change


@dataclass(frozen=True)
class Read:
    made: NetworkSet
    stamp: Stamp | Version | None = None
    failure: str = ""       # why this is not what its source has now,
    instead: str = ""       # and what it is
    unsaved: str = ""       # why its copy could not be written


def problem_of(one: EffectiveNetworks, error: ValueError) -> Problem:
    return Problem(str(error), f"networks.{one.name}{f'.{one.key}' if one.source else ''}")


def read_all(wanted: Sequence[EffectiveNetworks]) -> dict[str, NetworkSet]:
    """Return the sets of a configuration that isn't served, by name, without those from URLs:
    nothing is fetched. Raises ConfigError."""
    problems, found = [], {}
    for one in wanted:
        try:
            if not one.url:
                found[one.name] = _read(one).made
        except ValueError as error:
            problems.append(problem_of(one, error))
    if problems:
        raise ConfigError(problems)
    return found


async def read_source(
    one: EffectiveNetworks, places: asyncio.Semaphore, stamp: Stamp | Version | None = None
) -> Read | None:
    """Return a set as its source has it; None: it hasn't changed since this stamp. `places` are
    for fetches. ValueError says what is wrong with it."""
    if not one.url:
        return await asyncio.to_thread(_changed, one, stamp)
    known = stamp if isinstance(stamp, Version) else Version()
    found = await fetch(
        one.url, one.ca, known, limits.NETWORKS_BYTES_MAX, one.timeout_ms / 1000, places)
    return await asyncio.to_thread(_fetched, one, found) if found is not None else None


async def begin_without(
    one: EffectiveNetworks, error: ValueError, before: NetworkSet | None
) -> Read:
    """Return what a set begins with while its URL can't be fetched: its saved copy, or what it had
    before, or nothing. ValueError: it can't begin."""
    why, more = str(error), ""
    try:
        copy = await asyncio.to_thread(_saved, one)
    except ValueError as broken:
        copy, more = None, f"{broken}; "
    if copy is not None:
        return Read(copy, failure=why, instead="its saved copy is used")
    if one.required:
        raise ValueError(f"{why}; {more}required = false would begin without it")
    if before is not None:
        return Read(before, failure=why, instead=f"{more}the set stays as it was")
    return Read(
        NetworkSet(b"", 1), failure=why, instead=f"{more}the set is empty until it can be fetched")


def _made(data: bytes, source: str) -> NetworkSet:
    if len(data) > limits.NETWORKS_BYTES_MAX:
        raise ValueError(f"{source} has more than {limits.NETWORKS_BYTES_MAX >> 20} MiB")
    try:
        made = NetworkSet(data, limits.NETWORKS_MAX)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    if made.wrong:
        lines = ", ".join(map(str, made.wrong_lines[:LINES_SHOWN]))
        more = f" and {made.wrong - LINES_SHOWN} more" if made.wrong > LINES_SHOWN else ""
        raise ValueError(f"{source}: no networks in line {lines}{more}")
    return made


def _file(path: str) -> tuple[bytes, Stamp]:
    try:
        data, found = read_file(path, limits.NETWORKS_BYTES_MAX)
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    return data, _stamp(found)


def _read(one: EffectiveNetworks) -> Read:
    if not one.file:
        return Read(NetworkSet("\n".join(one.cidrs).encode(), limits.NETWORKS_MAX))
    data, stamp = _file(one.file)
    return Read(_made(data, one.file), stamp)


def _changed(one: EffectiveNetworks, stamp: Stamp | Version | None) -> Read | None:
    try:
        if stamp is not None and _stamp(os.stat(one.file)) == stamp:
            return None
    except OSError as error:
        raise ValueError(f"{one.file} can't be read: {error.strerror}") from None
    return _read(one)


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns


# --- what was fetched ---

def _fetched(one: EffectiveNetworks, found: Fetched) -> Read:
    made = _made(found.data, one.source)
    unsaved = ""
    if one.saved_copy and made.entries:
        try:
            _save(found.data, one.saved_copy)
        except OSError as error:
            unsaved = f"{one.saved_copy} can't be written: {error.strerror}"
    return Read(made, found.version, unsaved=unsaved)


def _save(data: bytes, path: str) -> None:
    """Write a file as a whole: what stood there stays if anything fails."""
    folder, name = os.path.split(os.path.abspath(path))
    fd, new = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise


def _saved(one: EffectiveNetworks) -> NetworkSet | None:
    if not one.saved_copy or not os.path.exists(one.saved_copy):
        return None
    made = _made(_file(one.saved_copy)[0], one.saved_copy)
    return made if made.entries else None
