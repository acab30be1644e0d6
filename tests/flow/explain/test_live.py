"""`fastlb explain --live`: what a running process says."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

import fastlb
from fastlb.cli import run
from tests.flow.conftest import DEADLINE_S

CONFIG = """\
admin = {{ bind = "http://unix:{path}" }}
threads = 1
[listeners.web]
bind = "http://127.0.0.1:0"
pool = "api"
[pools.api]
servers = ["127.0.0.1:1", "127.0.0.1:2"]
"""


def test_states_are_those_of_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTLB_ADMIN", raising=False)
    path = tmp_path / "a.toml"
    path.write_text(CONFIG.format(path=tmp_path / "s"))
    balancer = fastlb.Balancer(fastlb.Config.from_file(path))
    with balancer.background():
        balancer.pools["api"].servers["127.0.0.1:1"].drain()
        assert run(["explain", str(path), "/a", "--live", "--json", "-H", "x: y"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["live"] and said["pools"][0]["pick"] == "127.0.0.1:2"
        assert [one["state"] for one in said["pools"][0]["candidates"]] == ["draining", "unchecked"]
        assert run(["explain", str(path), "docs", "--live"]) == 1
        assert "neither a URL" in capsys.readouterr().err
    assert run(["explain", str(path), "/a", "--live"]) == 3


def test_it_is_told_what_a_proxy_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTLB_ADMIN", raising=False)
    path = tmp_path / "a.toml"
    path.write_text(CONFIG.format(path=tmp_path / "s").replace('pool = "api"', """\
proxy_protocol = { trusted = ["127.0.0.0/8"] }
routes = [{ name = "in", match = { proxy = { dst = { suffix = ":443" } } }, pool = "api" }]"""))
    with fastlb.Balancer(fastlb.Config.from_file(path)).background():
        for args, route in (("--proxy-dst", "192.0.2.1:443"), "in"), ((), None):
            assert run(["explain", str(path), "/a", "--live", "--json", *args]) == 0
            assert json.loads(capsys.readouterr().out)["route"] == route
        assert run(["explain", str(path), "/a", "--live", "--proxy-dst", "here"]) == 1
        assert "'here' is not an address" in capsys.readouterr().err


def test_it_is_told_what_a_client_says_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are no text too."""
    monkeypatch.delenv("FASTLB_ADMIN", raising=False)
    path = tmp_path / "a.toml"
    path.write_text(CONFIG.format(path=tmp_path / "s").replace("http://127", "tcp://127") + """
[[listeners.web.routes]]
name = "stream"
match.protocol = "rtmp"
pool = "api"
[[listeners.web.routes]]
name = "device"
match.mqtt = { username = "ann" }
pool = "api"
""")
    (tmp_path / "first").write_bytes(b"\x03\xff\xfe\xfd\xfc" + bytes(4) + b"\xff" * 1528)
    with fastlb.Balancer(fastlb.Config.from_file(path)).background():
        for args, route in (
            (("-d", f"@{tmp_path}/first"), "stream"), (("--username", "ann"), "device"), ((), ""),
        ):
            assert run(["explain", str(path), "tcp://x", "--live", "--json", *args]) == 0
            assert json.loads(capsys.readouterr().out)["route"] == route
        assert run(["explain", str(path), "tcp://x", "--live", "--says", "mqt"]) == 1
        assert "'mqt' is not a protocol" in capsys.readouterr().err


@pytest.mark.parametrize("asked", [
    {"says": {"alpn": 5}}, {"says": {"sni": "a\0b"}}, {"says": {"client_id": "\ud800"}},
    {"proxy": {"dst": "\u0663:1"}}, {"body_base64": "?"}, {"url": "tcp://\ud800:1", "says": {}},
])
def test_what_nobody_can_have_said_is_a_problem_of_the_request(
    tmp_path: Path, asked: dict[str, object]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(CONFIG.format(path=tmp_path / "s").replace("http://127", "tcp://127")
                    + '[[listeners.web.routes]]\nname = "tls"\nmatch.protocol = "tls"\n'
                    + 'pool = "api"\n')
    with fastlb.Balancer(fastlb.Config.from_file(path)).background():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_S)
            client.connect(str(tmp_path / "s"))
            body = json.dumps({"url": "tcp://x", **asked}).encode()
            client.sendall(
                b"POST /explain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
    status = int(answer.split()[1])
    assert status == (200 if "url" in asked else 422), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])
