"""A fastlb of its own process for small experiments."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRIES = 300


@contextmanager
def serving(config: str, *before: str) -> Iterator[tuple[int, int]]:
    """Serve a configuration whose "{port}" is filled in; yields that port and the process's id.
    `before` are words before the command, such as taskset's."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fastlb.toml"
        path.write_text(config.replace("{port}", str(port)))
        process = subprocess.Popen([*before, sys.executable, "-m", "fastlb", "serve", str(path)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(TRIES):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.1)     # (it starts)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait()
