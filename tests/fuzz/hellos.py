"""Hellos of TLS clients, and which certificate they may be shown."""

from __future__ import annotations

import random
import struct
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from fastlb._core.tables.certificates import self_signed
from fastlb.compile.certificates import Contexts, listener_spec
from fastlb.config.effective_tls import effective_tls
from fastlb.config.tls import Tls
from tests.core import hellos

NAMES = ("first.test", "own.site.test", "*.site.test", "x.own.site.test", "*.com")
SERVER_NAME = 0


def listed(*names: bytes, kind: int = 0) -> bytes:
    """The extension's own bytes (RFC 6066, 3)."""
    entries = b"".join(struct.pack("!BH", kind, len(name)) + name for name in names)
    return struct.pack("!H", len(entries)) + entries


NAMED = (*map(listed, (
    b"first.test", b"own.site.test", b"OWN.site.TEST", b"any.site.test", b"x.own.site.test",
    b"", b".", b".site.test", b"a.com", b"a.b.com", b"com", b"own.site.test.", b"own.site.test\0",
    b"x" * 255, b"x" * 245 + b".site.test", b"x" * 246 + b".site.test", b"*.site.test",
)), listed(b"first.test", b"own.site.test"), listed(b"own.site.test", kind=1), b"", b"\0\0")


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!HH", kind, len(data)) + data


def hello(named: bytes | None) -> bytes:
    """A record with a client's hello. It has no cipher of ours, which ends the handshake where the
    certificate is chosen."""
    extensions = b"" if named is None else extension(SERVER_NAME, named)
    extensions += extension(43, b"\4\3\4\3\3") + extension(10, b"\0\2\0\x1d")
    extensions += extension(13, b"\0\4\4\3\x08\4") + extension(51, b"\0\0")
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x56\0" + b"\1\0"
    body += struct.pack("!H", len(extensions)) + extensions
    return b"\x16\3\1" + struct.pack("!H", len(body) + 4) + b"\1" + struct.pack(
        "!I", len(body))[1:] + body


@cache
def listener() -> Any:
    """One with a certificate for each of NAMES."""
    with tempfile.TemporaryDirectory() as folder:
        certificates = []
        for i, name in enumerate(NAMES):
            cert, key = self_signed([name], 30)
            (Path(folder) / f"{i}.pem").write_bytes(cert + key)
            certificates.append({"cert": f"{folder}/{i}.pem"})
        tls = Tls.model_validate({"certificates": certificates, "tickets": False})
        contexts = Contexts()
        made = contexts.of(listener_spec("fuzz", effective_tls(tls, "tcp")), "fuzz")
    return made, contexts       # (the tickets' keys live as long)


def wanted(named: bytes | None) -> int:
    """Which certificate the extension asks for; 0, the first one, where it asks for none."""
    if named is None or len(named) < 5:
        return 0
    size, kind, length = struct.unpack_from("!HBH", named)
    name = named[5 : 5 + length].lower()
    if size != len(named) - 2 or kind != 0 or len(name) != length or not 0 < length <= 255:
        return 0
    texts = {text.encode(): i for i, text in enumerate(NAMES)}
    own = texts.get(name)
    if own is not None:
        return own
    first, dot, rest = name.partition(b".")
    return texts.get(b"*." + rest, 0) if first and dot else 0


def server_name(data: bytes, choose: random.Random) -> None:
    if len(data) > 16000:
        return
    assert hellos.choose(listener()[0], hello(data)) == wanted(data), data


def named_in(records: bytes) -> list[bytes]:
    """What could be the extension: everything that stands behind its number and its size."""
    found = []
    at = records.find(b"\0\0")
    while at >= 0:
        size = int.from_bytes(records[at + 2 : at + 4], "big")
        found.append(records[at + 4 : at + 4 + size])
        at = records.find(b"\0\0", at + 1)
    return found


def whole(data: bytes, choose: random.Random) -> None:
    """Nobody is shown a certificate whose name the hello hasn't got somewhere."""
    place = hellos.choose(listener()[0], data)
    assert place == 0 or place in map(wanted, named_in(data)), data


HELLOS = (*map(hello, NAMED), hello(None), hello(listed(b"own.site.test")) * 2)
