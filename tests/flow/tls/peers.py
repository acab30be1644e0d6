"""Certificates of an authority of our own, clients that shake hands, and servers."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests import ports
from tests.flow.conftest import DEADLINE_S, Site

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n"


class Authority:
    def __init__(self, ca: trustme.CA, folder: Path) -> None:
        self.ca = ca
        self.folder = folder
        self.cert = str(folder / "ca.pem")
        self._n = 0
        ca.cert_pem.write_to_path(self.cert)

    def issue(self, *names: str, **keys: Any) -> trustme.LeafCert:
        return self.ca.issue_cert(*names, **keys)

    def files(self, *names: str, **keys: Any) -> dict[str, str]:
        """{"cert": ..., "key": ...} of a new certificate."""
        leaf = self.issue(*names, **keys)
        self._n += 1
        cert, key = (str(self.folder / f"{self._n}.{end}") for end in ("pem", "key"))
        Path(cert).write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        Path(key).write_bytes(leaf.private_key_pem.bytes())
        return {"cert": cert, "key": key}

    def trusting(
        self, *, offers: list[str] | None = None, leaf: trustme.LeafCert | None = None,
        versions: str = "1.2 1.3", ciphers: str = "",
    ) -> ssl.SSLContext:
        """Of a client."""
        made = ssl.create_default_context(cafile=self.cert)
        if offers:
            made.set_alpn_protocols(offers)
        if leaf is not None:
            leaf.configure_cert(made)
        if versions == "1.2":
            made.maximum_version = ssl.TLSVersion.TLSv1_2
        elif versions == "1.3":
            made.minimum_version = ssl.TLSVersion.TLSv1_3
        if ciphers:
            made.set_ciphers(ciphers)
        return made

    def named(self, attributes: list[tuple[x509.ObjectIdentifier, str]]) -> str:
        """A file with a client's certificate of this subject, and its key."""
        issuer = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        signer: Any = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        key = ec.generate_private_key(ec.SECP256R1())
        # (what is longer than it may be isn't ours to judge)
        subject = x509.Name([
            x509.NameAttribute(oid, value, _validate=False) for oid, value in attributes])
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        cert = x509.CertificateBuilder(
            issuer.subject, subject, key.public_key(), x509.random_serial_number(), now - day,
            now + day).sign(signer, hashes.SHA256())
        self._n += 1
        path = self.folder / f"{self._n}.client.pem"
        path.write_bytes(
            cert.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption()))
        return str(path)

    def revoked(self, *leaves: trustme.LeafCert, name: str = "crl.pem", days: int = 30) -> str:
        """A file with a list of these."""
        issuer = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        key: Any = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        now = datetime.datetime.now(datetime.timezone.utc)
        begin = now - datetime.timedelta(days=60)
        made = x509.CertificateRevocationListBuilder(
            issuer.subject, begin, now + datetime.timedelta(days=days))
        for leaf in leaves:
            cert = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
            made = made.add_revoked_certificate(
                x509.RevokedCertificateBuilder(cert.serial_number, begin).build())
        path = self.folder / name
        path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return str(path)


def serial(cert: bytes) -> int:
    """Of one in DER."""
    return x509.load_der_x509_certificate(cert).serial_number


def serial_of(files: dict[str, str]) -> int:
    return x509.load_pem_x509_certificate(Path(files["cert"]).read_bytes()).serial_number


def shake(
    site: Site, context: ssl.SSLContext, name: str | None = "site.test",
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """A client that has shaken hands, by Python's own."""
    sock = socket.create_connection(("127.0.0.1", site.listener.port), DEADLINE_S)
    try:
        made = context.wrap_socket(sock, server_hostname=name, session=session)
    except BaseException:
        sock.close()
        raise
    site.clients.append(made)
    return made


def ask(
    site: Site, context: ssl.SSLContext, name: str | None = "site.test",
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """The same, and it has got an answer: of TLS 1.3, it has a ticket then, or was refused."""
    made = shake(site, context, name, session)
    made.sendall(GET)
    got = b""
    while not got.endswith(b"ok"):
        piece = made.recv(1000)
        if not piece:
            raise ConnectionResetError("no answer")
        got += piece
    return made


class TlsOrigin:
    """A server that calls `serve` with each connection, in a thread of its own; what it speaks, and
    whether at all, is the test's."""

    def __init__(
        self, serve: Callable[[socket.socket], None], context: ssl.SSLContext | None = None
    ) -> None:
        self.context = context
        self.connections = 0
        self.failures: list[str] = []
        self._serve = serve
        self._listener = ports.server()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            peer.settimeout(DEADLINE_S)
            self.connections += 1
            threading.Thread(target=self._run, args=(peer,), daemon=True).start()

    def _run(self, peer: socket.socket) -> None:
        try:
            if self.context is not None:
                peer = self.context.wrap_socket(
                    peer, server_side=True, suppress_ragged_eofs=False)
            self._serve(peer)
        except OSError as error:
            self.failures.append(str(error))
        finally:
            peer.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def serving(leaf: trustme.LeafCert) -> ssl.SSLContext:
    """Of a server."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(made)
    return made


def answers(peer: socket.socket) -> None:
    """Every request, until the client has gone."""
    ahead = b""
    while piece := peer.recv(65536):
        ahead += piece
        while b"\r\n\r\n" in ahead:
            ahead = ahead.partition(b"\r\n\r\n")[2]
            peer.sendall(OK)


@pytest.fixture
def origin() -> Iterator[TlsOrigin]:
    made = TlsOrigin(answers)
    yield made
    made.close()
