"""Files that a configuration is, or names: read without waiting for who never writes."""

from __future__ import annotations

import os
import select
import stat
import time

PATIENCE_S = 5.0        # for a pipe, such as the shell's <(...)
LOOK_S = 0.02


def read_file(path: str, most: int) -> tuple[bytes, os.stat_result]:
    """What is in a file, `most` bytes and one more at most, and how it looks from outside. OSError
    says why it can't be read; ValueError, that a path has a zero byte."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        is_pipe = stat.S_ISFIFO(found.st_mode)
        data = bytearray()
        deadline_s = time.monotonic() + PATIENCE_S
        while len(data) <= most:
            try:
                piece = os.read(fd, most + 1 - len(data))
            except BlockingIOError:
                _wait(fd, deadline_s)
                continue
            data += piece
            if piece:
                continue
            if data or not is_pipe:
                break
            if time.monotonic() >= deadline_s:
                raise OSError(0, f"it is a pipe that nobody wrote to within {PATIENCE_S:g} s")
            time.sleep(LOOK_S)          # (who is to write may only be about to open it)
        return bytes(data), found
    finally:
        os.close(fd)


def _wait(fd: int, deadline_s: float) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    left_s = deadline_s - time.monotonic()
    if left_s <= 0 or not poll.poll(left_s * 1000):
        raise OSError(0, f"it is a pipe whose end didn't come within {PATIENCE_S:g} s")
