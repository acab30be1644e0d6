"""Listening sockets that are no longer used, until no engine can name them any more.

An engine names a socket by its number. A number that is closed too early goes to the next socket
that is opened, and the engine would accept that one's clients for the old listener.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from fastlb._core.tables.snapshot import Snapshot
from fastlb.process.sockets import Listening

log = logging.getLogger("fastlb")

Kept = tuple[Listening, list[Snapshot]]


class Leaving:
    """Closes each socket when no engine uses a snapshot that may name it."""

    def __init__(self, any_uses: Callable[[Snapshot], bool]) -> None:
        self._any_uses = any_uses
        self._left: list[Kept] = []

    @property
    def all(self) -> list[Listening]:
        return [one for one, _ in self._left]

    def add(self, gone: Iterable[Listening], snapshots: Iterable[Snapshot]) -> None:
        """Close these when no engine uses any of `snapshots`: all that were published before."""
        named = list(snapshots)
        self._left += [(one, named) for one in gone]

    def take_back(self, again: Iterable[Listening]) -> list[Kept]:
        """Keep the sockets of these open: another configuration has their addresses. Returns what
        `put_back` takes."""
        kept = {sock for one in again for sock in one.sockets}
        taken = [entry for entry in self._left if not kept.isdisjoint(entry[0].sockets)]
        self._left = [entry for entry in self._left if entry not in taken]
        return taken

    def put_back(self, taken: list[Kept]) -> None:
        """That configuration came to nothing."""
        self._left += taken

    def look(self, quiet: bool = False) -> None:
        """Close what can be closed now, and say so unless `quiet`."""
        left = []
        for one, named in self._left:
            named[:] = [snapshot for snapshot in named if self._any_uses(snapshot)]
            if named:
                left.append((one, named))
                continue
            if not quiet:
                log.info("listener %s: %s is closed", one.listener, one.address)
            one.close()
        self._left = left

    def end(self) -> None:
        """Close all: the engines have ended."""
        for one, _ in self._left:
            one.close()
        self._left = []

    def abandon(self) -> None:
        """In a forked child: let go of the sockets, but not of a unix socket's file."""
        for one, _ in self._left:
            one.file = None
        self.end()
