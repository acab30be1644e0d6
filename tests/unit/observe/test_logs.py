"""Log lines on their way to stderr: nobody waits for who reads."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import select
from collections.abc import Iterator

import pytest

from fastlb.observe import logs


class Pipe:
    """A logger, and the pipe that its lines go to."""

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()
        self.handler = logs.Lines(self.writes)
        self.logger = logging.Logger("fastlb.test")
        self.logger.addHandler(self.handler)

    def line(self, wanted: str) -> list[str]:
        """The lines up to one that fits."""
        data = b""
        while not re.search(wanted, data.decode()):
            assert select.select([self.reads], [], [], 30)[0], data[-1000:]
            data += os.read(self.reads, 1 << 16)
        return data.decode().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.reads)                # (its thread ends a write with EPIPE)
    made.handler.flush()
    os.close(made.writes)


def test_lines_that_nobody_reads_are_dropped_and_counted(pipe: Pipe) -> None:
    # It is full from the first line on: nothing is written before all is said.
    os.write(pipe.writes, b"\n" * fcntl.fcntl(pipe.writes, fcntl.F_GETPIPE_SZ))
    for i in range(logs.LINES_MAX * 2):
        pipe.logger.info("line %d", i)
    dropped = pipe.handler.dropped
    assert dropped == logs.LINES_MAX
    lines = pipe.line("were dropped: [0-9]+\n")
    kept = [int(line.split()[1]) for line in lines if line.startswith("line ")]
    assert kept == list(range(len(kept))) and len(kept) == logs.LINES_MAX * 2 - dropped
    assert lines[-1].endswith(f"and that were dropped: {dropped}")
    pipe.logger.info("line again")
    assert pipe.line("again\n") == ["line again"]


def test_a_line_that_can_not_be_shown_is_told(pipe: Pipe) -> None:
    pipe.logger.info("%d", "no number")
    assert "'%d' can't be shown: TypeError" in pipe.line("\n")[0]


def test_a_forked_child_writes_its_lines_at_once(pipe: Pipe) -> None:
    pipe.logger.info("parent")
    pipe.line("parent\n")
    pid = os.fork()
    if pid == 0:
        pipe.logger.info("child")
        os._exit(0)
    os.waitpid(pid, 0)
    assert pipe.line("child\n") == ["child"]


def test_json_is_an_object_a_line() -> None:
    formatter = logs.JsonFormatter()
    try:
        raise ValueError("why")
    except ValueError as error:
        record = logging.LogRecord(
            "fastlb", logging.ERROR, "", 0, "a\n%s", ("b",), (ValueError, error, None))
    entry = json.loads(formatter.format(record))
    assert (entry["message"], entry["level"]) == ("a\nb", "error")
    assert "ValueError: why" in entry["exception"]
