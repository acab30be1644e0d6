"""The command line as it is typed: what is printed, where to, and the exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastlb._version import __version__
from fastlb.cli import COMMANDS, run

ROOT = Path(__file__).resolve().parents[3]
TCP_FILE = ROOT / "examples" / "tcp.toml"
GOOD = """\
threads = 2
[listeners.web]
bind = ["tcp://127.0.0.1:8080", "tcp://unix:/run/a.sock"]
pool = "api"
mode = "0660"
idle_timeout = "0s"
[pools.api]
balance = "ring_hash"
servers = [
    "10.0.0.1:7000",
    { address = "[::1]:7000", weight = 2, max_connections = 500 },
    { dns = "api.internal:7000", refresh = "30s" },
]
[defaults]
keepalive = { idle = "30s" }
"""
NO_SCHEME = (
    'write "http://0.0.0.0:8080", or "http://127.0.0.1:8080" for this machine only; tcp:// is for'
    " other protocols"
)
SERVER = ("--server", "127.0.0.1:9001")
BIND = ("--bind", "tcp://127.0.0.1:8080")


def fastlb(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastlb", *args],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command that ends by itself."""
    status = run(list(args))
    output = capsys.readouterr()
    assert "Traceback" not in output.out + output.err
    assert "is a bug" not in output.err
    return status, output.out, output.err


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "fastlb.toml"
    path.write_text(GOOD)
    return str(path)


# --- help and version ---


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, option)
    assert (status, err) == (0, "")
    assert out.startswith("Usage: fastlb [OPTIONS] COMMAND [ARGS]...\n")
    for name, meaning in COMMANDS.items():
        assert f"  {name:<8} {meaning}\n" in out


def test_no_command_prints_the_help_and_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = said(capsys)
    assert status == 2
    assert "Start with: fastlb demo." in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, name, "-h")
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: fastlb {name} ")
    assert "-h, --help" in out


@pytest.mark.parametrize("args", [["version"], ["--version"]])
def test_the_version_is_one_line(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, *args) == (0, f"fastlb {__version__}\n", "")


def test_the_long_version_says_what_it_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "version", "-v")
    assert (status, err) == (0, "")
    assert out.startswith(f"fastlb {__version__}\n")
    assert {"python", "platform", "TLS", "kernel"} <= {line.split()[0] for line in out.splitlines()}
    assert re.search(r"^HTTP/2 +nghttp2 \d+\.\d+\.\d+$", out, re.MULTILINE)


# --- mistakes ---


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["nope"], f"'nope' is not a command. One of: {', '.join(COMMANDS)}"),
        (
            ["chekc"],
            "'chekc' is not a command; did you mean 'check'?"
            f" One of: {', '.join(COMMANDS)}",
        ),
        (
            ["validate"],
            "'validate' is not a command; did you mean 'check'?"
            f" One of: {', '.join(COMMANDS)}",
        ),
        (["check"], "Missing argument 'CONFIG'."),
        (["--nope"], "No such option '--nope'."),
        (["version", "x"], "Got unexpected extra argument (x)"),
        (
            ["serve"],
            "--bind and --server missing; give a file (fastlb serve fastlb.toml), or:"
            " fastlb serve --bind tcp://127.0.0.1:8080 --server 127.0.0.1:9001",
        ),
        (
            ["serve", *BIND],
            "--server missing; give a file (fastlb serve fastlb.toml), or:"
            " fastlb serve --bind tcp://127.0.0.1:8080 --server 127.0.0.1:9001",
        ),
        (["serve", "fastlb.toml", *BIND], "give a file, or --bind and --server, not both"),
        (
            ["serve", "fastlb.toml", "--balance", "ring_hash"],
            "give a file, or --bind and --server, not both",
        ),
        (
            ["serve", *BIND, *SERVER, "--threads", "0"],
            "Invalid value for '--threads': '0' is not \"auto\" or a number from 1 to 64",
        ),
        (
            ["serve", *BIND, *SERVER, "--threads", "²"],
            "Invalid value for '--threads': '²' is not \"auto\" or a number from 1 to 64",
        ),
        (
            ["serve", *BIND, *SERVER, "--log-level", "loud"],
            "Invalid value for '--log-level': 'loud' is not one of 'debug', 'info', 'warning',"
            " 'error'.",
        ),
    ],
)
def test_what_was_typed_wrong_is_told(
    args: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, *args)
    assert (status, out) == (2, "")
    assert err.startswith("Usage: fastlb ")
    # The wording of an unknown option is click's, and differs between its versions.
    assert err.endswith(f"\nError: {error}\n") or (args == ["--nope"] and "--nope" in err)


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["--bind", "8080", *SERVER], f"--bind: '8080' has no scheme; {NO_SCHEME}"),
        (["--bind", ":8080", *SERVER], f"--bind: ':8080' has no scheme; {NO_SCHEME}"),
        (
            ["--bind", "localhost:8080", *SERVER],
            "--bind: 'localhost:8080' has no scheme; write \"http://localhost:8080\" for HTTP, or"
            ' "tcp://localhost:8080" for another protocol',
        ),
        (
            [*BIND, "--server", "http://localhost:9001/"],
            '--server: a server has no scheme; write "localhost:9001" (how to speak to it is the'
            " pool's business)",
        ),
        (
            [*BIND, "--server", "9001"],
            "--server: '9001' is not an address with a port;"
            ' write it like "10.0.0.1:7000", "[::1]:7000" or "unix:/run/a.sock"',
        ),
        (
            [*BIND, *SERVER, "--balance", "least-request"],
            "--balance: 'least-request' is not a balancing method; did you mean 'least_request'?"
            " One of: round_robin, random, least_connections, least_request, peak_ewma, prequal,"
            " ring_hash, maglev, rendezvous",
        ),
        (
            [*BIND, *BIND, *SERVER],
            "--bind: tcp://127.0.0.1:8080 is bound already, by listeners.main",
        ),
        (["nowhere.toml"], "nowhere.toml: can't be read: no such file or directory"),
        (["/"], "/: can't be read: is a directory"),
    ],
)
def test_what_can_not_be_served_is_told(
    args: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "serve", *args) == (2, "", f"{error}\n")


