"""What TLS knows of a client: to routes and header fields."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.x509.oid import NameOID

import fastlb
from tests.flow.conftest import Site
from tests.flow.tls.peers import Authority, TlsOrigin, shake

Make = Callable[..., Site]

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


@pytest.fixture
def origin() -> Iterator[TlsOrigin]:
    made = TlsOrigin(echo)
    yield made
    made.close()


@pytest.fixture(params=["1.2", "1.3"])
def versions(request: pytest.FixtureRequest) -> str:
    version: str = request.param
    return version


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


def test_servers_are_told(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address], tls=wants(authority), routes=TELL)
    path = authority.named(NAME)
    client = shake(made, context(authority, path, versions=versions), "SITE.test")
    _, first = get(client, "X-Subject: CN=admin", "x_print: 00", "X-SNI: other.test")
    assert first["x-sni"] == "site.test"
    assert first["x-version"] == f"TLSv{versions}"
    assert first["x-subject"] == SUBJECT
    assert first["x-print"] == printed(path)
    assert get(client)[1] == first                          # (and on the same connection)
    _, nobody = get(shake(made, context(authority, versions=versions)),
                    "X-Subject: CN=admin", "X-Print: 00")
    assert (nobody["x-subject"], nobody["x-print"]) == ("", "")
    assert nobody["x-sni"] == "site.test"


def test_who_names_nobody_has_no_name(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address], routes=TELL)
    nameless = context(authority, versions=versions)
    nameless.check_hostname = False
    _, told = get(shake(made, nameless, None))
    assert (told["x-sni"], told["x-version"]) == ("", f"TLSv{versions}")


def test_what_a_session_that_goes_on_is_told_by(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address], tls=wants(authority), routes=TELL)
    for path in (authority.named(NAME), None):
        known = context(authority, path, versions=versions)
        with shake(made, known) as client:
            _, first = get(client)
            session = client.session
        for _ in range(3):
            with shake(made, known, session=session) as client:
                assert get(client)[1] == first
                assert client.session_reused
                session = client.session


def test_a_certificate_that_nobody_asked_for_is_nobodys(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address], routes=TELL)
    path = authority.named(NAME)
    _, told = get(shake(made, context(authority, path, versions=versions)))
    assert (told["x-subject"], told["x-print"]) == ("", "")


@pytest.mark.parametrize(("name", "written"), [
    ("a\r\nX-Admin: 1", r"CN=a\0D\0AX-Admin: 1"),
    ("a\0b", r"CN=a\00b"),
    ("\x7f\x1b[31m", None),
    ("Zoë", r"CN=Zo\C3\AB"),
    (" a,b+c\"d\\e<f>g;h ", r"CN=\ a\,b\+c\"d\\e\<f\>g\;h\ "),
    ("#a=b", r"CN=\#a=b"),
    ("x" * 64, "CN=" + "x" * 64),
])
def test_odd_names_are_escaped(
    secure_site: Make, authority: Authority, origin: TlsOrigin, name: str, written: str | None
) -> None:
    made = secure_site([origin.address], tls=wants(authority), routes=TELL)
    path = authority.named([(NameOID.COMMON_NAME, name)])
    _, told = get(shake(made, context(authority, path)))
    assert "x-admin" not in told
    assert told["x-print"] == printed(path)
    if written is not None:
        assert told["x-subject"] == written
    assert told["x-subject"].isascii() and told["x-subject"].isprintable()


def test_a_name_without_end_is_none(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    made = secure_site([origin.address], tls=wants(authority), routes=TELL)
    path = authority.named([(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 64)] * 70)
    _, told = get(shake(made, context(authority, path)))
    assert told["x-subject"] == ""
    assert told["x-print"] == printed(path)


# What is asked for, and who gets through: the one of NAME by that name, nobody, another one.
CASES: list[tuple[dict[str, Any], tuple[bool, bool, bool]]] = [
    ({"client_subject": SUBJECT}, (True, False, False)),
    ({"client_subject": {"prefix": "CN=gateway,"}}, (True, False, False)),
    ({"client_subject": {"suffix": "Inc."}}, (True, False, True)),
    ({"client_subject": {"contains": "gate"}}, (True, False, False)),
    ({"client_subject": {"regex": "^CN=[a-z]+,O="}}, (True, False, True)),
    ({"client_subject": [r"CN=other,O=Example\, Inc.", SUBJECT]}, (True, False, True)),
    ({"client_subject": True}, (True, False, True)),
    ({"client_subject": False}, (False, True, False)),
    ({"client_fingerprint": True}, (True, False, True)),
    ({"sni": "Site.Test"}, (True, True, True)),
    ({"sni": ["other.test", "site.test"]}, (True, True, True)),
    ({"sni": "other.test"}, (False, False, False)),
    ({"sni": {"suffix": ".test"}, "client_subject": SUBJECT}, (True, False, False)),
    ({"version": "TLSv1.3"}, (True, True, True)),
    ({"version": "TLSv1.2"}, (False, False, False)),
]


@pytest.mark.parametrize(("match", "expected"), CASES)
def test_routes(
    secure_site: Make, authority: Authority, origin: TlsOrigin, match: dict[str, Any],
    expected: tuple[bool, bool, bool],
) -> None:
    routes = [
        {"name": "in", "match": {"tls": match}, "pool": "pool"},
        # (of several facts, none may hold)
        {"name": "out", "match": {"not": {"tls": match} if len(match) == 1 else {}},
         "respond": {"status": 403}},
    ]
    made = secure_site([origin.address], tls=wants(authority), routes=routes)
    other = [(NameOID.ORGANIZATION_NAME, "Example, Inc."), (NameOID.COMMON_NAME, "other")]
    for path, passes in zip(
        (authority.named(NAME), None, authority.named(other)), expected, strict=True
    ):
        status, _ = get(shake(made, context(authority, path)))
        assert status == (200 if passes else 403)


def test_routes_by_fingerprint(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    paths = [authority.named(NAME) for _ in range(3)]
    prints = [printed(paths[0]), ":".join(re.findall("..", printed(paths[1]).upper()))]
    routes = [
        {"name": "in", "match": {"tls": {"client_fingerprint": prints}}, "pool": "pool"},
        {"name": "out", "respond": {"status": 403}},
    ]
    made = secure_site([origin.address], tls=wants(authority), routes=routes)
    statuses = [get(shake(made, context(authority, path)))[0] for path in paths]
    assert statuses == [200, 200, 403]


def test_who_is_let_in_by_another_authoritys_word_is_nobody(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    """Not even where a certificate is only optional."""
    made = secure_site([origin.address], tls=wants(authority), routes=TELL)
    leaf = trustme.CA().issue_cert("client@site.test")
    with pytest.raises(ssl.SSLError):
        get(shake(made, context(authority, leaf=leaf, versions=versions)))


def test_answers_and_redirects_have_variables_too(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    routes: list[dict[str, Any]] = [
        {"name": "told", "match": {"path": "/"}, "pool": "pool",
         "response_headers": {"set": {"x-was": "{tls.version} {tls.sni}"}}},
        {"name": "away", "match": {"path": "/away"}, "redirect": "https://{tls.sni}/there"},
        {"name": "path", "match": {"path": "/p"}, "pool": "pool",
         "rewrite": {"path": "/of/{tls.client_subject}/"}},
    ]
    made = secure_site([origin.address], tls=wants(authority), routes=routes)
    path = authority.named([(NameOID.COMMON_NAME, "a/b?c")])
    client = shake(made, context(authority, path))

    def head(path: str) -> bytes:
        client.sendall(b"GET %s HTTP/1.1\r\nHost: site.test\r\n\r\n" % path.encode())
        got = b""
        while b"\r\n\r\n" not in got:
            got += client.recv(65536)
        return got

    assert b"\r\nx-was: TLSv1.3 site.test\r\n" in head("/")
    assert b"\r\nlocation: https://site.test/there\r\n" in head("/away").lower()
    assert b"GET /of/CN%3Da%2Fb%3Fc/ HTTP/1.1" in head("/p")


def test_policies(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    """On both sides, and longer than the connection."""
    kept: list[fastlb.Request] = []

    def here(request: fastlb.Request) -> fastlb.Forward:
        kept.append(request)
        return fastlb.Forward(headers={"x-subject": request.tls.client_subject}  # type: ignore
                              )

    async def there(request: fastlb.Request) -> fastlb.Forward:
        return here(request)

    for policy in (here, there):
        made = secure_site([origin.address], tls=wants(authority), routes=[
            {"name": "asked", "policy": policy}])
        path = authority.named(NAME)
        client = shake(made, context(authority, path, versions=versions))
        assert get(client)[1] == get(client)[1] == {"x-subject": SUBJECT}
        client.close()
        made.wait_idle()
        tls = kept[-1].tls
        assert tls == kept[-2].tls == fastlb.Tls(
            "site.test", f"TLSv{versions}", SUBJECT, printed(path))
        with pytest.raises(AttributeError):
            tls.sni = "other.test"      # type: ignore
        nobody = shake(made, context(authority, versions=versions))
        assert get(nobody)[1] == {"x-subject": ""}
    made = secure_site([origin.address], bind="http://127.0.0.1:0", routes=[
        {"name": "asked", "policy": lambda request: kept.append(request)}])
    with socket.create_connection(("127.0.0.1", made.listener.port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert plain.recv(1000)
    assert kept[-1].tls is None


def test_policies_of_tcp(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    kept: list[fastlb.Connection] = []
    for where in ("here", "there"):
        async def there(connection: fastlb.Connection) -> None:
            kept.append(connection)

        made = secure_site(
            [origin.address], bind="tls://127.0.0.1:0", tls=wants(authority),
            policy=there if where == "there" else kept.append)
        path = authority.named(NAME)
        get(shake(made, context(authority, path)))
        assert kept[-1].tls == fastlb.Tls("site.test", "TLSv1.3", SUBJECT, printed(path))


@pytest.mark.parametrize("bind", ["https://127.0.0.1:0", "tls://127.0.0.1:0"])
@pytest.mark.parametrize("key", ["sni", "client_subject", "client_fingerprint"])
def test_keys(secure_site: Make, authority: Authority, bind: str, key: str) -> None:
    """A key has one server, whatever its connections come from; others have others."""
    origins = [TlsOrigin(echo) for _ in range(8)]
    names = [f"{n}.test" for n in range(12)]
    made = secure_site(
        [origin.address for origin in origins], bind=bind,
        tls={**wants(authority), "certificates": [authority.files(*names)]},
        pool={"balance": "maglev", "hash_on": f"tls.{key}"})
    used = set()
    for name in names:
        path = authority.named([(NameOID.COMMON_NAME, name)])
        before = [origin.connections for origin in origins]
        for _ in range(3):
            client = shake(made, context(authority, path), name)
            get(client)
            client.close()
            made.wait_idle()
        new = [after.connections - n for after, n in zip(origins, before, strict=True)]
        assert sum(map(bool, new)) <= 1
        used |= {n for n, count in enumerate(new) if count}
    assert len(used) > 2
    for origin in origins:
        origin.close()


@pytest.mark.parametrize("bind", ["https://127.0.0.1:0", "tls://127.0.0.1:0"])
def test_records(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str, bind: str
) -> None:
    made = secure_site([origin.address], bind=bind, tls=wants(authority))
    path = authority.named(NAME)
    with made.balancer.records() as records:
        for cert in (path, None):
            client = shake(made, context(authority, cert, versions=versions))
            get(client)
            client.close()
        made.wait_idle()
        found = records.take()
        told = [(record.tls_sni, record.tls_version, record.tls_client_subject,
                 record.tls_client_fingerprint) for record in found]
    version = f"TLSv{versions}"
    assert told == [
        ("site.test", version, SUBJECT, printed(path)), ("site.test", version, "", "")]


@pytest.mark.parametrize(("format", "line"), [
    ("{status} {tls_version} {tls_sni} {tls_client_subject}",
     r"200 TLSv1.3 site.test CN=\x5c\x22a\x5c\x22\x5c, b"),
    ("json", r'{"tls_client_subject":"CN=\\\"a\\\"\\, b","tls_sni":"site.test"}'),
    ("common", None),
])
def test_the_log(
    authority: Authority, origin: TlsOrigin, tmp_path: Path, format: str, line: str | None
) -> None:
    log = tmp_path / "access.log"
    balancer = fastlb.Balancer(threads=1, access_log={
        "path": str(log), "format": format,
        **({"fields": ["tls_client_subject", "tls_sni"]} if format == "json" else {})})
    pool = balancer.pool("pool", [origin.address])
    listener = balancer.listen("https://127.0.0.1:0", name="web", pool=pool, tls={
        "certificates": [authority.files("site.test")], **wants(authority)})
    site = Site(balancer, listener)
    with balancer.background():
        path = authority.named([(NameOID.COMMON_NAME, '"a", b')])
        get(shake(site, context(authority, path)))
        for client in site.clients:
            client.close()
        site.wait_idle()
    lines = log.read_text().splitlines()
    assert len(lines) == 1
    assert line is None or lines == [line]


def test_who_proves_nothing_is_nobody_in_records(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    """It shows somebody's certificate without having the key, or breaks off."""
    made = secure_site([origin.address], bind="tls://127.0.0.1:0", tls=wants(authority))
    with made.balancer.records() as records:
        leaf = trustme.CA().issue_cert("client@site.test")
        with pytest.raises(ssl.SSLError):
            get(shake(made, context(authority, leaf=leaf)))
        made.wait_idle()
        found = records.take()
    assert [(record.reason, record.tls_sni, record.tls_client_subject,
             record.tls_client_fingerprint) for record in found] == [
        ("handshake_failed", "site.test", "", "")]


def test_decisions_are_kept_by_who_the_client_is(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    asked: list[str] = []

    def policy(request: fastlb.Request) -> str:
        asked.append(request.tls.client_subject)  # type: ignore
        return "pool"

    made = secure_site([origin.address], tls=wants(authority), routes=[
        {"name": "asked", "policy": {
            "call": policy, "cache_on": "tls.client_fingerprint", "cache_ttl": "1h"}}])
    paths = [authority.named([(NameOID.COMMON_NAME, name)]) for name in ("a", "b")]
    for path in (*paths, *paths, None, None):
        get(shake(made, context(authority, path)))
    assert asked == ["CN=a", "CN=b", "", ""]


def test_one_without_tls_has_none(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    made = secure_site([origin.address], bind="http://127.0.0.1:0", routes=[
        {"name": "in", "match": {"path": "/", "tls": {"version": True}}, "respond": {}},
        *TELL])
    with socket.create_connection(("127.0.0.1", made.listener.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Subject: CN=a\r\n\r\n")
        got = b""
        while b"x-print" not in got:
            got += client.recv(65536)
    assert b"x-subject: \r\n" in got
