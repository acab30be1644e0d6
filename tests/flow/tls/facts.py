"""What servers and tests see of what TLS knows of a client."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.x509.oid import NameOID

from tests.flow.tls.peers import Authority, TlsOrigin

TOLD = {
    "x-sni": "{tls.sni}", "x-version": "{tls.version}", "x-subject": "{tls.client_subject}",
    "x-print": "{tls.client_fingerprint}",
}
TELL = [{"name": "tell", "pool": "pool", "request_headers": {"set": TOLD}}]
NAME = [(NameOID.ORGANIZATION_NAME, "Example, Inc."), (NameOID.COMMON_NAME, "gateway")]
SUBJECT = r"CN=gateway,O=Example\, Inc."


def echo(peer: socket.socket) -> None:
    """Answers each request with its head."""
    ahead = b""
    while piece := peer.recv(65536):
        ahead += piece
        while b"\r\n\r\n" in ahead:
            head, _, ahead = ahead.partition(b"\r\n\r\n")
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(head), head))


def get(client: ssl.SSLSocket, *fields: str) -> tuple[int, dict[str, str]]:
    """The status, and the fields that the origin has got."""
    lines = ["GET / HTTP/1.1", "Host: site.test", *fields, "", ""]
    client.sendall("\r\n".join(lines).encode())
    got = b""
    while b"\r\n\r\n" not in got:
        got += client.recv(65536) or pytest.fail("no answer")
    head, _, body = got.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: ([0-9]+)", head)
    assert found is not None
    while len(body) < int(found[1]):
        body += client.recv(65536)
    pairs = [line.partition(": ")[::2] for line in body.decode("latin-1").split("\r\n")[1:]]
    assert len({name for name, _ in pairs}) == len(pairs)
    told = {name.lower(): value for name, value in pairs}
    assert not any("_" in name for name in told)
    return int(head.split()[1]), {name: told[name] for name in TOLD if name in told}


def wants(authority: Authority, auth: str = "optional") -> dict[str, Any]:
    return {"client_auth": auth, "client_ca": authority.cert}


def context(authority: Authority, path: str | None = None, **keys: Any) -> ssl.SSLContext:
    made = authority.trusting(**keys)
    if path is not None:
        made.load_cert_chain(path)
    return made


def printed(path: str) -> str:
    with open(path) as file:
        pem = file.read().partition("-----END CERTIFICATE-----")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[0] + pem[1])).hexdigest()


@pytest.fixture
def origin() -> Iterator[TlsOrigin]:
    made = TlsOrigin(echo)
    yield made
    made.close()


@pytest.fixture(params=["1.2", "1.3"])
def versions(request: pytest.FixtureRequest) -> str:
    version: str = request.param
    return version