def test_all_that_is_wrong_with_the_options_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--bind", "8080", "--server", "localhost", "--balance", "least"]
    status, _, err = said(capsys, "serve", *args)
    assert status == 2
    assert [line.split(":")[0] for line in err.splitlines()] == ["--bind", "--balance", "--server"]


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        made = fastlb("serve", "--bind", bind, *SERVER)
    assert made.returncode == 2
    assert f"{bind}: the port is taken" in made.stderr
    assert "Traceback" not in made.stderr


# --- check and schema ---

CHECKED = """\
process
  threads                    2                                    given
  shutdown_timeout           30s                                  built in
  shutdown_delay             0s                                   built in
  shutdown_idle_timeout      1s                                   built in
  max_connections            half of the descriptor limit         built in
  admin                      a unix socket of its user            built in
  busy_poll                  true                                 built in

dns
  nameservers                those in /etc/resolv.conf            built in
  timeout                    2s                                   built in
  refresh                    ttl                                  built in

listener web
  bind                       tcp://127.0.0.1:8080                 listener
  bind                       tcp://unix:/run/a.sock               listener
  pool                       api                                  listener
  max_connections            no limit                             built in
  max_connections_per_source no limit                             built in
  max_connection_rate_per_source no limit                             built in
  tarpit                     none                                 built in
  ban                        none                                 built in
  idle_timeout               none                                 listener
  backlog                    4096                                 built in
  tcp_nodelay                true                                 built in
  keepalive                  30s, then 3 x 10s                    defaults
  buffer_size                16KiB                                built in
  bulk_buffer_size           256KiB                               built in
  reuse_port                 false                                built in
  mode                       0660                                 listener
  max_upload_rate            no limit                             built in
  max_download_rate          no limit                             built in

pool api
  balance                    ring_hash                            pool
  hash_on                    client.ip                            built in
  outliers                   5 failures: 30s out, 50% at most     built in
  retry                      3 tries, budget 20%                  built in
  retry.on                   connect_failure, reset               built in
  protocol                   http/1.1                             built in
  max_idle_connections       256                                  built in
  max_response_header_size   32KiB                                built in
  idle_connection_timeout    1m                                   built in
  max_connection_age         no limit                             built in
  max_connection_requests    no limit                             built in
  connect_timeout            500ms                                built in
  tcp_nodelay                true                                 built in
  keepalive                  30s, then 3 x 10s                    defaults
  server                     10.0.0.1:7000                        pool
  server                     [::1]:7000 weight 2 max_connections 500 pool
  server                     api.internal:7000 refresh 30s        pool
"""


def test_check_prints_what_holds_and_where_it_came_from(
    good: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "check", good) == (0, CHECKED, "")


