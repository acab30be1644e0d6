"""The systemd units say what systemd understands, and fastlb what they hand over."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import fastlb
from fastlb._core.tables.certificates import self_signed
from fastlb.config.reader import loads
from tests.flow.conftest import DEADLINE_S, Origin, read_exactly

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
UNITS = ("fastlb.service", "fastlb.socket", "fastlb.service.d/tls.conf")

# As systemd does it: descriptor 3, and the number of the process that is to take it.
ACTIVATE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
    "os.execv(sys.executable, [sys.executable, '-m', 'fastlb', 'serve', *sys.argv[2:]])"
)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd isn't installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    def verify(replaced: str = "", by: str = "") -> str:
        for name in UNITS:
            source = PACKAGING / name.replace("service.d/tls", "tls").replace(
                "fastlb.tls", "fastlb-tls")
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(source.read_text().replace(replaced, by))
        ended = subprocess.run(
            ["systemd-analyze", "verify", *(tmp_path / name for name in UNITS[:2])],
            capture_output=True, text=True, timeout=120,
        )
        return "".join(
            line for line in ended.stderr.splitlines(keepends=True) if "fastlb" in line
        )

    assert verify() == ""
    assert "Unknown key" in verify("DynamicUser", "DynamicUsers")
    assert "Unknown key" in verify("BindIPv6Only", "BindIPv6")
    assert "Unknown key" in verify("LoadCredential", "LoadCredentials")


def test_a_supervised_process_keeps_the_socket_that_systemd_opened(
    tmp_path: Path
) -> None:
    origin = Origin()
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(DEADLINE_S)
    with socket.create_server(("127.0.0.1", 0)) as activated:
        port = activated.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, str(activated.fileno()), "--supervise", "--bind",
             f"tcp://127.0.0.1:{port}", "--server", origin.address],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            pass_fds=[activated.fileno()], stderr=subprocess.DEVNULL,
        )
    try:
        for _ in range(2):
            told = notify.recv(200).decode()
            assert told.startswith("READY=1\nSTATUS=worker ")
            client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
            server = origin.accept()
            client.sendall(b"activated")
            assert read_exactly(server, 9) == b"activated"
            client.close()
            server.close()
            os.kill(int(told.split()[-2]), signal.SIGKILL)      # the worker that it names
        assert notify.recv(200).startswith(b"READY=1")
        process.terminate()
        assert notify.recv(100) == b"STOPPING=1"
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
        origin.close()
        notify.close()


def test_keys_can_be_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key = self_signed(["a.test"], 30)
    (tmp_path / "cert.pem").write_bytes(cert)
    (tmp_path / "key.pem").write_bytes(key)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    lines = (PACKAGING / "fastlb-tls.conf").read_text().splitlines()
    shown = "".join(line.lstrip("# ") for line in lines if "CREDENTIALS_DIRECTORY" in line)
    config = loads(
        f'[listeners.l]\nbind = "https://127.0.0.1:0"\npool = "p"\n{shown}\n'
        '[pools.p]\nservers = ["127.0.0.1:1"]\n')
    assert isinstance(config, fastlb.Config)
    tls = config.listeners["l"].tls
    assert tls is not None and tls.certificates[0].key == str(tmp_path / "key.pem")
