"""Programs that people use, over HTTP/2: curl, and nghttp2's h2load."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flow.conftest import BUILD, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer
from tests.flow.http2.conftest import Open, Origins

Web = Callable[..., HttpSite]

pytestmark = [
    pytest.mark.skipif(BUILD == "asan", reason="they can't be loaded with its runtime"),
    pytest.mark.timeout(400),
]
curls = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
loads = pytest.mark.skipif(
    shutil.which("h2load") is None, reason="there is no h2load (apt-get install nghttp2-client)")


def run(*arguments: str | Path) -> str:
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=300, check=True).stdout


def keeping(wire: Wire, request: Message) -> None:
    """Answers an upload with its checksum, and gives it back where it is asked for."""
    if request.method in ("PUT", "POST"):
        wire.send(answer(hashlib.sha256(request.body).hexdigest().encode()))
        return
    seed, size = request.target.strip("/").split("-")
    body = random.Random(int(seed)).randbytes(int(size))
    if request.target.startswith("/1-"):
        wire.send(answer(body))
        return
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for at in range(0, len(body), 30_000):
        piece = body[at : at + 30_000]
        wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    wire.send(b"0\r\n\r\n")


@curls
@pytest.mark.parametrize("secure", [True, False], ids=["tls", "h2c"])
def test_curl_reads_an_answer_that_comes_before_its_upload_ends(
    h2: Open, web: Web, origins: Origins, tmp_path: Path, secure: bool
) -> None:
    servers, keys = [origins().address], {"max_body_size": "1KiB"}
    site = h2(servers, **keys)[0] if secure else web(servers, h2c=True, **keys)
    (tmp_path / "upload").write_bytes(bytes(8 << 20))
    how = ["-k"] if secure else ["--http2-prior-knowledge"]
    for _ in range(4):
        status = run(
            "curl", "-s", "--http2", *how, "--data-binary", f"@{tmp_path}/upload",
            "-o", "/dev/null", "-w", "%{http_code} %{http_version}",
            f"http{'s' * secure}://127.0.0.1:{site.site.listener.port}/")
        assert status == "413 2"


@curls
@pytest.mark.parametrize("secure", [True, False], ids=["tls", "h2c"])
def test_curl_uploads_and_downloads(
    h2: Open, web: Web, origins: Origins, pair: tuple[str, str], tmp_path: Path, secure: bool
) -> None:
    origin: HttpOrigin = origins(keeping)
    site = h2([origin.address])[0] if secure else web([origin.address], h2c=True)
    port = site.site.listener.port
    how = ["--http2", "--cacert", pair[0], "--resolve", f"site.test:{port}:127.0.0.1"] if secure \
        else ["--http2-prior-knowledge", "--resolve", f"site.test:{port}:127.0.0.1"]
    url = f"{'https' if secure else 'http'}://site.test:{port}"
    sent = random.Random(7).randbytes(5_000_000)
    (tmp_path / "sent").write_bytes(sent)
    for more in ([], ["-H", "Content-Length:"]):        # with its length, and without
        said = run("curl", "-sS", *how, *more, "-T", tmp_path / "sent",
                   "-w", " %{http_version} %{http_code}", f"{url}/up")
        assert said == f"{hashlib.sha256(sent).hexdigest()} 2 200"
    names = [f"{seed}-{size}" for seed in (1, 2) for size in (0, 1, 70_000, 5_000_000)]
    # (by prior knowledge, curl 7.88 asks for one thing and no more, whoever serves)
    for some in [names] if secure else [[name] for name in names]:
        run("curl", "-sS", "--fail", "-Z", *how, "--output-dir", tmp_path, "--remote-name-all",
            *(f"{url}/{name}" for name in some))
    for name in names:
        seed, size = map(int, name.split("-"))
        assert (tmp_path / name).read_bytes() == random.Random(seed).randbytes(size), name


@loads
@pytest.mark.parametrize("secure", [True, False], ids=["tls", "h2c"])
def test_h2load(h2: Open, web: Web, origins: Origins, secure: bool) -> None:
    """10,000 requests over 16 connections, 10 streams each at a time."""
    origin = origins(lambda wire, request: wire.send(answer(b"x" * 100)))
    if secure:
        site, client = h2([origin.address])
        client.close()
    else:
        site = web([origin.address], h2c=True)
    scheme = "https" if secure else "http"
    said = run("h2load", "-n", "10000", "-c", "16", "-m", "10",
               f"{scheme}://127.0.0.1:{site.site.listener.port}/")
    assert re.search(
        r"10000 total, 10000 started, 10000 done, 10000 succeeded, 0 failed, 0 errored, 0 timeout",
        said), said
    assert "status codes: 10000 2xx, 0 3xx, 0 4xx, 0 5xx" in said, said
    assert ("Application protocol: h2" if secure else "Application protocol: h2c") in said
    assert site.totals()["requests"] == 10_000
    wait_until(lambda: not any(site.site.counts().values()))
