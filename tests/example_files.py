"""The files that examples/full.toml names: a configuration can't be checked without."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from tests.mmdb import database, place, system

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an example's authority")])
# Of the key, also where a configuration was written down without its secrets, and these filled in.
PASSWORD = "h" * 16
DAY = datetime.timedelta(days=1)


def write_example_files(folder: Path) -> None:
    """Below `folder`, as in the example."""
    now = datetime.datetime.now(datetime.timezone.utc)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder(NAME, NAME, key.public_key(), 1, now - DAY, now + 90 * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    revoked = x509.CertificateRevocationListBuilder(NAME, now - DAY, now + 90 * DAY).sign(
        key, hashes.SHA256()
    )
    answer = (
        ocsp.OCSPResponseBuilder()
        .add_response(certificate, certificate, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD,
                      now - DAY, now + 90 * DAY, None, None)
        .responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
        .sign(key, hashes.SHA256())
    )
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    cert = certificate.public_bytes(pem)
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    folder.joinpath("tls").mkdir()
    for name, data in {
        "web.pem": cert,
        "web.key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption),
        "web.password": PASSWORD.encode(),
        "web.ocsp": answer.public_bytes(der),
        "both.pem": cert + key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        "clients.pem": cert, "clients.crl": revoked.public_bytes(pem),
        "servers.pem": cert, "servers.crl": revoked.public_bytes(pem),
        "tickets.new": b"n" * 80, "tickets.old": b"o" * 80,
    }.items():
        (folder / "tls" / name).write_bytes(data)
    folder.joinpath("networks").mkdir()
    folder.joinpath("networks", "bad.txt").write_text("192.0.2.0/24\n")
    folder.joinpath("geo").mkdir()
    for file, record in {"country": place("DE", "EU"), "city": place("US", "NA", "CA"),
                         "asn": system(64496)}.items():
        folder.joinpath("geo", f"{file}.mmdb").write_bytes(database({"192.0.2.0/24": record}))
    folder.joinpath("pages").mkdir()
    folder.joinpath("pages", "503.html").write_text("<h1>Back soon</h1>\n")
