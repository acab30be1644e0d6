"""TLS with servers: whom we believe, and what becomes of those whom we don't."""

from __future__ import annotations

import datetime
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from tests.flow.conftest import DEADLINE_S, Site, read_to_end, wait_until
from tests.flow.http.peers import Wire
from tests.flow.tls.peers import GET, Authority, TlsOrigin, answers, serving
from tests.flow.tls.turns import time_passes
from tests.ports import free_port

Make = Callable[..., Site]
NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture
def servers() -> Iterator[Callable[..., TlsOrigin]]:
    made: list[TlsOrigin] = []

    def make(
        leaf: trustme.LeafCert | None = None, serve: Callable[[Any], None] = answers
    ) -> TlsOrigin:
        made.append(TlsOrigin(serve, serving(leaf) if leaf is not None else None))
        return made[-1]

    yield make
    for one in made:
        one.close()


def trusting(authority: Authority, **keys: Any) -> dict[str, Any]:
    # (servers are Python's, and their handshakes may take long)
    return {"tls": {"ca": authority.cert, "server_name": "site.test", **keys},
            "connect_timeout": "10m"}


def ask(made: Site) -> Any:
    wire = Wire(made.connect())
    wire.send(GET)
    got = wire.response()
    wire.close()
    return got


def greets(peer: socket.socket) -> None:
    """Before it is spoken to, as a mail server does."""
    peer.sendall(b"220 mail.test ESMTP\r\n")
    while peer.recv(1000):
        pass


def answers_early(peer: socket.socket) -> None:
    """HTTP, without having been asked."""
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    while peer.recv(1000):
        pass


def refuses(peer: socket.socket) -> None:
    """As an HTTP server does with what is no HTTP."""
    peer.recv(1000)
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def closes(peer: socket.socket) -> None:
    peer.recv(1000)


def stalls(peer: socket.socket) -> None:
    while peer.recv(1000):
        pass


def alerts(peer: socket.socket) -> None:
    peer.recv(1000)
    peer.sendall(b"\x15\3\3\0\2\2\x28")


BAD: dict[str, Callable[[Authority, Callable[..., TlsOrigin]], TlsOrigin]] = {
    "wrong CA": lambda a, make: make(trustme.CA().issue_cert("site.test")),
    "wrong name": lambda a, make: make(a.issue("other.test")),
    "expired": lambda a, make: make(a.issue(
        "site.test", not_before=NOW - datetime.timedelta(days=9),
        not_after=NOW - datetime.timedelta(days=1))),
    "plain http": lambda a, make: make(serve=refuses),
    "greets": lambda a, make: make(serve=greets),
    "answers early": lambda a, make: make(serve=answers_early),
    "closes": lambda a, make: make(serve=closes),
    "alerts": lambda a, make: make(serve=alerts),
}


@pytest.mark.parametrize("bind", ["https://127.0.0.1:0", "tcp://127.0.0.1:0"])
@pytest.mark.parametrize("kind", BAD)
def test_a_server_that_is_not_believed_gets_nothing_and_the_next_one_is_tried(
    secure_site: Make, authority: Authority, servers: Callable[..., TlsOrigin],
    kind: str, bind: str,
) -> None:
    bad = BAD[kind](authority, servers)
    good = servers(authority.issue("site.test"))
    made = secure_site([bad.address, good.address], bind, pool=trusting(authority))
    begin = time.monotonic()
    for _ in range(3):
        got = ask(made)
        assert (got.status, got.body) == (200, b"ok")
    # (it is left out for a second; a machine with much else to do needs longer for three)
    assert 1 <= bad.connections <= 1 + (time.monotonic() - begin)
    totals = made.totals()
    assert totals["server_handshakes"] == good.connections
    assert totals["connect_failures"] == bad.connections
    assert totals["server_handshakes_failed"] == bad.connections


