"""Where the admin API of this process is: its sockets, and the server on them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from fastlb.config.address import Address
from fastlb.config.admin import EffectiveAdmin
from fastlb.config.places import SUFFIX, usual_folders
from fastlb.errors import BindError
from fastlb.process.sockets import bind_one, explained, label, resolved
from fastlb.process.unix import UnixFile, open_unix, sweep

if TYPE_CHECKING:
    from fastlb.admin.server import AdminServer
    from fastlb.config.effective import Effective
    from fastlb.process.handed import Handed
    from fastlb.process.instance import Instance
    from fastlb.process.runtime import Runtime
    from fastlb.process.worker import Parent

log = logging.getLogger("fastlb")

BACKLOG = 128
LABEL = "(admin)"       # no listener has such a name


@dataclass(eq=False)
class _Place:
    """One address that is listened on."""

    address: Address
    sock: socket.socket
    file: UnixFile | None = None        # of a unix socket, ours to remove
    is_handed: bool = False             # a process that we replace may accept here, too
    is_usual: bool = False              # not configured, and named after this process

    def close(self) -> None:
        self.sock.close()
        if self.file is not None:
            self.file.remove()
            self.file = None


class AdminPort:
    """Opens, serves and closes what `admin` says, over reloads. `usual` says where it is besides,
    or if a configuration says nothing."""

    def __init__(self, instance: Instance) -> None:
        self.usual: Callable[[], EffectiveAdmin | None] = lambda: None
        self._instance = instance
        self._server: AdminServer | None = None
        self._starting: asyncio.Task[None] | None = None
        self._begun = False
        self._parent: Parent | None = None      # that holds the configured addresses, too
        self._places: dict[Address, _Place] = {}        # by the address that was asked for

    @property
    def urls(self) -> list[str]:
        """All addresses, with their real ports: the configured ones first."""
        return [str(place.address) for place in self._places.values()]

    @property
    def url(self) -> str | None:
        """The first address; None where there is none."""
        return next(iter(self.urls), None)

    def _wanted(self, values: Effective) -> EffectiveAdmin | None:
        if not _is_given(values):
            return self.usual()
        admin = values.admin
        if admin is None or not admin.default_socket or any(map(_is_found, admin.binds)):
            return admin
        usual = self.usual()
        return replace(admin, binds=(*admin.binds, *usual.binds)) if usual is not None else admin

    async def start(self, runtime: Runtime, values: Effective) -> None:
        """What is configured: open, and serving, so that /readyz can say that we aren't ready.
        Else `usual`: open, and to be served later."""
        self._begun = False
        self._parent = runtime.parent
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
        self._places = self._opened(admin, values)
        if _is_given(values):
            await self._serve(admin)

    def begin(self, values: Effective) -> None:
        """The balancer serves. If the admin API doesn't yet, let it: what takes long to import
        must not keep clients waiting."""
        self._begun = True
        admin = self._wanted(values)
        if self._server is not None:
            self._starting = asyncio.ensure_future(self._begin(self._server))
        elif self._places and admin is not None:
            self._starting = asyncio.ensure_future(self._serve_late(admin))

    async def _begin(self, server: AdminServer) -> None:
        server.begin()
        for place in self._places.values():
            if place.is_handed:
                await server.listen(place.sock)

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

        self._server = AdminServer(self._instance)
        await self._server.start(admin)
        for place in self._places.values():
            if self._begun or not place.is_handed:      # (another process answers there until then)
                await self._server.listen(place.sock)
        if self._begun:
            self._server.begin()

    @asynccontextmanager
    async def changed(self, values: Effective) -> AsyncIterator[None]:
        """Around a reload: opens what is new before it, and closes what goes after it. If it
        fails, all is as it was."""
        admin = self._wanted(values)
        await self.served()
        new = self._opened(admin, values, self._places) if admin is not None else {}
        try:
            yield
        except BaseException:
            for place in new.values():
                place.close()
            raise
        self._hold(new)
        wanted = admin.binds if admin is not None else ()
        gone = {asked: one for asked, one in self._places.items() if asked not in wanted}
        known = {**self._places, **new}
        self._places = {asked: known[asked] for asked in wanted if asked in known}
        if admin is not None and self._server is None:
            await self._serve(admin)
        elif admin is not None and self._server is not None:
            self._server.admit(admin)
            for place in new.values():
                await self._server.listen(place.sock)
        for asked, place in gone.items():
            if self._server is not None:
                self._server.unlisten(place.sock)
            place.close()
            if self._parent is not None:
                self._parent.drop(label(LABEL, asked))

    def _opened(
        self, admin: EffectiveAdmin, values: Effective, known: Container[Address] = ()
    ) -> dict[Address, _Place]:
        """Open every address but those that are known, or none. The usual one may be missing."""
        opened: dict[Address, _Place] = {}
        given = values.admin.binds if values.admin is not None and _is_given(values) else ()
        try:
            for address in admin.binds:
                if address in known:
                    continue
                try:
                    opened[address] = _open(address, admin.mode, self._instance.handed)
                    opened[address].is_usual = address not in given
                except BindError as error:
                    if address in given:
                        raise
                    log.warning("there is no admin API at the usual place: %s", error)
        except BaseException:
            for place in opened.values():
                place.close()
            raise
        return opened

    def hold(self) -> None:
        """A parent that supervises us holds the configured addresses from now on."""
        self._hold(self._places)

    def _hold(self, places: dict[Address, _Place]) -> None:
        if self._parent is None:
            return
        for asked, place in places.items():
            if not place.is_usual:
                self._parent.hold(label(LABEL, asked), [place.sock], place.file)
                place.file = None

    def leave(self) -> None:
        """The process drains. If another one has replaced it, it leaves the addresses to that."""
        if self._parent is None or self._server is None or not self._parent.has_replaced_us:
            return
        for asked, place in list(self._places.items()):
            self._server.unlisten(place.sock)
            if place.is_usual:
                place.close()
                del self._places[asked]

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

    def remove_files(self) -> None:
        """The process ends here and now: of any thread."""
        for place in tuple(self._places.values()):
            if place.file is not None:
                place.file.remove()

    def _abandon(self) -> None:
        """In a forked child: the files are the parent's."""
        for place in self._places.values():
            place.file = None
        if self._server is not None:
            self._server.abandon()
        self.close()


