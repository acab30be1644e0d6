"""What clients are shown, and what they may choose."""

from __future__ import annotations

import datetime
import re
import ssl
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from tests.flow.conftest import DEADLINE_S, Site, wait_until
from tests.flow.tls.peers import (
    GET,
    Authority,
    TlsOrigin,
    answers,
    ask,
    origin,
    serial,
    serial_of,
    shake,
)

__all__ = ["origin"]

Make = Callable[..., Site]
ECDSA12, RSA12 = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"


def shown(made: Site, context: ssl.SSLContext, name: str | None) -> int:
    with shake(made, context, name) as client:
        cert = client.getpeercert(binary_form=True)
    assert cert is not None
    return serial(cert)


def unchecked(context: ssl.SSLContext) -> ssl.SSLContext:
    context.check_hostname = False
    return context


def openssl(made: Site, *arguments: str, say: bytes = b"") -> str:
    """What s_client writes."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{made.listener.port}", *arguments],
        input=say, capture_output=True, timeout=DEADLINE_S)
    return (done.stdout + done.stderr).decode("latin-1")


def test_a_name_has_its_own_certificate_before_a_wildcards(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    first, wild, own = (authority.files(name) for name in
                        ("first.test", "*.site.test", "own.site.test"))
    made = secure_site([origin.address], tls={"certificates": [first, wild, own]})
    context = unchecked(authority.trusting())
    for name, files in (
        ("own.site.test", own), ("OWN.Site.Test", own), ("other.site.test", wild),
        ("first.test", first), ("a.b.site.test", first), ("site.test", first), ("site", first),
        ("nobody.test", first), (None, first), ("x" * 63 + ".site.test", wild),
    ):
        assert shown(made, context, name) == serial_of(files), name
    with ask(made, context, "own.site.test") as client:
        assert client.version() == "TLSv1.3"


def test_unknown_names_can_be_refused_and_no_name_is_none(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    made = secure_site([origin.address], tls={"unknown_name": "refuse"})
    context = unchecked(authority.trusting())
    for versions in ("1.2", "1.3"):
        context = unchecked(authority.trusting(versions=versions))
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            shake(made, context, "nobody.test")
        assert shown(made, context, None) == shown(made, context, "site.test")
    wait_until(lambda: made.totals()["handshakes_failed"] == 2)


def test_rsa_and_ecdsa_side_by_side(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    ec = authority.files("site.test")
    rsa = authority.files("site.test", key_type=trustme.KeyType.RSA)
    for certificates in ([ec, rsa], [rsa, ec]):
        made = secure_site([origin.address], tls={"certificates": certificates})
        for ciphers, files in ((ECDSA12, ec), (RSA12, rsa), (f"{RSA12}:{ECDSA12}", None)):
            context = authority.trusting(versions="1.2", ciphers=ciphers)
            got = shown(made, context, "site.test")
            assert files is None or got == serial_of(files)
        for algorithms, kind in (("rsa_pss_rsae_sha256", "RSA-PSS"), ("ECDSA+SHA256", "ECDSA")):
            said = openssl(made, "-tls1_3", "-servername", "site.test", "-sigalgs", algorithms)
            assert f"Peer signature type: {kind}" in said, said
    only = secure_site([origin.address], tls={"certificates": [rsa]})
    with pytest.raises(ssl.SSLError):
        shake(only, authority.trusting(versions="1.2", ciphers=ECDSA12))


@pytest.mark.parametrize("versions", ["1.2", "1.3"])
def test_alpn(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address], "tls://127.0.0.1:0", {"alpn": ["b", "a", "long" * 20]})
    for offers, chosen in ((["a", "b"], "b"), (["x", "a"], "a"), (["long" * 20], "long" * 20),
                           (None, None)):
        with shake(made, authority.trusting(offers=offers, versions=versions)) as client:
            assert client.selected_alpn_protocol() == chosen
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        shake(made, authority.trusting(offers=["x", "bb", "ab"], versions=versions))
    none = secure_site([origin.address], "tls://127.0.0.1:0")
    with shake(none, authority.trusting(offers=["a"], versions=versions)) as client:
        assert client.selected_alpn_protocol() is None


def test_versions(secure_site: Make, authority: Authority, origin: TlsOrigin) -> None:
    for tls, good, bad in (
        ({}, ("1.2", "1.3"), ()),
        ({"min_version": "1.3"}, ("1.3",), ("1.2",)),
        ({"max_version": "1.2"}, ("1.2",), ("1.3",)),
    ):
        made = secure_site([origin.address], tls=tls)
        for version in good:
            with ask(made, authority.trusting(versions=version)) as client:
                assert client.version() == f"TLSv{version}"
        for version in bad:
            with pytest.raises(ssl.SSLError, match="VERSION"):
                shake(made, authority.trusting(versions=version))
        for version in ("-tls1", "-tls1_1"):
            said = openssl(made, version, "-cipher", "ALL:@SECLEVEL=0")
            assert "Cipher is (NONE)" in said, said


def test_an_ocsp_response_is_stapled_to_its_certificate(
    secure_site: Make, authority: Authority, origin: TlsOrigin, tmp_path: Path
) -> None:
    stapled, bare = authority.files("site.test"), authority.files("bare.test")
    cert = x509.load_pem_x509_certificate(Path(stapled["cert"]).read_bytes())
    issuer = x509.load_pem_x509_certificate(authority.ca.cert_pem.bytes())
    key: Any = serialization.load_pem_private_key(authority.ca.private_key_pem.bytes(), None)
    now = datetime.datetime.now(datetime.timezone.utc)
    made_of = ocsp.OCSPResponseBuilder().add_response(
        cert, issuer, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, now, now, None, None
    ).responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
    (tmp_path / "ocsp.der").write_bytes(made_of.sign(key, hashes.SHA256()).public_bytes(
        serialization.Encoding.DER))
    made = secure_site([origin.address], tls={"certificates": [
        bare, {**stapled, "ocsp": str(tmp_path / "ocsp.der")}]})
    bits = cert.serial_number.bit_length()
    number = cert.serial_number.to_bytes((bits + 7) // 8, "big").hex().upper()
    for version in ("-tls1_2", "-tls1_3"):
        said = openssl(made, version, "-status", "-servername", "site.test")
        assert "OCSP Response Status: successful" in said
        assert f"Serial Number: {number}" in said
        assert "Cert Status: good" in said
        said = openssl(made, version, "-status", "-servername", "bare.test")
        assert "OCSP response: no response sent" in said
        assert "OCSP Response" not in openssl(made, version, "-servername", "site.test")


def test_secrets_are_logged_where_it_is_asked_for(
    secure_site: Make, authority: Authority, tmp_path: Path
) -> None:
    log, servers_log = tmp_path / "keys", tmp_path / "server-keys"
    origin = TlsOrigin(answers, authority_context(authority))
    made = secure_site(
        [origin.address], tls={"key_log": str(log)},
        pool={"tls": {"ca": authority.cert, "server_name": "site.test",
                      "key_log": str(servers_log)}})
    own = tmp_path / "own"
    context = authority.trusting()
    context.keylog_filename = str(own)
    ask(made, context).close()
    lines = log.read_text().splitlines()
    assert {line.split(" ")[0] for line in lines} >= {
        "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}
    assert all(re.fullmatch(r"[A-Z_0-9]+ [0-9a-f]{64} [0-9a-f]{64,96}", line) for line in lines)
    theirs = {line for line in own.read_text().splitlines() if not line.startswith("#")}
    assert theirs == set(lines)
    assert servers_log.read_text().count("CLIENT_TRAFFIC_SECRET_0 ") == 1
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    origin.close()


def authority_context(authority: Authority) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue("site.test").configure_cert(made)
    return made


def test_new_keys_may_be_asked_for_at_any_time(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    """KeyUpdate (RFC 8446, 4.6.3), between requests."""
    made = secure_site([origin.address])
    process = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{made.listener.port}", "-tls1_3",
         "-servername", "site.test"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdin is not None and process.stdout is not None
    said = b""

    def until(text: bytes, n: int) -> None:
        nonlocal said
        assert process.stdout is not None
        while said.count(text) < n:
            piece = process.stdout.read1(65536)  # type: ignore[attr-defined]
            assert piece, said
            said += piece

    try:
        for n, command in enumerate((b"", b"K\n", b"k\n", b"K\n"), 1):
            process.stdin.write(command)
            process.stdin.flush()
            if command:
                until(b"KEYUPDATE", n - 1)
            process.stdin.write(GET)
            process.stdin.flush()
            until(b"\r\n\r\nok", n)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_another_handshake_on_the_same_connection_is_refused(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    made = secure_site([origin.address])
    said = openssl(made, "-tls1_2", "-servername", "site.test", say=b"R\n")
    assert "RENEGOTIATING" in said and "no renegotiation" in said
    wait_until(lambda: not any(made.counts().values()))