def test_check_tells_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.toml"
    path.write_text(GOOD.replace("tcp://127", "127").replace('"0s"', "30"))
    assert said(capsys, "check", str(path)) == (
        2,
        "",
        f"{path}:3: listeners.web.bind[0]: '127.0.0.1:8080' has no scheme;"
        ' write "http://127.0.0.1:8080" for HTTP, or "tcp://127.0.0.1:8080" for another protocol\n'
        f'{path}:6: listeners.web.idle_timeout: 30 has no unit; write "30s" or "30ms"\n',
    )


def test_check_warns_of_what_is_probably_not_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'max_connections = 10\n[listeners.a]\nbind = "tcp://127.0.0.1:1"\npool = "a"\n'
        'mode = "600"\nmax_connections = 11\n'
        '[pools.a]\nservers = [{ address = "a:1", weight = 0 }]\n'
        '[pools.b]\nservers = ["a:1"]\n'
    )
    status, out, err = said(capsys, "check", str(path))
    assert status == 0
    assert out.startswith("process\n")
    assert err == (
        f"warning: {path}: listeners.a.max_connections: 11 are never reached, as the process has"
        " 10 at most\n"
        f"warning: {path}: pools.a: every server has weight 0, so none is ever picked\n"
        f"warning: {path}: pools.b: no listener uses this pool\n"
        f"warning: {path}: listeners.a.mode: it has no effect: no address of this listener is a"
        " unix socket\n"
    )


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "schema")
    assert (status, err) == (0, "")
    assert json.loads(out)["title"] == "A configuration of fastlb"


# --- the process around it ---


def test_python_m_is_the_command() -> None:
    made = fastlb("version")
    assert (made.returncode, made.stdout, made.stderr) == (0, f"fastlb {__version__}\n", "")
    assert fastlb("nope").stderr.startswith("Usage: fastlb ")


@pytest.mark.parametrize("command", ["schema", "check {tcp}", "version", "--help"])
def test_a_reader_that_has_seen_enough_is_no_error(command: str, example_files: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)  # as if head(1) were gone before the first line
    try:
        made = subprocess.run(
            [sys.executable, "-m", "fastlb", *command.format(tcp=TCP_FILE).split()],
            cwd=example_files, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=120,
        )  # fmt: skip
    finally:
        os.close(theirs)
    assert (made.returncode, made.stderr) == (0, "")


def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "w") as full:
        made = subprocess.run(
            [sys.executable, "-m", "fastlb", "schema"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120,
        )  # fmt: skip
    assert made.returncode == 74
    assert made.stderr == "fastlb: the output can't be written: No space left on device\n"


def test_a_bug_is_one_line_unless_it_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> dict[str, object]:
        raise KeyError("x")

    monkeypatch.setattr("fastlb.config.schema.schema", broken)
    monkeypatch.delenv("FASTLB_DEBUG", raising=False)
    assert run(["schema"]) == 70
    assert capsys.readouterr().err == (
        "fastlb: KeyError: 'x'. This is a bug in fastlb: please report it with what"
        " FASTLB_DEBUG=1 prints.\n"
    )
    monkeypatch.setenv("FASTLB_DEBUG", "1")
    with pytest.raises(KeyError):
        run(["schema"])


def loaded(code: str) -> set[str]:
    made = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n', *sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return set(made.stdout.splitlines()[-1].split())


SLOW = {"asyncio", "click", "dns", "httptools", "pydantic", "rich", "uvloop"}


def test_the_import_loads_nothing_else() -> None:
    names = loaded("import fastlb; fastlb.__version__")
    assert names & SLOW == set()
    assert {name for name in names if name.startswith("fastlb")} == {"fastlb", "fastlb._version"}


@pytest.mark.parametrize("args", [["version"], ["--version"], ["--help"], ["nope"]])
def test_what_answers_by_itself_loads_no_more_than_it_needs(args: list[str]) -> None:
    names = loaded(f"from fastlb.cli import run; run({args!r})")
    assert names & SLOW == {"click"}


def test_errors_come_without_the_rest() -> None:
    assert loaded("from fastlb import ConfigError, BindError, Problem") & SLOW == set()


@pytest.mark.parametrize("command", ["status", "drain p/a", "reload"])
def test_commands_for_a_running_process_load_no_models(command: str) -> None:
    args = [*command.split(), "--admin", "http://127.0.0.1:1"]
    names = loaded(f"from fastlb.cli import run; run({args!r})")
    assert names & SLOW == {"asyncio", "click"}