@pytest.mark.parametrize("bind", ["http://127.0.0.1:0", "tcp://127.0.0.1:0"])
def test_a_server_that_stalls_gets_its_time_and_the_next_one_is_tried(
    secure_site: Make, authority: Authority, servers: Callable[..., TlsOrigin], bind: str
) -> None:
    bad, good = servers(serve=stalls), servers(authority.issue("site.test"))
    made = secure_site([bad.address, good.address], bind, pool=trusting(authority))
    for _ in range(3):
        before = bad.connections
        wire = Wire(made.connect())
        wire.send(GET)
        wait_until(lambda: is_answered(wire) or bad.connections > before)  # noqa: B023
        if bad.connections > before:
            time_passes(made, "11m")
        assert wire.response().body == b"ok"
        wire.close()
    assert bad.connections >= 1
    totals = made.totals()
    assert totals["server_handshakes"] == good.connections
    assert totals["connect_failures"] == bad.connections
    assert totals["server_handshakes_failed"] == 0


def is_answered(wire: Wire) -> bool:
    return select.select([wire.sock], [], [], 0)[0] != []


@pytest.mark.parametrize("kind", [*BAD, "stalls"])
def test_where_there_is_no_other_the_client_is_told(
    secure_site: Make, authority: Authority, servers: Callable[..., TlsOrigin], kind: str
) -> None:
    bad = BAD[kind](authority, servers) if kind in BAD else servers(serve=stalls)
    made = secure_site(
        [bad.address], pool={**trusting(authority), "connect_timeout": "1s"})
    got = ask(made)
    assert got.status in (502, 503, 504) and b"evil" not in got.body
    relay = secure_site([bad.address], "tls://127.0.0.1:0",
                        pool={**trusting(authority), "connect_timeout": "1s"})
    client = relay.connect()
    try:
        assert read_to_end(client) == b""
    except ConnectionResetError:
        pass


def test_any_certificate_where_that_is_said(
    secure_site: Make, servers: Callable[..., TlsOrigin]
) -> None:
    server = servers(trustme.CA().issue_cert("other.test"))
    made = secure_site([server.address], pool={"tls": {"verify": False}})
    assert ask(made).body == b"ok"


