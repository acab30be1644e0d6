"""Fetch a text by HTTP: in a thread, within a time and a size, and only if it has changed.

For lists that a configuration names by their URL. A fetch is rare, so that each has a connection of
its own.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
import zlib
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from fastlb._version import __version__
from fastlb.config.web import check_url, shown_url
from fastlb.control.secured import PARTIAL_CHAIN

REDIRECTS_MAX = 5
REDIRECTS = (301, 302, 303, 307, 308)
PIECE_BYTES = 1 << 16
PACKED_MAX = 2          # a .gz file that its server has coded once more
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Version:
    """How a server calls what it has sent (RFC 9110, 8.8), so that it needn't be sent again."""

    etag: str = ""
    modified: str = ""


@dataclass(frozen=True)
class Fetched:
    data: bytes
    version: Version


async def fetch(
    url: str, ca: bytes, known: Version, bytes_max: int, timeout_s: float,
    places: asyncio.Semaphore,
) -> Fetched | None:
    """Return what is at a URL; None: it is still the `known` version. `ca` are the authorities
    (PEM) that its server's certificate may come from; b"": those of the system. Each fetch takes
    one of the `places`, as it needs a thread. ValueError says why there is no text."""
    one = _Fetch(url, ca, known, bytes_max, timeout_s)
    await places.acquire()
    work = asyncio.ensure_future(asyncio.to_thread(one.run))
    # (a thread that asks a name server can't be ended, and keeps its place for as long)
    work.add_done_callback(lambda _: places.release())
    try:
        await asyncio.wait({work}, timeout=timeout_s)
    finally:
        if not work.done():
            one.cancel()                # (its thread ends soon then, and nobody hears of it)
            work.add_done_callback(lambda done: done.cancelled() or done.exception())
    if not work.done():
        raise ValueError(f"{shown_url(url)}: no answer within {timeout_s:g} s")
    return work.result()


class _Fetch:
    """One fetch, on the thread that calls `run()`. `cancel()` ends it from another one."""

    def __init__(
        self, url: str, ca: bytes, known: Version, bytes_max: int, timeout_s: float
    ) -> None:
        self._url, self._ca, self._known = url, ca, known
        self._bytes_max, self._timeout_s = bytes_max, timeout_s
        self._lock = threading.Lock()
        self._lever: socket.socket | None = None    # a copy of the connection's socket
        self._is_over = False

    def cancel(self) -> None:
        with self._lock:
            self._is_over = True
            if self._lever is not None:
                try:
                    self._lever.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass                # (it has no connection any more)

    def run(self) -> Fetched | None:
        url = self._url
        for _ in range(REDIRECTS_MAX + 1):
            try:
                found = self._ask(url)
            except ssl.SSLCertVerificationError as error:
                raise self._failure(f"its certificate: {error.verify_message}") from None
            except ssl.SSLError as error:
                raise self._failure(f"no TLS: {error.reason or error}") from None
            except http.client.HTTPException as error:
                raise self._failure(f"its answer is no HTTP: {type(error).__name__}") from None
            except (OSError, UnicodeError) as error:
                why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise self._failure(why.lower()) from None
            finally:
                self._hold(None)
            if not isinstance(found, str):
                return found
            url = self._redirected(url, found)
        raise self._failure(f"more than {REDIRECTS_MAX} redirects")

    def _failure(self, why: str) -> ValueError:
        return ValueError(f"{shown_url(self._url)}: {why}")

    def _redirected(self, url: str, to: str) -> str:
        try:
            made = check_url(urljoin(url, to))
        except ValueError:
            raise self._failure("a redirect to no URL") from None
        if url.startswith("https:") and not made.startswith("https:"):
            raise self._failure(f"a redirect from https to {shown_url(made)}")
        return made

    def _hold(self, sock: socket.socket | None) -> None:
        """Keep a copy of a connection's socket for `cancel()`, which has to work within a handshake
        too, while the socket is nobody's."""
        with self._lock:
            if self._lever is not None:
                self._lever.close()
            self._lever = sock.dup() if sock is not None else None
            if self._is_over and sock is not None:
                raise OSError("it has taken too long")

    def _ask(self, url: str) -> Fetched | str | None:
        """Return what one server says: a text, that it hasn't changed, or where to ask instead."""
        parts = urlsplit(url)
        is_secure = parts.scheme == "https"
        connection = _Connection(
            parts.hostname or "", parts.port or (443 if is_secure else 80), is_secure,
            self._timeout_s)
        try:
            connection.connect()
            self._hold(connection.sock)
            if is_secure:
                connection.sock = self._context().wrap_socket(
                    connection.sock, server_hostname=connection.host)
            fields = {"User-Agent": f"fastlb/{__version__}", "Accept": "*/*",
                      "Accept-Encoding": "gzip", "Connection": "close"}
            if self._known.etag:
                fields["If-None-Match"] = self._known.etag
            if self._known.modified:
                fields["If-Modified-Since"] = self._known.modified
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers=fields)
            return self._judge(connection.getresponse())
        finally:
            connection.close()

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self._ca.decode("ascii", "replace") or None)
        if self._ca:
            context.verify_flags |= PARTIAL_CHAIN
        return context

    def _judge(self, answer: http.client.HTTPResponse) -> Fetched | str | None:
        if answer.status == 304 and self._known != Version():
            return None
        if answer.status in REDIRECTS:
            return answer.headers.get("Location", "")
        if answer.status != 200:
            raise self._failure(f"it answered {answer.status}")
        data = bytearray()
        while piece := answer.read1(PIECE_BYTES):
            data += piece
            if len(data) > self._bytes_max:
                raise self._too_large()
        if answer.length:               # (that much was announced besides)
            raise self._failure("its answer ended before its end")
        fields = answer.headers
        return Fetched(self._unpacked(bytes(data)), Version(
            _field(fields.get("ETag")), _field(fields.get("Last-Modified"))))

    def _too_large(self) -> ValueError:
        return self._failure(f"it has more than {self._bytes_max >> 20} MiB")

    def _unpacked(self, data: bytes) -> bytes:
        """Return the content of what is gzipped, be it a file or coded for its way."""
        for _ in range(PACKED_MAX):
            if not data.startswith(GZIP):
                break
            made = bytearray()
            while data:                 # (members that follow each other are one content)
                unpacking = zlib.decompressobj(31)
                try:
                    made += unpacking.decompress(data, self._bytes_max + 1 - len(made))
                except zlib.error:
                    raise self._failure("its gzip is broken") from None
                if len(made) > self._bytes_max:
                    raise self._too_large()
                if not unpacking.eof:
                    raise self._failure("its gzip ended before its end")
                data = unpacking.unused_data
            data = bytes(made)
        return data


def _field(value: str | None) -> str:
    """Return a field's value as it can be sent back; "" for one that can't."""
    return value if value is not None and value.isascii() and value.isprintable() else ""


class _Connection(http.client.HTTPConnection):
    """One connection, on which TLS may begin later: Python's own begins it at once."""

    def __init__(self, host: str, port: int, is_secure: bool, timeout_s: float) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self.default_port = 443 if is_secure else 80    # (which the Host field leaves out)
