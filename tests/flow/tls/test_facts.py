"""What TLS knows of a client: to routes and header fields."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import trustme
from cryptography.x509.oid import NameOID

from tests.flow.conftest import DEADLINE_S, Site
from tests.flow.tls.facts import NAME, SUBJECT, TELL, context, get, origin, printed, versions, wants
from tests.flow.tls.peers import Authority, TlsOrigin, shake

__all__ = ["origin", "versions"]

Make = Callable[..., Site]


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


@pytest.mark.parametrize(("name", "told"), [
    ("SITE.test", b"site.test"), ("a\r\nX-Admin: 1", b""), ("a b", b""), ("a\x7f", b""),
    ("zo\xeb", b""), ("_a-1.test", b"_a-1.test"),
])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_names_that_no_host_has_are_none(
    secure_site: Make, origin: TlsOrigin, name: str, told: bytes, version: str
) -> None:
    made = secure_site([origin.address], routes=TELL)
    said = subprocess.run(
        ["openssl", "s_client", "-quiet", version, "-servername", name.encode("latin-1"),
         "-connect", f"127.0.0.1:{made.listener.port}"],
        input=b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", capture_output=True,
        timeout=DEADLINE_S, check=False)
    assert b"\r\nx-sni: %s\r\n" % told in said.stdout
    assert b"X-Admin" not in said.stdout


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