def test_the_systems_authorities_are_asked_where_none_is_named(
    secure_site: Make, authority: Authority, servers: Callable[..., TlsOrigin],
    monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers(authority.issue("127.0.0.1"))
    assert ask(secure_site([server.address], pool={"tls": True})).status == 503
    monkeypatch.setenv("SSL_CERT_FILE", authority.cert)
    assert ask(secure_site([server.address], pool={"tls": True})).status == 200


def test_names_that_are_asked_for(
    secure_site: Make, authority: Authority, servers: Callable[..., TlsOrigin]
) -> None:
    asked: list[str | None] = []
    server = servers(authority.issue("site.test", "127.0.0.1", "localhost"))
    assert server.context is not None
    server.context.sni_callback = lambda _, name, __: asked.append(name)
    port = server.address.rpartition(":")[2]
    for address, keys in (
        (server.address, {}), (server.address, {"server_name": "site.test"}),
        (f"localhost:{port}", {}), (server.address, {"server_name": "127.0.0.1"}),
    ):
        made = secure_site([address], pool={"tls": {"ca": authority.cert, **keys}})
        assert ask(made).status == 200
    assert asked == [None, "site.test", "localhost", None]
    made = secure_site([server.address], pool={"tls": {
        "ca": authority.cert, "server_name": "127.0.0.2"}})
    assert ask(made).status == 503


def test_our_own_certificate_and_protocols(
    secure_site: Make, authority: Authority, servers: Callable[..., TlsOrigin]
) -> None:
    seen: list[Any] = []

    def serve(peer: Any) -> None:
        seen.append((peer.getpeercert()["subjectAltName"], peer.selected_alpn_protocol(),
                     peer.version()))
        answers(peer)

    server = servers(authority.issue("site.test"), serve)
    assert server.context is not None
    server.context.verify_mode = ssl.CERT_REQUIRED
    server.context.load_verify_locations(authority.cert)
    server.context.set_alpn_protocols(["http/1.1"])
    own = authority.files("client@site.test")
    made = secure_site([server.address], pool=trusting(
        authority, certificate=own, alpn=["x", "http/1.1"], max_version="1.2"))
    assert ask(made).status == 200
    assert seen == [((("email", "client@site.test"),), "http/1.1", "TLSv1.2")]
    bare = secure_site([server.address], pool=trusting(authority, max_version="1.2"))
    assert ask(bare).status == 503


def test_revoked_servers(
    secure_site: Make, authority: Authority, servers: Callable[..., TlsOrigin]
) -> None:
    good, bad = authority.issue("site.test"), authority.issue("site.test")
    crl = authority.revoked(bad, name="servers.pem")
    for leaf, status in ((good, 200), (bad, 503)):
        made = secure_site([servers(leaf).address], pool=trusting(authority, crl=crl))
        assert ask(made).status == status


def test_connections_are_kept_per_way_of_speaking(
    secure_site: Make, authority: Authority, servers: Callable[..., TlsOrigin]
) -> None:
    server = servers(authority.issue("site.test"))
    made = secure_site([server.address], pool=trusting(authority))
    for _ in range(5):
        assert ask(made).status == 200
    assert (server.connections, made.totals()["server_handshakes"]) == (1, 1)


def test_what_tls_says_on_a_connection_that_waits_is_no_data(
    secure_site: Make, authority: Authority
) -> None:
    """Tickets and new keys (RFC 8446, 4.6), with and without a wish for new ones of ours."""
    files = authority.files("site.test")
    port = free_port()
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", files["cert"],
         "-key", files["key"], "-tls1_3", "-num_tickets", "4"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdin is not None and process.stdout is not None
    said = bytearray()

    def read() -> None:
        while piece := process.stdout.read1(65536):  # type: ignore[union-attr]
            said.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()

    def type_(text: bytes) -> None:
        process.stdin.write(text)  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]

    try:
        wait_until(lambda: b"ACCEPT" in said)
        made = secure_site([f"127.0.0.1:{port}"], pool=trusting(authority))
        engine = made.balancer._instance.runtime.engines.all[0]  # type: ignore[union-attr]
        wire = Wire(made.connect())
        for n, command in enumerate((b"K\n", b"k\n", b"K\n", b"")):
            wire.send(GET)
            wait_until(lambda: said.count(b"GET / HTTP/1.1") == n + 1)  # noqa: B023
            type_(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
            assert wire.response().body == b"fine"
            wait_until(lambda: engine.idle == 1)
            turns = engine.turns
            type_(command)
            if command:
                wait_until(lambda: engine.turns > turns)  # noqa: B023
                time.sleep(0.01)
            assert engine.idle == 1
        assert made.totals()["server_handshakes"] == 1
        wire.close()
    finally:
        process.kill()
        process.wait()
        reader.join(DEADLINE_S)
        process.stdin.close()
        process.stdout.close()


def test_a_connection_that_waits_and_is_ended_is_not_used(
    secure_site: Make, authority: Authority, servers: Callable[..., TlsOrigin]
) -> None:
    """By TLS' own end, while the socket stays open."""
    go = threading.Event()

    def serve(peer: Any) -> None:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        go.wait(DEADLINE_S)
        try:
            peer.unwrap()
        except OSError:
            pass

    server = servers(authority.issue("site.test"), serve)
    made = secure_site([server.address], pool=trusting(authority))
    engine = made.balancer._instance.runtime.engines.all[0]  # type: ignore[union-attr]
    assert ask(made).status == 200
    wait_until(lambda: engine.idle == 1)
    go.set()
    wait_until(lambda: engine.idle == 0)
    assert ask(made).status == 200
    assert server.connections == 2


# --- what is said of them ---


def _wait_for(caplog: pytest.LogCaptureFixture, text: str) -> None:
    wait_until(lambda: text in caplog.text, lambda: f"no {text!r} in {caplog.text}")


def test_log_says_why_tls_failed_as_a_check_does(
    site: Make, servers: Callable[..., TlsOrigin], authority: Authority,
    caplog: pytest.LogCaptureFixture
) -> None:
    stranger = trustme.CA().issue_cert("site.test")
    named = authority.ca.issue_cert("other.test")
    for origin, why in (
        (servers(stranger), "its certificate: unable to get local issuer certificate"),
        (servers(named), "its certificate: hostname mismatch"),
        (servers(None, refuses), "no TLS: WRONG_VERSION_NUMBER"),
        (servers(None, lambda peer: peer.recv(1000) and None),
         "it closed in the TLS handshake"),
    ):
        made = site([origin.address], bind="http://127.0.0.1:0",
                    pool={**trusting(authority), "retry": {"attempts": 1}})
        assert ask(made).status >= 502
        _wait_for(caplog, f"can't be connected to ({why})")
