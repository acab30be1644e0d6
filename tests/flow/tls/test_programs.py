"""OpenSSL's own programs as clients."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flow.conftest import BUILD, Site, wait_until
from tests.flow.tls.peers import GET, Authority, TlsOrigin, origin

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl isn't installed"),
    pytest.mark.skipif(BUILD == "asan", reason="openssl can't be loaded with its runtime"),
]
__all__ = ["origin"]

Make = Callable[..., Site]


def s_client(made: Site, authority: Authority, *args: str) -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{made.listener.port}",
         "-servername", "site.test", "-verify_hostname", "site.test", "-verify_return_error",
         "-CAfile", authority.cert, "-ign_eof", *args],
        input=GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        capture_output=True, timeout=120)
    return done.stdout.decode("latin-1")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_begins_and_goes_on_with_sessions(
    secure_site: Make, origin: TlsOrigin, authority: Authority, tmp_path: Path, version: str
) -> None:
    made = secure_site([origin.address])
    kept = str(tmp_path / "session")
    first = s_client(made, authority, version, "-sess_out", kept)
    assert "New, TLSv1" in first
    assert "Verify return code: 0 (ok)" in first
    assert "HTTP/1.1 200 OK" in first
    again = s_client(made, authority, version, "-sess_in", kept)
    assert "Reused, TLSv1" in again
    assert "HTTP/1.1 200 OK" in again
    wait_until(lambda: made.totals()["resumed"] == 1)


@pytest.mark.parametrize(("offered", "chosen"), [
    ("h2,http/1.1", "h2"), ("http/1.1", "http/1.1"), ("http/1.0", "http/1.0"),
])
def test_s_client_gets_what_it_offers(
    secure_site: Make, origin: TlsOrigin, authority: Authority, offered: str, chosen: str
) -> None:
    made = secure_site([origin.address])
    said = s_client(made, authority, "-alpn", offered)
    assert f"ALPN protocol: {chosen}" in said


@pytest.mark.parametrize("how", ["-new", "-reuse"])
def test_s_time_shakes_hands_for_seconds(
    secure_site: Make, origin: TlsOrigin, authority: Authority, how: str
) -> None:
    made = secure_site([origin.address], threads=2)
    done = subprocess.run(
        # (for so long that a busy machine lets it shake hands some times)
        ["openssl", "s_time", "-connect", f"127.0.0.1:{made.listener.port}", how, "-time", "3",
         "-CAfile", authority.cert, "-www", "/"],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    n = int(re.findall(r"(\d+) connections in \d+ real seconds", done.stdout)[0])
    assert n > 0
    assert "ERROR" not in done.stdout
    made.wait_idle()
    totals = made.totals()
    assert totals["handshakes"] >= n
    assert totals["handshakes_failed"] == 0
    if how == "-reuse":
        assert totals["resumed"] >= n - 1
    else:
        assert totals["resumed"] == 0
