"""Certificates of clients: whose are taken, and whose not."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable

import pytest
import trustme

from tests.flow.conftest import Site, wait_until
from tests.flow.tls.peers import Authority, TlsOrigin, ask, origin

__all__ = ["origin"]

Make = Callable[..., Site]


@pytest.fixture(params=["1.2", "1.3"])
def versions(request: pytest.FixtureRequest) -> str:
    version: str = request.param
    return version


def refused(made: Site, context: ssl.SSLContext, why: str) -> None:
    """Of TLS 1.3, the client hears of it after its own part of the handshake."""
    before = made.totals()["handshakes_failed"]
    with pytest.raises(ssl.SSLError, match=why):
        ask(made, context)
    wait_until(lambda: made.totals()["handshakes_failed"] == before + 1)


def chain(authority: Authority, depth: int) -> trustme.LeafCert:
    """A client's certificate with so many authorities between it and ours."""
    ca = authority.ca
    for _ in range(depth):
        ca = ca.create_child_ca()
    return ca.issue_cert("client@site.test")


def test_none_is_asked_for(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address])
    leaf = trustme.CA().issue_cert("client@site.test")
    ask(made, authority.trusting(leaf=leaf, versions=versions)).close()


@pytest.mark.parametrize("auth", ["optional", "required"])
def test_whose_are_taken(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str, auth: str
) -> None:
    made = secure_site([origin.address], tls={"client_auth": auth, "client_ca": authority.cert})

    def of(leaf: trustme.LeafCert | None) -> ssl.SSLContext:
        return authority.trusting(leaf=leaf, versions=versions)

    ask(made, of(authority.issue("client@site.test"))).close()
    if auth == "optional":
        ask(made, of(None)).close()
    else:
        refused(made, of(None), "certificate required" if versions == "1.3" else
                "handshake failure")
    refused(made, of(trustme.CA().issue_cert("client@site.test")), "unknown ca")
    now = datetime.datetime.now(datetime.timezone.utc)
    old = authority.issue("client@site.test", not_before=now - datetime.timedelta(days=9),
                          not_after=now - datetime.timedelta(days=1))
    refused(made, of(old), "expired")
    ask(made, of(authority.issue("other@site.test"))).close()


def test_depth(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    for depth in (0, 1):
        made = secure_site([origin.address], tls={
            "client_auth": "required", "client_ca": authority.cert, "client_depth": depth})
        for between in (0, 1, 2):
            context = authority.trusting(leaf=chain(authority, between), versions=versions)
            if between <= depth:
                ask(made, context).close()
            else:
                refused(made, context, "unknown ca|bad certificate")


def test_an_authority_under_the_root_may_be_the_one_that_is_trusted(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    between = authority.ca.create_child_ca()
    path = authority.folder / "between.pem"
    between.cert_pem.write_to_path(str(path))
    made = secure_site(
        [origin.address], tls={"client_auth": "required", "client_ca": str(path)})
    leaf = between.issue_cert("client@site.test")
    ask(made, authority.trusting(leaf=leaf, versions=versions)).close()
    other = authority.issue("client@site.test")
    refused(made, authority.trusting(leaf=other, versions=versions), "unknown ca")


def test_revoked_ones(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    good, bad = (authority.issue("client@site.test") for _ in range(2))
    made = secure_site([origin.address], tls={
        "client_auth": "optional", "client_ca": authority.cert,
        "client_crl": authority.revoked(bad)})
    ask(made, authority.trusting(leaf=good, versions=versions)).close()
    ask(made, authority.trusting(versions=versions)).close()
    refused(made, authority.trusting(leaf=bad, versions=versions), "revoked")
    # (there is no list of the authority between)
    refused(made, authority.trusting(leaf=chain(authority, 1), versions=versions), "unknown ca")


def test_a_list_that_has_run_out_lets_nobody_in(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address], tls={
        "client_auth": "required", "client_ca": authority.cert,
        "client_crl": authority.revoked(name="old.pem", days=-1)})
    leaf = authority.issue("client@site.test")
    refused(made, authority.trusting(leaf=leaf, versions=versions), "alert")


def test_a_servers_certificate_is_no_clients(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    """Extended key usage (RFC 5280, 4.2.1.12)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID

    leaf = authority.issue("client@site.test")
    issuer = x509.load_pem_x509_certificate(authority.ca.cert_pem.bytes())
    key = serialization.load_pem_private_key(authority.ca.private_key_pem.bytes(), None)
    cert = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    builder = x509.CertificateBuilder(
        issuer.subject, cert.subject, cert.public_key(), x509.random_serial_number(),
        cert.not_valid_before_utc, cert.not_valid_after_utc)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
    path = authority.folder / "servers.pem"
    path.write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(  # type: ignore[arg-type]
            serialization.Encoding.PEM) + leaf.private_key_pem.bytes())
    made = secure_site(
        [origin.address], tls={"client_auth": "required", "client_ca": authority.cert})
    context = authority.trusting(versions=versions)
    context.load_cert_chain(str(path))
    refused(made, context, "alert|certificate")
