"""`fastlb explain` and `fastlb replay` as they are typed."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fastlb.cli import run
from fastlb.explain.model import Explanation

ROOT = Path(__file__).resolve().parents[3]
LINE = '10.0.0.1 - - [25/Nov/2026:18:00:00 +0000] "GET {} HTTP/1.1" 200 100\n'
CONFIG = """\
[listeners.web]
bind = "http://127.0.0.1:8080"
routes = [
    { name = "docs", match.path = "/docs/{doc}", pool = "docs" },
    { name = "upload", match = { path = "/upload", form = { user = "ann" } }, pool = "docs" },
    { name = "policy", match.path = "/policy", policy = "decisions:decide", pool = "docs" },
]
[pools.docs]
balance = "maglev"
hash_on = "path.doc"
servers = ["10.0.0.1:7000", "10.0.0.2:7000"]
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "a.toml").write_text(CONFIG)
    return str(tmp_path / "a.toml")


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = run(list(args))
    output = capsys.readouterr()
    assert "Traceback" not in output.out + output.err
    assert "is a bug" not in output.err
    return status, output.out, output.err


def test_explain_prints_a_tree(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "explain", config, "http://localhost:8080/docs/7")
    assert (status, err) == (0, "")
    assert out.startswith("GET http://localhost:8080/docs/7\n├── listener web")
    assert "key path.doc = 7" in out and "picked: 10.0.0." in out
    assert "\x1b" not in out


