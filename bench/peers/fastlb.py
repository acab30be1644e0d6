"""fastlb itself: the project's .venv, $FASTLB_CMD, or any other build as fastlb@COMMAND."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from bench.environment import ROOT
from bench.model import Command, Work
from bench.peers.base import Peer, first_line

DEFAULT = ROOT / ".venv" / "bin" / "fastlb"


class Fastlb(Peer):
    """The command is either a program that takes fastlb's arguments, or a whole command line with
    {mode}, {port}, {server0} and {server1} in it."""

    name = "fastlb"
    modes = frozenset({"tcp"})
    notes = ("fastlb: --threads 1, and one configuration for all work.",)

    def __init__(self, command: str = "") -> None:
        self._given = command
        self._command = command or os.environ.get("FASTLB_CMD", "") or str(DEFAULT)

    @property
    def label(self) -> str:
        return f"{self.name}@{self._given}" if self._given else self.name

    def missing(self) -> str:
        program = shlex.split(self._command)[0]
        if Path(program).exists():
            return ""
        shown = program.removeprefix(f"{ROOT}/")
        return f"{shown} does not exist: build it first"

    def version(self) -> str:
        if "{" in self._command:
            return self._command
        return first_line(*shlex.split(self._command), "version").removeprefix("fastlb ")

    def command(self, work: Work, folder: Path) -> Command:
        if "{" in self._command:
            servers = {f"server{i}": port for i, port in enumerate(work.server_ports)}
            whole = self._command.format(mode=work.mode, port=work.bind_port, **servers)
            return Command(tuple(shlex.split(whole)))
        servers_given = [a for p in work.server_ports for a in ("--server", f"127.0.0.1:{p}")]
        return Command((
            *shlex.split(self._command), "serve",
            "--bind", f"{work.mode}://127.0.0.1:{work.bind_port}", *servers_given,
            "--threads", "1",
        ))
