"""Worker processes, as the parent that supervises them knows them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import fastlb
from fastlb.process.channel import ENVIRONMENT, Outbox

# What Python executes in a worker. "-m fastlb" would look for every module in the working directory
# first, where anybody may have put a queue.py.
BEGIN = ("import sys; sys.path[:] = [*filter(None, sys.path), {root!r}];"
         " from fastlb.cli import main; main()  # fastlb")


def command(arguments: list[str]) -> list[str]:
    """The command line of a worker: `fastlb` with these arguments, of this interpreter, without the
    working directory on Python's path."""
    root = str(Path(fastlb.__file__).resolve().parents[1])
    return [sys.executable, "-c", BEGIN.format(root=root), *arguments]


@dataclass(eq=False)
class Worker:
    process: subprocess.Popen[bytes]
    channel: socket.socket
    begun_s: float
    full: Callable[[Worker, bool], object]      # told when its outbox begins and ends to be full
    is_ready: bool = False
    is_leaving: bool = False        # told to stop
    held: set[str] = field(default_factory=set)     # labels that it has named
    failed: Callable[[str], None] | None = None     # somebody waits for it to be ready
    ready: Callable[[], None] | None = None
    deadline_s: float | None = None     # to be ready, or to have ended
    due: set[int] = field(default_factory=set)      # signals, for when it is ready
    why: str = ""                   # it can't serve, as it says

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.channel, lambda full: self.full(self, full))


def spawn(command: list[str], full: Callable[[Worker, bool], object]) -> Worker:
    """Start a process that stands by. OSError or SubprocessError where the system has none."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        environment = {**os.environ, ENVIRONMENT: str(theirs.fileno())}
        environment.pop("NOTIFY_SOCKET", None)      # systemd hears of the parent alone
        environment.pop("WATCHDOG_USEC", None)
        process = subprocess.Popen(
            command, env=environment, pass_fds=[theirs.fileno()],
            start_new_session=True,                 # Ctrl-C is for the parent, which tells workers
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Worker(process, ours, time.monotonic(), full)


def how_ended(status: int) -> str:
    """How a process ended, by its status."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