def _is_given(values: Effective) -> bool:
    return values.origins["admin"] == "given"


def _is_found(address: Address) -> bool:
    """Whether it lies where commands look."""
    path = Path(address.path or "/")
    return path.suffix == SUFFIX and path.parent in usual_folders()


def _open(address: Address, mode: int, handed: Handed | None) -> _Place:
    try:
        where = address.path if address.path is not None else resolved(address)[1]
        found = handed.take(where, label(LABEL, address)) if handed is not None else []
        for sock in found[1:]:
            sock.close()
        if found:
            place = _Place(address, found[0], is_handed=True)
        elif address.path is not None:
            folder = os.path.dirname(address.path)
            if not os.path.isdir(folder):
                os.mkdir(folder, 0o755)     # /run/fastlb is gone after a restart of the machine
            place = _Place(address, *open_unix(address.path, mode, BACKLOG))
        else:
            place = _open_inet(address)
        if address.path is None:
            host, port = place.sock.getsockname()[:2]
            place.address = Address("http", host, port, None)
        place.sock.setblocking(False)
        place.sock.listen(BACKLOG)
    except OSError as error:
        raise explained("admin.bind", address, error) from None
    return place


def _open_inet(address: Address) -> _Place:
    family, where = resolved(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        bind_one(sock, where, share=False)
    except BaseException:
        sock.close()
        raise
    return _Place(address, sock)


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
    sweep(str(folder), (path.name for path in folder.glob(f"[0-9]*{SUFFIX}")))
