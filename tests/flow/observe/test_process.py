"""The access log of `fastlb serve`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.flow.conftest import Origin, read_to_end, wait_until
from tests.flow.test_process import Process


def config(tmp_path: Path, origin: Origin, log: str) -> str:
    path = tmp_path / "fastlb.toml"
    path.write_text(
        f'threads = 1\naccess_log = {{ path = "{log}", fields = ["listener", "bytes_out"] }}\n'
        '[listeners.edge]\nbind = "tcp://127.0.0.1:0"\npool = "api"\n'
        f'[pools.api]\nservers = ["{origin.address}"]\n'
    )
    return str(path)


def session(process: Process, origin: Origin, text: bytes) -> None:
    with process.connect() as client:
        server = origin.accept()
        server.sendall(text)
        server.close()
        assert read_to_end(client) == text


def test_sigusr1_opens_the_file_anew(tmp_path: Path, origin: Origin) -> None:
    log, old = tmp_path / "access", tmp_path / "access.1"
    process = Process(config(tmp_path, origin, str(log))).ready()
    session(process, origin, b"a")
    wait_until(lambda: log.read_bytes().endswith(b"\n"), "there is no line")
    log.rename(old)
    process.process.send_signal(signal.SIGUSR1)
    wait_until(log.exists, "there is no new file")
    session(process, origin, b"bb")
    process.process.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert json.loads(old.read_text()) == {"listener": "edge", "bytes_out": 1}
    assert json.loads(log.read_text()) == {"listener": "edge", "bytes_out": 2}


def test_a_dash_is_standard_output(tmp_path: Path, origin: Origin) -> None:
    process = Process(config(tmp_path, origin, "-"), stdout=subprocess.PIPE).ready()
    session(process, origin, b"abc")
    process.process.send_signal(signal.SIGTERM)
    assert process.process.stdout is not None
    assert json.loads(process.process.stdout.read()) == {"listener": "edge", "bytes_out": 3}
    assert process.ended() == 0


def test_a_file_that_cannot_be_opened_is_told_with_its_key(
    tmp_path: Path, origin: Origin
) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "fastlb", "serve", config(tmp_path, origin, "/proc/no/log")],
        capture_output=True, text=True,
    )
    assert made.returncode == 2
    assert "access_log.path: it can't be opened: No such file or directory" in made.stderr
    assert "Traceback" not in made.stderr
