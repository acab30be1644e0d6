"""Checks of servers over TLS: as their pool has it, unless they say that they don't."""

from __future__ import annotations

import asyncio
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

import fastlb
from fastlb.compile.snapshot import ServerSpec
from fastlb.config.effective_tls import effective_server_tls
from fastlb.config.health import Health, effective_health
from fastlb.config.tls import ServerTls
from fastlb.control.checks import Report, Visits
from fastlb.control.health import _How
from tests.flow.conftest import DEADLINE_S, wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A TLS server that says one thing to everybody who has shaken hands."""

    def __init__(self, context: ssl.SSLContext, says: bytes) -> None:
        self._context = context
        self._says = says
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.names: list[str | None] = []
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self.clean = 0              # ends with a close_notify
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            peer.settimeout(DEADLINE_S)
            try:
                with self._context.wrap_socket(
                        peer, server_side=True, suppress_ragged_eofs=False) as wrapped:
                    if wrapped.recv(1000):      # (who says nothing has gone, and answers by RST)
                        wrapped.sendall(self._says)
                    while wrapped.recv(1000):
                        pass
                    self.clean += 1
            except OSError:
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Path:
    made = tmp_path_factory.mktemp("checks")
    authority.cert_pem.write_to_path(str(made / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(made / "other.pem"))
    client = authority.issue_cert("client@example.com")
    client.private_key_and_cert_chain_pem.write_to_path(str(made / "client.pem"))
    return made


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(
        says: bytes = OK, wants_client: bool = False, leaf: trustme.LeafCert | None = None
    ) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (leaf or authority.issue_cert("api.test", "127.0.0.1")).configure_cert(context)
        if wants_client:
            context.verify_mode = ssl.CERT_REQUIRED
            authority.configure_trust(context)
        made.append(Server(context, says))
        return made[-1]

    yield make
    for one in made:
        one.close()


def check(server: Server, pool_tls: dict[str, Any], **health: Any) -> str | None:
    """"" if it is well."""
    how = _How("pool", effective_health(Health(**{"timeout": "10m", **health})),
               effective_server_tls(ServerTls(**pool_tls)))
    spec = ServerSpec(f"127.0.0.1:{server.port}", ("127.0.0.1", server.port), 1, 0,
                      tls_name="127.0.0.1")
    assert how.health is not None

    async def ask() -> str | None:
        visits = Visits()
        try:
            return await visits.make(
                spec.address, how.health, spec.name, Report(),  # type: ignore[arg-type]
                how.secure(spec))
        finally:
            visits.close()

    return asyncio.run(ask())


KINDS = [{"http": "/healthz"}, {"expect": "ok", "send": "ping"}, {"tls": True}]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: next(iter(kind)))
def test_a_server_is_checked_as_its_pool_speaks_to_it(
    server: Callable[..., Server], folder: Path, kind: dict[str, Any]
) -> None:
    made = server()
    assert check(made, {"ca": str(folder / "ca.pem")}, **kind) == ""
    assert check(made, {"ca": str(folder / "ca.pem"), "server_name": "api.test"}, **kind) == ""
    assert made.names == [None, "api.test"]
    assert check(made, {"ca": str(folder / "ca.pem"), "server_name": "b.test"}, **kind) == (
        "its certificate: Hostname mismatch, certificate is not valid for 'b.test'.")
    why = check(made, {"ca": str(folder / "other.pem")}, **kind)
    assert why == "its certificate: unable to get local issuer certificate"
    assert check(made, {"verify": False}, **kind) == ""
    if "tls" not in kind:       # (there, what the server says comes when we have gone)
        wait_until(lambda: made.clean == 3)


def test_the_name_that_a_check_of_tls_asks_for_comes_first(
    server: Callable[..., Server], folder: Path
) -> None:
    made = server()
    assert check(made, {"ca": str(folder / "ca.pem"), "server_name": "b.test"},
                 tls=True, host="api.test") == ""
    assert made.names == ["api.test"]


def test_a_server_that_wants_our_certificate_gets_it(
    server: Callable[..., Server], folder: Path
) -> None:
    made = server(wants_client=True)
    trusted = {"ca": str(folder / "ca.pem")}
    own = {"certificate": {"cert": str(folder / "client.pem")}}
    assert check(made, {**trusted, **own}, http="/") == ""
    assert check(made, trusted, http="/")       # (refused, by an alert or at once by a reset)
    assert check(made, {**trusted, **own, "min_version": "1.3"}, http="/") == ""


def test_a_revoked_certificate_is_bad(
    server: Callable[..., Server], folder: Path, authority: trustme.CA
) -> None:
    good, bad = (authority.issue_cert("api.test", "127.0.0.1") for _ in range(2))
    cert = x509.load_pem_x509_certificate(bad.cert_chain_pems[0].bytes())
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    begin, end = issuer.not_valid_before_utc, issuer.not_valid_after_utc
    revoked = x509.RevokedCertificateBuilder(cert.serial_number, begin).build()
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    crl = x509.CertificateRevocationListBuilder(
        issuer.subject, begin, end, [], [revoked]
    ).sign(key, hashes.SHA256())  # type: ignore[arg-type]
    (folder / "crl.pem").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
    tls = {"ca": str(folder / "ca.pem"), "crl": str(folder / "crl.pem")}
    assert check(server(leaf=good), tls, http="/") == ""
    assert check(server(leaf=bad), tls, http="/") == "its certificate: certificate revoked"


def test_checks_may_go_without_tls(server: Callable[..., Server]) -> None:
    plain = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = plain.accept()
        with peer:
            assert peer.recv(1000).startswith(b"GET / ")
            peer.sendall(OK)

    thread = threading.Thread(target=serve)
    thread.start()
    server_ = server()
    server_.port = plain.getsockname()[1]
    assert check(server_, {}, http="/", tls=False) == ""
    thread.join()
    plain.close()
    assert check(server(), {}, tcp=True) == ""


def test_a_pool_over_tls_is_up_when_its_servers_are_trusted(
    server: Callable[..., Server], folder: Path, tmp_path: Path
) -> None:
    made = server()
    ca = tmp_path / "ca.pem"
    ca.write_bytes((folder / "other.pem").read_bytes())
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("api", [f"127.0.0.1:{made.port}"], tls={"ca": str(ca)},
                         health={"http": "/", "interval": "50ms", "timeout": "10m", "fall": 1,
                                 "rise": 1})
    balancer.listen("http://127.0.0.1:0", pool=pool)
    with balancer.background():

        def state() -> str:
            [one] = pool.servers.values()
            return one.state

        wait_until(lambda: state() == "down")
        ca.write_bytes((folder / "ca.pem").read_bytes())        # its file is looked at
        wait_until(lambda: state() == "up")
