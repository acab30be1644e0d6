"""Programs that aren't ours, as servers and clients of examples: started in a folder of the test's,
and gone when it ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.flow.conftest import DEADLINE_S, wait_until

RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")


def found(name: str) -> str | None:
    """Where a program is, also one that only root has in its path."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """A running program; what it says is in a file."""

    def __init__(self, arguments: Sequence[str], folder: Path, name: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as said:
            self.process = subprocess.Popen(
                arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_said(self, text: str) -> None:
        wait_until(lambda: text in self.said(), self.said)

    def wait_listening(self, *ports: int) -> None:
        wait_until(lambda: self.process.poll() is not None or all(map(listens, ports)), self.said)
        assert self.process.poll() is None, self.said()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(how)
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} doesn't end: {self.said()}") from None


class Programs:
    """All that a test has started, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Program] = []

    def start(self, name: str, *arguments: str, ports: Sequence[int] = ()) -> Program:
        """Waits until it listens at `ports`."""
        one = Program(arguments, self.folder, name)
        self.running.append(one)
        one.wait_listening(*ports)
        return one

    def stop(self) -> None:
        """Clients first: they were started last."""
        with ExitStack() as stack:
            while self.running:
                stack.callback(self.running.pop(0).stop)


@contextlib.contextmanager
def programs_in(folder: Path) -> Iterator[Programs]:
    made = Programs(folder)
    try:
        yield made
    finally:
        made.stop()
