"""Files that nobody writes to, or that have no end: nothing waits for them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import fastlb
from fastlb.config import files
from fastlb.config.reader import load, loads
from fastlb.config.tls import File

GOOD = """
[listeners.l]
bind = "tcp://127.0.0.1:0"
pool = "p"
[pools.p]
servers = ["127.0.0.1:1"]
"""


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(files, "PATIENCE_S", 0.05)
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


def test_a_pipe_that_nobody_writes_to_is_an_error(pipe: str) -> None:
    with pytest.raises(fastlb.ConfigError, match="can't be read: it is a pipe that nobody wrote"):
        load(pipe)
    with pytest.raises(fastlb.ConfigError, match="can't be read: it is a pipe that nobody wrote"):
        loads(GOOD.replace("127.0.0.1:1", f"${{file:{pipe}}}"))
    with pytest.raises(ValueError, match="can't be read: it is a pipe that nobody wrote"):
        File.read(pipe)


def test_a_pipe_whose_writer_waits_is_an_error(pipe: str) -> None:
    fd = os.open(pipe, os.O_RDWR)
    os.write(fd, b"threads = 1\n")
    with pytest.raises(fastlb.ConfigError, match="it is a pipe whose end didn't come within"):
        load(pipe)
    os.close(fd)


def test_a_pipe_can_be_a_configuration(pipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE_S", 30.0)
    writer = threading.Thread(target=Path(pipe).write_text, args=(GOOD,))
    writer.start()
    assert list(load(pipe).pools) == ["p"]
    writer.join()


def test_a_device_without_end_is_too_large() -> None:
    with pytest.raises(fastlb.ConfigError, match="larger than"):
        load("/dev/zero")
