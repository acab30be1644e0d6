"""The short forms: `fastlb serve --cert`, `fastlb demo --tls`."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastlb.cli import run
from tests.flow.conftest import BUILD, DEADLINE_S, wait_until
from tests.flow.http.peers import HttpOrigin
from tests.flow.test_process import Process
from tests.flow.tls.pairs import Pair, connect, fingerprint

SHORT = ("serve", "--server", "127.0.0.1:1", "--bind")


@pytest.mark.parametrize(("args", "error"), [
    (("https://127.0.0.1:0",), "--cert: https:// needs a certificate: --cert FILE --key FILE"),
    (("tls://127.0.0.1:0",), "--cert: tls:// needs a certificate: --cert FILE --key FILE"),
    (("http://127.0.0.1:0", "--cert", "web.pem", "--key", "web.key"),
     "--cert: it belongs to https://, and --bind is http://"),
    (("https://127.0.0.1:0", "--cert", "web.pem"),
     "--cert: 'web.pem': holds no private key in PEM; name its file: --key FILE"),
    (("https://127.0.0.1:0", "--cert", "none.pem"),
     "--cert: 'none.pem' can't be read: no such file or directory"),
])
def test_mistakes_are_told_by_the_names_of_options(
    args: tuple[str, ...], error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run([*SHORT, *args]) == 2
    assert capsys.readouterr().err == f"{error}\n"


@pytest.mark.parametrize(("args", "error"), [
    ((*SHORT, "https://127.0.0.1:0", "--key", "web.key"),
     "--key needs --cert, the certificate that it belongs to"),
    (("serve", "fastlb.toml", "--cert", "web.pem"),
     "give a file, or --bind and --server, not both"),
])
def test_options_that_make_no_sense(
    args: tuple[str, ...], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*args]) == 2
    assert error in capsys.readouterr().err


@pytest.mark.parametrize("scheme", ["https", "tls"])
def test_serving_with_a_certificate(scheme: str, tmp_path: Path) -> None:
    pair, origin = Pair(tmp_path), HttpOrigin()
    process = Process("--bind", f"{scheme}://127.0.0.1:0", "--server", origin.address,
                      "--cert", str(pair.cert), "--key", str(pair.key))
    try:
        wait_until(lambda: f"ready: {scheme}://" in process.log())
        found = re.search(rf"ready: {scheme}://127\.0\.0\.1:(\d+) ->", process.log())
        assert found
        port = int(found[1])
        with connect(port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        after = pair.replace()
        wait_until(lambda: fingerprint(port) == after)
        process.process.send_signal(signal.SIGTERM)
        assert process.ended() == 0
    finally:
        process.process.kill()
        process.ended()
        origin.close()


def test_the_demo_prints_a_line_that_works() -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "fastlb", "demo", "--tls", "--seconds", "300", "--port", "0"],
        stdout=subprocess.PIPE, text=True,
    )
    assert demo.stdout is not None
    try:
        first, line = demo.stdout.readline(), demo.stdout.readline().strip()
        assert first.startswith("fastlb balances 127.0.0.1:")
        assert re.fullmatch(r"curl --cacert \S+ https://localhost:\d+/", line)
        if shutil.which("curl") and BUILD != "asan":        # (which it can't be loaded with)
            made = subprocess.run(
                [*shlex.split(line), "-sS"], capture_output=True, text=True, timeout=DEADLINE_S
            )
            assert (made.returncode, made.stdout[:17]) == (0, "Hello from origin"), made.stderr
        demo.send_signal(signal.SIGINT)     # (which ends it as its seconds would)
        rest = demo.stdout.read()
        assert demo.wait(DEADLINE_S) == 0
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()
    assert re.search(r"\d+ requests, 0 failed\n$", rest)
    assert not Path(shlex.split(line)[2]).exists()
