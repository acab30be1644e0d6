"""Values of `tls` that OpenSSL itself would take, and that can't be what was meant."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fastlb import ConfigError
from fastlb._core.tables.certificates import self_signed
from fastlb.config import check_routes
from fastlb.config.effective import effective
from fastlb.config.ocsp import good_until
from fastlb.config.reader import loads
from fastlb.config.warn import warnings

GOOD = 'certificates = [{ cert = "a.pem", key = "a.key" }]'
# Of `openssl ocsp -ndays 7 -resp_no_certs`.
RESPONSE = base64.b64decode("""
MIIBJAoBAKCCAR0wggEZBgkrBgEFBQcwAQEEggEKMIIBBjCBraEPMA0xCzAJBgNVBAMMAmNhGA8yMDI2MTEyNzAxNTQ1
MlowZDBiMDowCQYFKw4DAhoFAAQUEQSM0gyzWSMH0Bn9CIlWK2LTZJIEFP0oS1qWNgJw2ldsxhPNXbFcrU77AgEBgAAY
DzIwMjYxMTI3MDE1NDUyWqARGA8yMDI2MTIwNDAxNTQ1MlqhIzAhMB8GCSsGAQUFBzABAgQSBBAp6D5TjmdiAyGxBwMB
/sdDMAoGCCqGSM49BAMCA0gAMEUCIHpj/12k5YiDf1zy9Qisz6naqtzJqax4yDR6Xgo6wx+bAiEA04k9zUToalWoY6Tg
2CmFnKdZRyLUvhd3mhNHu0wvkuk=
""")
DAY = datetime.timedelta(days=1)
NEXT_UPDATE = b"20261204015452Z"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a", "a.example")
    return tmp_path


def write(folder: Path, file: str, *names: str) -> None:
    cert, key = self_signed(list(names), 90)
    (folder / f"{file}.pem").write_bytes(cert)
    (folder / f"{file}.key").write_bytes(key)


def problems(tls: str, pool: str = "", scheme: str = "https") -> list[str]:
    text = (f'[listeners.l]\nbind = "{scheme}://127.0.0.1:1"\npool = "p"\ntls = {{ {tls} }}\n'
            f'[pools.p]\nservers = ["a:1"]\n{pool}\n')
    try:
        config = loads(text)
    except ConfigError as error:
        return [str(one).partition(".tls")[2] for one in error.problems]
    return [one.partition(".tls")[2] for one in warnings(config, effective(config))]


@pytest.mark.parametrize(("tls", "what"), [
    ('ciphers = "ECDHE-RSA-AES128-GCM-SHA256:TYPO"', ".ciphers: OpenSSL doesn't know 'TYPO'"),
    ('ciphers = "HIGH,TYPO+AES"', ".ciphers: OpenSSL doesn't know 'TYPO+AES'"),
    ('ciphers = "TLS_AES_128_GCM_SHA256"',
     ".ciphers: OpenSSL doesn't know 'TLS_AES_128_GCM_SHA256'"),
    ('ciphers = "!ALL"', ".ciphers: OpenSSL doesn't take '!ALL'"),
    ('cipher_suites = "TLS_AES_128_GCM_SHA256:TYPO"',
     ".cipher_suites: OpenSSL doesn't know 'TYPO'"),
    ('curves = "X25519:TYPO"', ".curves: OpenSSL doesn't know 'TYPO'"),
    ('curves = "X25519:X25519"', ".curves: OpenSSL doesn't take 'X25519:X25519'"),
    ('tickets = { keys = ["t", "t", "t", "t"] }',
     ".tickets.keys: the list has more than 3 entries"),
])
def test_what_is_not_known_is_not_passed_over(tls: str, what: str, folder: Path) -> None:
    (folder / "t").write_bytes(b"t" * 80)
    assert problems(f"{GOOD}, {tls}") == [what]


@pytest.mark.parametrize("ciphers", [
    "HIGH:!aNULL:!MD5:!NO-SUCH", "ECDHE+AESGCM", "ECDHE-RSA-AES128-GCM-SHA256:@STRENGTH",
    "ECDHE-RSA-AES128-GCM-SHA256, ECDHE-ECDSA-AES128-GCM-SHA256:",
])
def test_what_ciphers_may_look_like(ciphers: str) -> None:
    assert problems(f'{GOOD}, ciphers = "{ciphers}"') == []


def test_clients_choose_from_what_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_routes, "HTTP_PROTOCOLS", ("h2", "http/1.1"))
    assert problems(f'{GOOD}, alpn = ["h2", "http/1.1"]') == []
    assert problems(f'{GOOD}, alpn = "h3"') == [
        ".alpn: an https listener speaks h2 and http/1.1, and not 'h3'"]
    assert problems(f'{GOOD}, alpn = ["mqtt"]', scheme="tls") == []      # we don't look inside
    monkeypatch.setattr(check_routes, "HTTP_PROTOCOLS", ("http/1.1",))
    assert problems(f'{GOOD}, alpn = ["h2"]') == [
        ".alpn: this fastlb was built without HTTP/2; see fastlb version -v"]


def test_authorities_say_nothing_to_who_takes_anybody() -> None:
    assert problems(GOOD, 'tls = { verify = false, ca = "a.pem" }') == [
        ": ca and crl say nothing with verify = false"]


@pytest.mark.parametrize(("data", "what"), [
    (b"", "is no OCSP response in DER"),
    (b"hello", "is no OCSP response in DER"),
    (base64.encodebytes(RESPONSE), "is no OCSP response in DER"),
    (RESPONSE[:-1], "is no OCSP response in DER"),
    (RESPONSE + b"\0", "is no OCSP response in DER"),
    (b"\x30\x03\x0a\x01\x03", "is a responder's refusal: tryLater"),
    (b"\x30\x03\x0a\x01\x00", "is no OCSP response in DER"),
    (RESPONSE.replace(NEXT_UPDATE, b"20261304015452Z"), "has a date that can't be read"),
])
def test_what_is_no_ocsp_response(data: bytes, what: str, folder: Path) -> None:
    (folder / "a.ocsp").write_bytes(data)
    assert problems(GOOD.replace(" }", ', ocsp = "a.ocsp" }')) == [
        f".certificates[0].ocsp: 'a.ocsp': {what}"]


def test_an_ocsp_response_that_is_over_is_warned_of(folder: Path) -> None:
    assert good_until(RESPONSE) == 1_796_349_292
    tls = GOOD.replace(" }", ', ocsp = "a.ocsp" }')
    (folder / "a.ocsp").write_bytes(RESPONSE.replace(NEXT_UPDATE, b"29261204015452Z"))
    assert problems(tls) == []
    (folder / "a.ocsp").write_bytes(RESPONSE.replace(NEXT_UPDATE, b"20200102030405Z"))
    assert problems(tls) == [
        ".certificates: the OCSP response of a.pem was good until 2020-01-02, and clients may"
        " refuse it"
    ]


def rsa(folder: Path, *names: str) -> None:
    key = generate_private_key(65537, 2048)
    name, now = x509.Name([]), datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - DAY, now + 90 * DAY)
    alternative = x509.SubjectAlternativeName(list(map(x509.DNSName, names)))
    made = made.add_extension(alternative, critical=True)
    (folder / "r.pem").write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    (folder / "r.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_two_kinds_of_keys_stand_side_by_side_for_the_same_names(folder: Path) -> None:
    both = GOOD.replace("]", ', { cert = "r.pem", key = "r.key" }]')
    rsa(folder, "a.example")
    assert problems(both) == []
    rsa(folder, "a.example", "www.a.example")
    assert problems(both) == [
        ".certificates: 'a.example' is in a.pem and in r.pem: clients that ask for it get the first"
        " one (keys of two kinds need certificates with the same names)"
    ]
