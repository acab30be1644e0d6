"""Explanations of what TLS knows of a client: told, taken for granted, or not to be known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastlb._core.tables.certificates import AVAILABLE, self_signed
from fastlb.cli import run

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="built without TLS")

CONFIG = """\
[listeners.web]
bind = "https://127.0.0.1:8443"
tls = {{ certificates = [{{ cert = "{0}/web.pem", key = "{0}/web.key" }}]{1} }}
[[listeners.web.routes]]
name = "gateway"
match.tls = {{ client_subject = "CN=gateway" }}
pool = "api"
request_headers.set = {{ x-client = "{{tls.client_subject}} by {{tls.version}}" }}
[[listeners.web.routes]]
name = "named"
match.tls = {{ sni = ["a.test", "b.test"] }}
pool = "api"
[[listeners.web.routes]]
name = "rest"
respond = {{ status = 403 }}
[listeners.plain]
bind = "http://127.0.0.1:8080"
pool = "api"
[listeners.tcp]
bind = "tls://127.0.0.1:8444"
tls = {{ certificates = [{{ cert = "{0}/web.pem", key = "{0}/web.key" }}]{1} }}
pool = "api"
[pools.api]
balance = "maglev"
hash_on = "tls.client_fingerprint"
servers = ["10.0.0.1:7000", "10.0.0.2:7000"]
"""
AUTH = ', client_auth = "{}", client_ca = "{}/web.pem"'
URL = "https://127.0.0.1:8443/"
PRINT = "0a" * 32


def config(folder: Path, auth: str = "optional") -> str:
    cert, key = self_signed(["site.test"], 90)
    (folder / "web.pem").write_bytes(cert)
    (folder / "web.key").write_bytes(key)
    asks = AUTH.format(auth, folder) if auth != "none" else ""
    (folder / "a.toml").write_text(CONFIG.format(folder, asks))
    return str(folder / "a.toml")


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = run(["explain", *args])
    output = capsys.readouterr()
    assert "Traceback" not in output.out + output.err
    return status, output.out, output.err


def test_who_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(
        capsys, config(tmp_path), URL, "--client-subject", "CN=gateway", "--client-fingerprint",
        PRINT.upper())
    assert (status, err) == (0, "")
    assert "└── TLSv1.3, asks for no name, is CN=gateway, fingerprint" in out
    assert "route gateway" in out
    assert "x-client: CN=gateway by TLSv1.3" in out
    assert f"key tls.client_fingerprint = {PRINT}, hash" in " ".join(out.replace("│", "").split())


def test_what_is_taken_for_granted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config(tmp_path)
    _, out, _ = said(capsys, file, "https://A.test:8443/")
    assert "TLSv1.3, asks for a.test, shows no certificate" in out
    assert "tls client_subject is absent" in out
    assert '+ named: tls.sni one of "a.test", "b.test"' in out
    assert "key tls.client_fingerprint is absent: client.ip is hashed" in out
    _, out, _ = said(capsys, file, "https://a.test:8443/", "--sni", "c.test")
    assert 'tls sni is "c.test", none of "a.test", "b.test"' in out
    assert "+ rest: everything" in out


def test_what_can_not_be_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, config(tmp_path, "required"), URL)
    assert "its certificate is not known, and wanted here: name it" in out


def test_connections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, config(tmp_path), "tcp://127.0.0.1:8444", "--json",
                     "--client-fingerprint", PRINT)
    made = json.loads(out)
    assert made["tls"] == f"TLSv1.3, asks for no name, is somebody, fingerprint {PRINT}"


@pytest.mark.parametrize(("auth", "args", "told"), [
    ("none", (URL, "--client-subject", "CN=a"), "asks clients for no certificates (client_auth)"),
    ("optional", ("http://127.0.0.1:8080/", "--sni", "a"), "listener 'plain' has no TLS"),
    ("optional", (URL, "--sni", "a b"), "'a b' is not a host"),
    ("optional", (URL, "--client-fingerprint", "0a"), "'0a' is not a fingerprint"),
])
def test_what_no_client_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], auth: str, args: tuple[str, ...], told: str
) -> None:
    status, _, err = said(capsys, config(tmp_path, auth), *args)
    assert status == 2
    assert told in " ".join(err.split())