def test_explain_prints_json(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = said(
        capsys, "explain", config, "/docs/7", "--json", "--from", "10.0.0.7:5", "-H", "x-a: b")
    explanation = Explanation.from_json(json.loads(out))
    assert status == 0
    assert (explanation.route, explanation.client_ip) == ("docs", "10.0.0.7")
    assert "x-a: b" in explanation.sent


def test_a_body_comes_from_a_file(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "body").write_text("user=ann")
    kind = "Content-Type: application/x-www-form-urlencoded"
    for body in ("user=ann", f"@{tmp_path / 'body'}"):
        _, out, _ = said(capsys, "explain", config, "/upload", "-H", kind, "-d", body, "--json")
        assert json.loads(out)["route"] == "upload"


@pytest.mark.parametrize(("args", "words"), [
    (["docs"], "neither a URL"),
    (["/", "-H", "x"], "is not like"),
    (["/", "-d", "@/none"], "No such file"),
    (["/", "--listener", "none"], "there is no listener 'none'"),
    (["/", "--from", "me"], "not an IP address"),
    ([], "Missing argument 'URL'"),
])
def test_explain_tells_what_was_typed_wrong(
    args: list[str], words: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, "explain", config, *args)
    assert (status, out) == (2, "")
    assert words in err


def test_a_policy_is_looked_for_only_to_be_called(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, _ = said(capsys, "explain", config, "/policy")
    assert status == 0 and "policy decisions:decide was not asked" in out
    status, _, err = said(capsys, "explain", config, "/policy", "--call-policy")
    assert status == 2 and "there is no module 'decisions'" in err
    (tmp_path / "decisions.py").write_text("def decide(request):\n    return 'docs'\n")
    try:
        status, out, _ = said(capsys, "explain", config, "/policy", "--call-policy")
    finally:
        sys.modules.pop("decisions", None)
    assert status == 0 and "said 'docs'" in out


def test_replay_prints_tables(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "access.log"
    log.write_text("".join(LINE.format(f"/docs/{i}") for i in range(10)) + "what?\n"
                   + LINE.format("/none"))
    status, out, err = said(capsys, "replay", config, str(log))
    assert (status, err) == (0, "")
    assert out.startswith("12 lines, 11 requests of 1 client, 1.1 KiB answered\n")
    assert "  1 line was not understood\n" in out and "  not understood: what?\n" in out
    assert "  1 request has no route\n" in out
    rows = {line.split()[0]: line.split()[1:3] for line in out.splitlines() if line.strip()}
    assert rows["web/docs"] == ["10", "90.9%"]


def test_replay_says_what_would_change(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "b.toml"
    other.write_text(CONFIG.replace('"10.0.0.2:7000"]', '"10.0.0.2:7000", "10.0.0.3:7000"]'))
    log = tmp_path / "access.log.gz"
    log.write_bytes(gzip.compress("".join(LINE.format(f"/docs/{i}") for i in range(90)).encode()))
    status, out, _ = said(capsys, "replay", config, str(log), "--against", str(other))
    assert status == 0
    assert "of 90 keys" in out and "go to another pool" in out
    status, out, _ = said(
        capsys, "replay", config, str(log), "--against", str(other), "--json")
    data = json.loads(out)
    moved = data["against"]["servers"]["docs/10.0.0.3:7000"]["requests"]
    assert 15 < moved < 45
    assert data["keys_moved"] == data["changed"] >= moved


def test_replay_says_that_no_listener_speaks_http(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tcp.toml").write_text(
        '[listeners.raw]\nbind = "tcp://127.0.0.1:8080"\npool = "a"\n'
        '[pools.a]\nservers = ["10.0.0.1:7000"]\n')
    (tmp_path / "access.log").write_text(LINE.format("/docs/1"))
    _, out, _ = said(
        capsys, "replay", str(tmp_path / "tcp.toml"), str(tmp_path / "access.log"))
    assert "  1 line was not understood\n" in out
    assert "note: no listener speaks HTTP, so a line about a request is not understood\n" in out


def test_colons_make_no_emoji(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = "[2001:db8:a:1234:5678::1]:7000"
    path, log = tmp_path / "a.toml", tmp_path / "access.log"
    path.write_text(CONFIG.replace("10.0.0.1:7000", server))
    log.write_text(LINE.format("/docs/1"))
    _, out, _ = said(capsys, "explain", str(path), "/docs/:a:", "-H", "x-kind: a:100:b")
    assert f"{server}: " in out and "path /docs/:a:\n" in out and "x-kind: a:100:b\n" in out
    _, out, _ = said(capsys, "replay", str(path), str(log))
    assert f"docs/{server} " in out


def test_replay_reads_stdin(config: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fastlb", "replay", config, "-", "--json"], cwd=ROOT,
        input=LINE.format("/docs/1"), capture_output=True, text=True, timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["requests"] == 1


@pytest.mark.parametrize(("args", "words"), [
    (["/none.log"], "No such file"),
    (["/dev/null", "--listener", "none"], "there is no listener 'none'; there are: web"),
    (["/dev/null", "--against", "/none.toml"], "/none.toml"),
])
def test_replay_tells_what_was_typed_wrong(
    args: list[str], words: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, "replay", config, *args)
    assert (status, out) == (2, "")
    assert words in err


def test_a_broken_archive_is_told(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "access.log.gz"
    log.write_bytes(gzip.compress(LINE.format("/docs/1").encode() * 1000)[:-20])
    status, _, err = said(capsys, "replay", config, str(log))
    assert status == 2 and "ended before" in err
    log.write_bytes(b"\x1f\x8b broken")
    assert said(capsys, "replay", config, str(log))[0] == 2


def test_a_connection_whose_policy_looks_at_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        '[listeners.game]\nbind = "tcp://127.0.0.1:9000"\npool = "games"\n'
        'policy = { call = "decisions:greet", first_bytes = "1KiB" }\n'
        '[pools.games]\nservers = ["10.0.0.1:7000"]\n'
    )
    status, out, err = said(capsys, "explain", str(path), "tcp://127.0.0.1:9000")
    assert (status, err) == (0, "")
    assert "policy decisions:greet was not asked, as nobody knows what a client sends first" in out
    assert "picked: 10.0.0.1:7000" in out


@pytest.mark.usefixtures("example_files")
def test_the_listener_of_the_urls_scheme_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two.toml"
    path.write_text("""\
[listeners.plain]
bind = "http://127.0.0.1:8080"
pool = "docs"
[listeners.secure]
bind = "https://127.0.0.1:8443"
pool = "docs"
tls = { certificates = [{ cert = "tls/both.pem" }] }
[pools.docs]
servers = ["10.0.0.1:7000"]
""")
    for url, found in (
        ("https://docs.example/a", "listener secure (the only one that speaks https"),
        ("http://docs.example/a", "listener plain (the only one that speaks http"),
        ("/a", "listener plain (the first that speaks http; name another with its listener"),
        ("http://127.0.0.1:8443/a", "listener secure (it listens on https://127.0.0.1:8443"),
    ):
        status, out, err = said(capsys, "explain", str(path), url)
        assert (status, err) == (0, "")
        assert found in out, url
