"""What TLS knows of a client: to policies, keys, records and the log."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.x509.oid import NameOID

import fastlb
from tests.flow.conftest import Site
from tests.flow.tls.conftest import PATIENT
from tests.flow.tls.facts import NAME, SUBJECT, context, echo, get, origin, printed, versions, wants
from tests.flow.tls.peers import Authority, TlsOrigin, shake

__all__ = ["origin", "versions"]

Make = Callable[..., Site]


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
            {"name": "asked", "policy": {"call": policy, "deadline": "10m"}}])
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
        {"name": "asked", "policy": {"call": kept.append, "deadline": "10m"}}])
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
            policy={"call": there if where == "there" else kept.append, "deadline": "10m"})
        path = authority.named(NAME)
        get(shake(made, context(authority, path)))
        assert kept[-1].tls == fastlb.Tls("site.test", "TLSv1.3", SUBJECT, printed(path))


@pytest.mark.parametrize(("bind", "key"), [
    ("https://127.0.0.1:0", "sni"), ("tls://127.0.0.1:0", "sni"),
    ("https://127.0.0.1:0", "client_subject"), ("tls://127.0.0.1:0", "client_fingerprint"),
])
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
    for one in origins:
        one.close()


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
            made.wait_idle()            # (sessions are recorded as they end)
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
        "certificates": [authority.files("site.test")], "handshake_timeout": PATIENT,
        **wants(authority)})
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
            "call": policy, "deadline": "10m", "cache_on": "tls.client_fingerprint",
            "cache_ttl": "1h"}}])
    paths = [authority.named([(NameOID.COMMON_NAME, name)]) for name in ("a", "b")]
    for path in (*paths, *paths, None, None):
        get(shake(made, context(authority, path)))
    assert asked == ["CN=a", "CN=b", "", ""]
