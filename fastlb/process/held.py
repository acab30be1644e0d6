"""The listening sockets that the parent of a supervised process holds while workers come and go."""

from __future__ import annotations

import socket
from collections.abc import Container, Iterator

from fastlb.process.unix import UnixFile


class Held:
    """Sockets by label, which says what they were opened for, and the files of unix sockets."""

    def __init__(self) -> None:
        self._sockets: dict[str, list[socket.socket]] = {}
        self._files: dict[str, UnixFile] = {}       # ours to remove, by path

    def __iter__(self) -> Iterator[tuple[str, list[socket.socket]]]:
        return iter(tuple(self._sockets.items()))

    def add(self, label: str, sockets: list[socket.socket], file: UnixFile | None = None) -> None:
        """Hold these in place of what is held under the label."""
        old, self._sockets[label] = self._sockets.get(label, []), sockets
        if file is not None:
            self._files[file.path] = file
        for sock in old:                            # (the new ones are of the same sockets)
            sock.close()

    def drop(self, label: str) -> None:
        """Hold it no longer; a file that no other label needs goes with it."""
        gone = self._sockets.pop(label, [])
        names = {sock.getsockname() for sock in gone}
        for sock in gone:
            sock.close()
        left = {sock.getsockname() for socks in self._sockets.values() for sock in socks}
        for name in (names - left) & self._files.keys():
            self._files.pop(name).remove()

    def keep(self, labels: Container[str]) -> None:
        """Drop all others."""
        for label in tuple(self._sockets):
            if label not in labels:
                self.drop(label)

    def end(self) -> None:
        self.keep(())
        for file in self._files.values():
            file.remove()
        self._files.clear()
