"""What the command line says to people who get something wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .test_commands import said

SITE = """\
[listeners.web]
bind = "http://127.0.0.1:8080"
pool = "api"
routes = [{{ name = "docs", match = {{ path = "/docs/*" }}, policy = "{policy}" }}]
[pools.api]
servers = ["10.0.0.1:7000"]
[pools.premium]
servers = ["10.0.0.2:7000"]
"""


def test_a_policy_that_is_nowhere_is_told_with_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(SITE.format(policy="nowhere_at_all:pick"))
    assert said(capsys, "check", str(path)) == (
        2, "", f"{path}: listeners.web.routes.docs.policy: nowhere_at_all:pick: there is no module"
        " 'nowhere_at_all'\n",
    )


def test_a_pool_that_a_policy_may_name_is_no_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(SITE.format(policy="os.path:basename"))
    status, _, err = said(capsys, "check", str(path))
    assert (status, err) == (0, "")


@pytest.mark.parametrize("admin", ["nowhere", "https://127.0.0.1:9000", "unix:a.sock"])
def test_an_admin_address_that_is_none(admin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "status", "--admin", admin) == (
        2, "", f"--admin: '{admin}' is not where an admin API is; write it like"
        ' "http://127.0.0.1:9000" or "http://unix:/run/fastlb/admin.sock"\n',
    )


def test_explain_says_why_a_running_process_calls_no_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(SITE.format(policy="os.path:basename"))
    status, out, err = said(capsys, "explain", str(path), "/docs/1", "--live", "--call-policy")
    assert (status, out) == (2, "")
    assert "--call-policy doesn't go with --live" in err


def test_udp_is_not_promised_by_tcp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[listeners.game]\nbind = "udp://0.0.0.0:27015"\npool = "a"\n'
                    '[pools.a]\nservers = ["10.0.0.1:1"]\n')
    assert said(capsys, "check", str(path)) == (
        2, "", f"{path}:2: listeners.game.bind: udp:// is not available in this version; one of:"
        " tcp, http, tls, https\n",
    )


def test_a_port_that_is_taken_is_told_by_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "fastlb", "serve", "--bind", bind, "--server", "127.0.0.1:1"],
            capture_output=True, text=True, timeout=60,
        )
    assert done.returncode == 2
    assert f"\n--bind: {bind}: the port is taken" in done.stderr
