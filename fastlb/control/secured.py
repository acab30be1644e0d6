"""Checks over TLS: Python's own, as they are made beside the traffic, with what their pool says."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from fastlb.config.effective_tls import EffectiveServerTls
from fastlb.control.wire import PIECE_BYTES, Conversation, Unwell, Wire

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
PARTIAL_CHAIN = 0x80000         # X509_V_FLAG_PARTIAL_CHAIN: whoever is named is trusted


@dataclass(frozen=True)
class Secure:
    """How a check speaks TLS: a context, and the name that is asked for ("": none)."""

    context: ssl.SSLContext
    name: str


class SecureWire(Wire):
    """The same over TLS."""

    def __init__(self, sock: socket.socket, secure: Secure) -> None:
        super().__init__(sock)
        self._said, self._heard = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = secure.context.wrap_bio(
            self._heard, self._said, server_hostname=secure.name or None
        )

    def open(self) -> Conversation:
        while True:
            try:
                self._session.do_handshake()
                break
            except ssl.SSLWantReadError:
                if not (yield from self._hear()):
                    raise Unwell("it closed in the TLS handshake") from None
            except ssl.SSLCertVerificationError as error:
                raise Unwell(f"its certificate: {error.verify_message}") from None
            except ssl.SSLError as error:
                raise Unwell(f"no TLS: {error.reason or error}") from None
        yield from self._flush()

    @property
    def protocol(self) -> str | None:
        return self._session.selected_alpn_protocol()

    def send(self, data: bytes) -> Conversation:
        self._session.write(data)
        yield from self._flush()

    def receive(self) -> Generator[None, None, bytes]:
        while True:
            try:
                return self._session.read(PIECE_BYTES)
            except ssl.SSLWantReadError:
                if not (yield from self._hear()):
                    return b""
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:       # such as that it wants a certificate of ours
                raise Unwell(f"no TLS: {error.reason or error}") from None

    def close(self) -> Conversation:
        # A close_notify, and no reset: the server might not have seen the end of the handshake yet,
        # and would call it a failed one.
        with suppress(ssl.SSLError):
            self._session.unwrap()
        yield from self._flush()

    def _flush(self) -> Conversation:
        yield from super().send(self._said.read())

    def _hear(self) -> Generator[None, None, bool]:
        """Whether anything came."""
        yield from self._flush()
        piece = yield from super().receive()
        self._heard.write(piece)
        return bool(piece)


def anybody(alpn: Sequence[str] = ()) -> ssl.SSLContext:
    """That takes any certificate: whether it speaks TLS, and not who it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def context_of(tls: EffectiveServerTls) -> ssl.SSLContext:
    """As the pool has it. (Of TLS 1.3, and of curves, Python has its own.)"""
    context = anybody(tls.alpn)
    context.minimum_version, context.maximum_version = map(VERSIONS.__getitem__, tls.versions)
    context.set_ciphers(tls.ciphers)
    if tls.verify:
        context.check_hostname = True
        context.verify_mode = ssl.CERT_REQUIRED
        if tls.ca:
            context.verify_flags |= PARTIAL_CHAIN
            with _file(tls.ca) as path:
                context.load_verify_locations(path)
        else:
            context.load_default_certs()
        if tls.crl:
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
            with _file(tls.crl) as path:
                context.load_verify_locations(path)
    if tls.certificate is not None:
        cert, key, password = tls.certificate.pem
        with _file(cert) as cert_path, _file(key) as key_path:
            context.load_cert_chain(cert_path, key_path, password or "")
    return context


@contextmanager
def _file(data: bytes) -> Iterator[str]:
    """A file in memory with what was read when it was checked, as Python wants files."""
    fd = os.memfd_create("fastlb", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
