"""Compressed responses: what is compressed, and how it is read."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import zstandard

from tests.flow.http.peers import Message, Wire, answer

TEXT = b"".join(b'{"id": %d, "name": "sensor %d", "on": true},\n' % (i, i % 97)
                for i in range(2000))
ALL = "Accept-Encoding: gzip, br, zstd"


def decode(coding: str, data: bytes) -> bytes:
    """The content that was coded, by another library than the one that coded it; an error where
    the stream isn't whole."""
    if coding == "gzip":
        decoder = zlib.decompressobj(31)
        made = decoder.decompress(data)
        assert decoder.eof and not decoder.unused_data
        return made
    if coding == "br":
        made = brotli.decompress(data)
        assert isinstance(made, bytes)
        return made
    return zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj().decompress(data)


def serves(raw: bytes) -> Callable[[Wire, Message], None]:
    def serve(wire: Wire, request: Message) -> None:
        head, _, _ = raw.partition(b"\r\n\r\n")
        wire.send(head + b"\r\n\r\n" if request.method == "HEAD" else raw)

    return serve


def text(*fields: str, body: bytes = TEXT, status: str = "200 OK") -> bytes:
    return answer(body, status, "Content-Type: application/json", *fields)
