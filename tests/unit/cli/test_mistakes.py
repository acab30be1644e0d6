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
        " 'nowhere_at_all'; it has to be installed, in the working directory or beside the"
        " configuration file\n",
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


@pytest.mark.parametrize(("line", "told"), [
    ("max_connections = 5", "max_connections: max_connections is not for UDP; write max_sessions"),
    ("backlog = 5", "backlog: backlog is not for UDP"),
    ("h2c = true", "h2c: h2c is not for UDP"),
    ("max_header_size = '8KiB'", "max_header_size: max_header_size is not for UDP"),
    ("answers = 1\npick = 'session'",
     "pick: with answers = 0 or 1 there are no sessions: a server is picked for each datagram"),
    ("answers = 2", "answers: 2 is out of range: at most 1"),
    ("policy = { call = 'a:b', first_bytes = '1KiB' }",
     "policy.first_bytes: first_bytes belongs to the policy of an http route or a tcp listener"),
])
def test_what_is_not_of_udp_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[listeners.game]\nbind = "udp://0.0.0.0:27015"\npool = "a"\n'
                    f'{line}\n[pools.a]\nservers = ["10.0.0.1:1"]\n')
    status, out, err = said(capsys, "check", str(path))
    assert (status, out) == (2, "") and f"listeners.game.{told}" in err


def test_servers_of_datagrams_have_ports_and_no_tls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[listeners.game]\nbind = "udp://0.0.0.0:27015"\npool = "a"\n'
                    '[pools.a]\nservers = ["unix:/run/a.sock"]\ntls = true\n')
    _, _, err = said(capsys, "check", str(path))
    assert "pools.a.servers[0]: a unix socket gets no datagrams" in err
    assert "pools.a.tls: tls is not for UDP" in err


def test_what_is_of_udp_alone_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[listeners.l]\nbind = "tcp://0.0.0.0:27015"\npool = "a"\nmax_sessions = 5\n'
                    '[pools.a]\nservers = ["10.0.0.1:1"]\n')
    _, _, err = said(capsys, "check", str(path))
    assert "listeners.l.max_sessions: max_sessions belongs to udp://, and bind is tcp://" in err


def test_check_shows_what_holds_for_udp(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[listeners.dns]\nbind = "udp://0.0.0.0:5300"\npool = "a"\nanswers = 1\n'
                    '[pools.a]\nservers = ["10.0.0.1:53"]\n')
    status, out, _ = said(capsys, "check", str(path))
    assert status == 0
    lines = {" ".join(line.split()) for line in out.splitlines()}
    assert {"answers 1 listener", "pick for each datagram built in", "idle_timeout 5s built in",
            "max_sessions 10000 built in", "receive_buffer_size 4MiB built in"} <= lines


def test_a_port_that_is_taken_is_told_by_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "fastlb", "serve", "--bind", bind, "--server", "127.0.0.1:1"],
            capture_output=True, text=True, timeout=120,
        )
    assert done.returncode == 2
    assert f"\n--bind: {bind}: the port is taken" in done.stderr


def test_a_policy_of_the_options_that_is_nowhere_is_told_by_the_option() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fastlb", "serve", "--bind", "http://127.0.0.1:0",
         "--server", "127.0.0.1:1", "--policy", "nowhere_at_all:pick"],
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.endswith(
        "\n--policy: nowhere_at_all:pick: there is no module 'nowhere_at_all'; it has to be"
        " installed, in the working directory or beside the configuration file\n")


@pytest.mark.parametrize(("files", "told"), [
    (["--cert", "a.pem"], "--cert: 'a.pem': holds no private key in PEM; name its file: --key"
     " FILE"),
    (["--cert", "a.pem", "--key", "b.key"], "--key: 'b.key': the key doesn't belong to the"
     " certificate"),
    (["--cert", "a.pem", "--key", "none.key"], "--key: 'none.key' can't be read: no such file or"
     " directory"),
    (["--cert", "none.pem", "--key", "a.key"], "--cert: 'none.pem' can't be read: no such file or"
     " directory"),
])
def test_what_is_wrong_with_a_certificate_is_told_by_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    files: list[str], told: str,
) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    for name in ("a", "b"):
        made = authority.issue_cert(f"{name}.example")
        made.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        made.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
    monkeypatch.chdir(tmp_path)
    assert said(capsys, "serve", "--bind", "https://127.0.0.1:0", "--server", "127.0.0.1:1",
                *files) == (2, "", f"{told}\n")
