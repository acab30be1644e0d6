"""Certificates with their keys in files, and clients that look at what they are shown."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from pathlib import Path

from fastlb._core.tables.certificates import self_signed
from tests.flow.conftest import DEADLINE_S


class Pair:
    """A certificate of localhost and its key, that can be replaced."""

    def __init__(self, folder: Path, name: str = "web") -> None:
        self.cert = folder / f"{name}.pem"
        self.key = folder / f"{name}.key"
        self.replace()

    @property
    def tls(self) -> dict[str, object]:
        return {"certificates": [{"cert": str(self.cert), "key": str(self.key)}]}

    def new(self, days: int = 90) -> tuple[bytes, bytes, str]:
        """A certificate, its key and its fingerprint."""
        cert, key = self_signed(["localhost", "127.0.0.1"], days)
        return cert, key, hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.decode())).hexdigest()

    def replace(self, days: int = 90) -> str:
        """Each by a rename; returns the new fingerprint."""
        cert, key, print_ = self.new(days)
        put(self.cert, cert)
        put(self.key, key)
        return print_


def put(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.rename(new, path)


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE


def connect(
    port: int, context: ssl.SSLContext = CONTEXT, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
    return context.wrap_socket(sock, server_hostname="localhost", session=session)


def fingerprint(port: int) -> str:
    """Of what is shown now."""
    with connect(port) as wrapped:
        cert = wrapped.getpeercert(binary_form=True)
        assert cert is not None
        return hashlib.sha256(cert).hexdigest()
