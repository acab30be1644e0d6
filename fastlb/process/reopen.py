"""Listening sockets over a reload: those whose addresses stay are kept, and never bound again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from fastlb.config.address import Address
from fastlb.config.effective import EffectiveListener
from fastlb.process.handed import Handed
from fastlb.process.sockets import Listening, open_one, tune


@dataclass
class SocketSet:
    """The sockets of a configuration: `all` of them, those that are `new`, and of the one before
    those that are `gone`."""

    all: list[Listening] = field(default_factory=list)
    new: list[Listening] = field(default_factory=list)
    gone: list[Listening] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    before: list[Listening] = field(default_factory=list)
    _kept: list[tuple[Listening, EffectiveListener]] = field(default_factory=list)

    def renamed(self) -> list[Listening]:
        """Those that the configuration before didn't have under their labels."""
        known = {one.label for one in self.before}
        return [one for one in self.all if one.label not in known]

    def tune(self) -> None:
        """Set the options of those that are kept, for connections to come."""
        for listening, listener in self._kept:
            for sock in listening.sockets:
                tune(sock, listener)


def reopen(
    listeners: list[EffectiveListener], before: list[Listening], leaving: list[Listening],
    ids: Iterator[int], engines: int,
) -> SocketSet:
    """Open what isn't open yet, and keep what is, also of those that are `leaving` since an earlier
    configuration. BindError: nothing was changed."""
    made = SocketSet(before=before)
    left = [*before, *leaving]
    missing: list[tuple[int, EffectiveListener, Address]] = []
    for listener in listeners:
        for address in listener.binds:
            found = _find(left, listener.name, address)
            if found is None:
                missing.append((len(made.all), listener, address))
            else:
                left.remove(found)
                kept = _kept(found, listener, address, ids)
                made._kept.append((kept, listener))
                made.all.append(kept)
                if not found.shares_port and listener.reuse_port:
                    made.warnings.append(
                        f"listeners.{listener.name}.reuse_port holds from the next start on:"
                        " the socket is bound already"
                    )
    made.gone = [one for one in left if all(one is not other for other in leaving)]
    try:
        # From the end, so that places stay what they are.
        for place, listener, address in reversed(missing):
            beside = _let_in(left, address)
            made.new.append(open_one(listener, address, ids, engines, Handed(), beside))
            made.all.insert(place, made.new[-1])
    except BaseException:
        for one in made.new:
            one.close()
        raise
    return made


def _find(left: list[Listening], listener: str, address: Address) -> Listening | None:
    """One that listens there already; of any free port, one of the same listener."""
    for one in left:
        if one.wanted is not None and _where(one.wanted) == _where(address) and (
                address.port != 0 or one.listener == listener):
            return one
    return None


def _where(address: Address) -> tuple[str | None, int | None, str | None, bool]:
    return address.host, address.port, address.path, address.scheme == "udp"


def _kept(
    found: Listening, listener: EffectiveListener, address: Address, ids: Iterator[int]
) -> Listening:
    assert found.wanted is not None
    # Another protocol is another acceptor, on the same socket.
    id, more = found.id, found.more
    if found.wanted.scheme != address.scheme:
        id, more = next(ids), [(next(ids), row) for _, row in found.more]
    actual = replace(found.address, scheme=address.scheme)
    return replace(found, id=id, more=more, listener=listener.name, address=actual, wanted=address)


def _let_in(gone: list[Listening], address: Address) -> bool:
    """Let a new socket on a port beside ours that go: 0.0.0.0 after 127.0.0.1, say."""
    beside = False
    for one in gone:
        if address.port and one.address.port == address.port and (
                (one.address.scheme == "udp") == (address.scheme == "udp")):
            beside = True
            for sock in one.sockets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return beside
