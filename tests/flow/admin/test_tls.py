"""What a running process says of its TLS: counted, in the status, and never a key."""

from __future__ import annotations

import base64
import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastlb.cli import run
from fastlb.process import files
from tests.flow.admin.conftest import Admin
from tests.flow.conftest import wait_until
from tests.flow.http.peers import HttpOrigin
from tests.flow.observe.test_metrics import Scraped
from tests.flow.tls.pairs import Pair, connect
from tests.flow.tls.test_tickets import context

Make = Callable[..., Admin]
Origins = Callable[..., HttpOrigin]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_handshakes_and_ends_of_certificates_are_counted_and_shown(
    admin: Make, origins: Origins, pair: Pair
) -> None:
    made = admin([origins().address], listen="https://127.0.0.1:0", tls=pair.tls)
    port = made.site.listener.port
    once = context()
    with connect(port, once) as client:
        session = client.session
    with connect(port, once, session) as client:
        assert client.session_reused
    plain = made.site.connect()
    plain.sendall(b"\x16\x03\x01\x00\x05hello")
    while plain.recv(1 << 16):
        pass
    wait_until(lambda: made.site.totals()["handshakes_failed"] == 1)

    found = Scraped(made.balancer)
    name = "fastlb_tls_handshakes_total"
    assert found(name, side="client", resumed="false") == 1
    assert found(name, side="client", resumed="true") == 1
    assert found(name, side="server", resumed="false") == 0
    assert found("fastlb_tls_handshake_failures_total", side="client") == 1
    assert found("fastlb_tls_refreshes_total") == 0
    ends = ssl.cert_time_to_seconds(
        ssl._ssl._test_decode_cert(str(pair.cert))["notAfter"])  # type: ignore[attr-defined]
    assert found("fastlb_certificate_expires_timestamp_seconds", listener="web",
                 certificate=str(pair.cert)) == ends

    status = made.get("/status")
    [certificate] = status["certificates"]
    assert certificate["listener"] == "web" and certificate["expires"] == ends
    assert certificate["names"] == ["localhost", "127.0.0.1"]
    assert certificate["algorithm"] == "ECDSA P-256"
    assert status["totals"]["handshakes"] == 2
    assert status["listeners"][0]["addresses"] == [f"https://127.0.0.1:{port}"]


def test_the_command_shows_until_when_certificates_hold(
    admin: Make, origins: Origins, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    made = admin([origins().address], listen="https://127.0.0.1:0", tls=pair.tls)
    assert run(["status", "--admin", made.url]) == 0
    heads, line = capsys.readouterr().out.splitlines()[-2:]
    assert heads.split() == ["CERTIFICATE", "OF", "NAMES", "EXPIRES", "IN"]
    assert line.split()[0] == str(pair.cert)
    assert line.split()[1:5] == ["web", "localhost,", "127.0.0.1", "89d"]


def test_without_tls_nothing_is_said_of_it(
    admin: Make, origins: Origins
) -> None:
    made = admin([origins().address])
    assert "tls" not in made.http.get("/metrics").text
    assert made.get("/status")["certificates"] == []


def secrets(*paths: Path) -> Iterator[str]:
    for path in paths:
        lines = path.read_text().splitlines()[1:-1]
        yield from lines
        yield base64.b64decode("".join(lines))[36:52].hex()


def test_nothing_that_it_says_has_a_key_in_it(
    admin: Make, origins: Origins, pair: Pair, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "LOOK_S", 0.05)
    caplog.set_level(logging.DEBUG)
    old = tmp_path / "old.key"
    old.write_bytes(pair.key.read_bytes())
    own = {"cert": str(pair.cert), "key": str(pair.key), "password": "the-password"}
    made = admin([origins().address], listen="https://127.0.0.1:0", tls=pair.tls,
                 pool={"tls": {"certificate": own, "verify": False}})
    said = [made.http.get(path).text for path in ("/config", "/status", "/metrics", "/listeners")]
    said.append(made.http.get("/config", headers={"accept": "application/toml"}).text)
    config = made.http.get("/config").text
    pair.replace()
    runtime = made.balancer._instance.runtime
    assert runtime is not None
    wait_until(lambda: runtime.securing.refreshed == 2)
    pair.key.write_text(pair.key.read_text()[:120])     # half a key, which is told
    wait_until(lambda: runtime.securing.refused >= 1)
    for method, path in (("PUT", "/config"), ("PUT", "/config?dry_run=1")):
        said.append(made.http.request(method, path, content=config).text)
    said += [one.getMessage() for one in caplog.records]
    everything = "\n".join(said)
    assert str(pair.cert) in everything and "its files have changed" in everything
    assert "(hidden)" in everything
    for secret in (*secrets(old), pair.key.read_text().splitlines()[1], "the-password"):
        assert secret not in everything
