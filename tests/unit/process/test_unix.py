"""Unix sockets in the file system: who listens there is found out by connecting."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fastlb.process.unix import UnixFile, listens, open_unix, sweep


def test_a_socket_that_was_renamed_is_listened_on(tmp_path: Path) -> None:
    sock, _ = open_unix(str(tmp_path / "first"), 0o600, 8)
    os.rename(tmp_path / "first", tmp_path / "second")
    assert listens(str(tmp_path / "second")) and not listens(str(tmp_path / "first"))
    sock.close()
    assert not listens(str(tmp_path / "second"))


def test_a_full_queue_is_listened_on(tmp_path: Path) -> None:
    path = str(tmp_path / "full")
    sock, _ = open_unix(path, None, 0)
    clients = []
    for _ in range(4):
        clients.append(socket.socket(socket.AF_UNIX))
        clients[-1].setblocking(False)
        try:
            clients[-1].connect(path)
        except BlockingIOError:
            break
    assert listens(path)
    with pytest.raises(OSError, match="in use"):
        open_unix(path, None, 8)
    for one in (sock, *clients):
        one.close()


def test_a_sweep_removes_what_the_dead_have_left(tmp_path: Path) -> None:
    alive, _ = open_unix(str(tmp_path / "1.sock"), None, 8)
    dead, _ = open_unix(str(tmp_path / "2.sock"), None, 8)
    dead.close()
    sweep(str(tmp_path), iter(["1.sock", "2.sock", "3.sock"]))
    assert [path.name for path in tmp_path.iterdir()] == ["1.sock"]
    alive.close()


def test_a_file_of_somebody_else_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    sock, file = open_unix(str(path), None, 8)
    path.unlink()
    path.write_text("of somebody else")
    file.remove()
    assert path.read_text() == "of somebody else"
    sock.close()
    path.unlink()
    sock, file = open_unix(str(path), 0o640, 8)
    assert path.stat().st_mode & 0o777 == 0o640 and UnixFile.at(str(path)) == file
    file.remove()
    assert not path.exists()
    sock.close()
