"""Where the admin API of this process is: its sockets, and the server on them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from fastlb.config.address import Address
from fastlb.config.admin import EffectiveAdmin
from fastlb.config.places import SUFFIX, usual_folders
from fastlb.errors import BindError
from fastlb.process.sockets import (
    _bind,
    _is_listened_on,
    _remove_stale,
    _resolve,
    explained,
    label,
)

if TYPE_CHECKING:
    from fastlb.admin.server import AdminServer
    from fastlb.balancer import Balancer
    from fastlb.config.effective import Effective
    from fastlb.process.handed import Handed
    from fastlb.process.runtime import Runtime

log = logging.getLogger("fastlb")

BACKLOG = 128
LABEL = "(admin)"       # no listener has such a name


@dataclass
class _Place:
    """One address that is listened on, and a unix socket's file: its device and inode."""

    address: Address
    sock: socket.socket
    file: tuple[int, int] | None = None

    def close(self) -> None:
        self.sock.close()
        if self.file is not None and self.address.path is not None:
            try:
                found = os.stat(self.address.path)
                if (found.st_dev, found.st_ino) == self.file:
                    os.unlink(self.address.path)
            except OSError:
                pass                    # gone already, as wanted
            self.file = None


class AdminPort:
    """Opens, serves and closes what `admin` says, over reloads. `usual` says where it is if a
    configuration says nothing."""

    def __init__(self, balancer: Balancer) -> None:
        self.usual: Callable[[], EffectiveAdmin | None] = lambda: None
        self._balancer = balancer
        self._server: AdminServer | None = None
        self._starting: asyncio.Task[None] | None = None
        self._begun = False
        self._beside = False        # a process that we replace, or that replaces us, is there too
        self._places: dict[Address, _Place] = {}        # by the address that was asked for

    @property
    def url(self) -> str | None:
        """The first address, with its real port; None where there is none."""
        return next((str(place.address) for place in self._places.values()), None)

    def _wanted(self, values: Effective) -> EffectiveAdmin | None:
        return values.admin if _is_given(values) else self.usual()

    async def start(self, runtime: Runtime, values: Effective) -> None:
        """What is configured: open, and serving, so that /readyz can say that we aren't ready.
        Else `usual`: open, and to be served later."""
        self._begun = False
        self._beside = runtime.parent is not None
        runtime.closers.append(self.stop)
        first = runtime.engines.on_fork

        def abandon() -> None:
            if first is not None:
                first()
            self._abandon()

        runtime.engines.on_fork = abandon
        admin = self._wanted(values)
        if admin is None:
            return
        try:
            self._places = self._opened(admin)
        except BindError as error:
            if _is_given(values):
                raise
            log.warning("there is no admin API: %s", error)
            return
        if _is_given(values):
            await self._serve(admin)

    def begin(self, values: Effective) -> None:
        """The balancer serves. If the admin API doesn't yet, let it: what takes long to import
        must not keep clients waiting."""
        self._begun = True
        admin = self._wanted(values)
        if self._server is not None:
            self._server.begin()
        elif self._places and admin is not None:
            self._starting = asyncio.ensure_future(self._serve_late(admin))

    async def served(self) -> None:
        """Wait until it serves, too."""
        if self._starting is not None:
            await asyncio.wait([self._starting])

    async def _serve_late(self, admin: EffectiveAdmin) -> None:
        try:
            await asyncio.to_thread(import_module, "fastlb.admin.server")
            await self._serve(admin)
        except Exception as error:
            log.warning("there is no admin API: %s", error)
            self.close()

    async def _serve(self, admin: EffectiveAdmin) -> None:
        # Not before it is needed: it brings an HTTP server along.
        from fastlb.admin.server import AdminServer

        self._server = AdminServer(self._balancer)
        await self._server.start(admin)
        for place in self._places.values():
            await self._server.listen(place.sock)
        if self._begun:
            self._server.begin()

    @asynccontextmanager
    async def changed(self, values: Effective) -> AsyncIterator[None]:
        """Around a reload: opens what is new before it, and closes what goes after it. If it
        fails, all is as it was."""
        admin = self._wanted(values)
        await self.served()
        new = self._opened(admin, self._places) if admin is not None else {}
        try:
            yield
        except BaseException:
            for place in new.values():
                place.close()
            raise
        wanted = admin.binds if admin is not None else ()
        gone = [place for asked, place in self._places.items() if asked not in wanted]
        self._places = {asked: new.get(asked) or self._places[asked] for asked in wanted}
        if admin is not None and self._server is None:
            await self._serve(admin)
        elif admin is not None and self._server is not None:
            self._server.admit(admin)
            for place in new.values():
                await self._server.listen(place.sock)
        for place in gone:
            if self._server is not None:
                self._server.unlisten(place.sock)
            place.close()

    def _opened(
        self, admin: EffectiveAdmin, known: Container[Address] = ()
    ) -> dict[Address, _Place]:
        """Open every address but those that are known, or none."""
        opened: dict[Address, _Place] = {}
        try:
            for address in admin.binds:
                if address not in known:
                    opened[address] = _open(
                        address, admin.mode, self._balancer._handed, self._beside
                    )
        except BaseException:
            for place in opened.values():
                place.close()
            raise
        return opened

    def leave(self) -> None:
        """The process drains. Who is supervised leaves the address to the one that follows."""
        if self._beside and self._server is not None:
            for place in self._places.values():
                self._server.unlisten(place.sock)

    async def stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
        self.close()

    def close(self) -> None:
        """Without the loop: the sockets, and the files that are still ours."""
        places, self._places = self._places, {}
        for place in places.values():
            place.close()

    def _abandon(self) -> None:
        """In a forked child: the files are the parent's."""
        for place in self._places.values():
            place.file = None
        if self._server is not None:
            self._server.abandon()
        self.close()


