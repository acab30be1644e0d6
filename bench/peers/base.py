"""What a peer is: it says which modes it can do, writes its configuration and gives a command."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from bench.model import Command, Work

# Every peer may hold so many connections on each side: the idle scenario's, with room to spare,
# below the 20,000 descriptors that these machines allow.
CONNECTIONS_MAX = 9000
DESCRIPTORS_MAX = 20000

# What datagrams wait in at listeners; these machines allow no more.
RECEIVE_BYTES = 4 << 20

# Of an http balancer: path prefixes with a pool each. What is measured fits none of them, and goes
# to the default.
ROUTES = tuple(f"r{i}" for i in range(19))
# Where a peer has a limit of requests on a connection that can't be switched off.
REQUESTS_MAX = 1_000_000_000


class Peer(ABC):
    """A balancer under measurement. One file of bench/peers each."""

    name: ClassVar[str]
    modes: ClassVar[frozenset[str]]
    notes: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.name

    def does(self, mode: str) -> bool:
        return mode in self.modes

    def missing(self) -> str:
        """Why it can't be measured here; empty where it can."""
        return ""

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def command(self, work: Work, folder: Path) -> Command:
        """Writes its configuration for the work into the folder."""


def first_line(*argv: str, env: dict[str, str] | None = None) -> str:
    """The first line that a program prints about itself."""
    said = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=env
    )
    return next((line.strip() for line in said.stdout.splitlines() if line.strip()), "unknown")
