"""Unix sockets in the file system: who listens there, and who removes their files.

Only connecting tells whether somebody listens. The names in /proc/net/unix are those of one network
namespace, and stay as they were when a file is renamed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ALONE_S = 1.0       # to wait for others in the same folder, who take microseconds
LOOK_S = 0.01


@dataclass(frozen=True)
class UnixFile:
    """The file of a socket that we have bound. Another file at the same path isn't ours."""

    path: str
    device: int
    inode: int

    @classmethod
    def at(cls, path: str) -> UnixFile:
        found = os.stat(path)
        return cls(path, found.st_dev, found.st_ino)

    def remove(self) -> None:
        """Remove it, if it is still there."""
        try:
            if UnixFile.at(self.path) == self:
                os.unlink(self.path)
        except OSError:
            pass                # somebody was faster: the file is gone, as wanted


def listens(path: str) -> bool:
    """Whether a process listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True         # its queue is full, it is of another kind, or not ours to ask
    return True


@contextmanager
def alone(folder: str) -> Iterator[None]:
    """Keep other processes of fastlb from looking at sockets of a folder, and from opening them:
    one that is bound and doesn't listen yet looks like one that a dead process has left."""
    try:
        fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield                   # to bind there will say what is wrong
        return
    try:
        deadline_s = time.monotonic() + ALONE_S
        while time.monotonic() < deadline_s:        # (anybody may lock a folder for long)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno != errno.EWOULDBLOCK:
                    break                           # a file system that can't
            time.sleep(LOOK_S)
        yield
    finally:
        os.close(fd)


def open_unix(path: str, mode: int | None, backlog: int) -> tuple[socket.socket, UnixFile]:
    """Listen at a path, where a dead process may have left its file. OSError if somebody listens
    there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with alone(os.path.dirname(path)):
            _remove_stale(path)
            sock.bind(path)
            # Before it listens, so that nobody else gets in between.
            if mode is not None:
                os.chmod(path, mode)
            sock.listen(backlog)
            return sock, UnixFile.at(path)
    except BaseException:
        sock.close()
        raise


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "a file that is not a socket is there")
    except FileNotFoundError:
        return
    if listens(path):
        raise OSError(errno.EADDRINUSE, "in use")
    os.unlink(path)


def sweep(folder: str, names: Iterator[str]) -> None:
    """Remove the sockets of these names that dead processes have left."""
    with alone(folder):
        for name in names:
            path = os.path.join(folder, name)
            if not listens(path):
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