def _is_given(values: Effective) -> bool:
    return values.origins["admin"] == "given"


def _open(address: Address, mode: int, handed: Handed | None, beside: bool) -> _Place:
    try:
        where = address.path if address.path is not None else _resolve(address)[1]
        found = handed.take(where, label(LABEL, address)) if handed is not None else []
        for sock in found[1:]:
            sock.close()
        if found:
            place = _Place(address, found[0])
        elif address.path is not None:
            place = _open_unix(address, mode, beside)
        else:
            place = _open_inet(address, beside)
        place.sock.setblocking(False)
        place.sock.listen(BACKLOG)
    except OSError as error:
        raise explained("admin.bind", address, error) from None
    return place


def _open_unix(address: Address, mode: int, beside: bool) -> _Place:
    path = address.path
    assert path is not None
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.mkdir(folder, 0o755)         # /run/fastlb is gone after a restart of the machine
    name = path
    if beside:
        name = f"{path}.{os.getpid()}"  # and then in one step to where another process may be
    else:
        _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(name)
        # Before it listens, so that nobody else gets in between.
        os.chmod(name, mode)
        if beside:
            sock.listen(BACKLOG)
            os.rename(name, path)
        found = os.stat(path)
    except BaseException:
        sock.close()
        raise
    return _Place(address, sock, (found.st_dev, found.st_ino))


def _open_inet(address: Address, beside: bool) -> _Place:
    family, where = _resolve(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _bind(sock, where, share=beside)
    except BaseException:
        sock.close()
        raise
    return _Place(Address("http", where[0], sock.getsockname()[1], None), sock)


def usual_place() -> EffectiveAdmin | None:
    """A unix socket of this process in the first of the usual folders that is ours; None where
    there is none. Sockets that dead processes left there are removed."""
    for folder in usual_folders():
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        except OSError:
            continue
        try:
            if not _is_ours(folder):
                continue
            _sweep(folder)
        except OSError:
            continue
        path = folder / f"{os.getpid()}{SUFFIX}"
        return EffectiveAdmin((Address("http", None, None, str(path)),))
    log.info("there is no admin API: %s can't be used", " or ".join(map(str, usual_folders())))
    return None


def _is_ours(folder: Path) -> bool:
    """Whether no other user can put a socket there."""
    found = os.stat(folder, follow_symlinks=False)
    return (
        stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    )


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"[0-9]*{SUFFIX}"):
        if not _is_listened_on(str(path)):
            path.unlink(missing_ok=True)
