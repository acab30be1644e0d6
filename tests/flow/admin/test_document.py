"""What docs/admin.md shows is what happens."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import fastlb
from tests.flow.admin.conftest import Admin
from tests.flow.conftest import DEADLINE_S

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "admin.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
HERE = "http://127.0.0.1:9000"
SERVERS = ["127.0.0.1:9001", "127.0.0.1:9002"]      # nobody connects to them
FILE = f"""
[listeners.web]
bind = "http://127.0.0.1:0"
pool = "api"
[pools.api]
servers = ["{SERVERS[0]}"]
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[fastlb.Balancer]:
    path = tmp_path / "fastlb.toml"
    path.write_text(f'admin = {{ bind = "http://127.0.0.1:0" }}\n{FILE}')
    balancer = fastlb.Balancer(fastlb.Config.from_file(path), threads=1)
    with balancer.background():
        yield balancer


def ask(url: str, line: str) -> httpx.Response:
    """What curl would do."""
    words = iter(shlex.split(line)[1:])
    method, headers, content, target = None, {}, None, ""
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data-binary"):
            given = next(words)
            content = FILE if given == "@fastlb.toml" else given
        elif word != "-N":
            target = word
    return httpx.request(method or "GET", target.replace(HERE, url), headers=headers,
                         content=content, timeout=DEADLINE_S)


def shape(value: Any) -> Any:
    """Keys and kinds, and texts."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return value if isinstance(value, str) else type(value).__name__


def fits(shown: Any, got: Any) -> bool:
    """Whether an answer has what is shown of it; it may have more keys."""
    if isinstance(shown, dict):
        return isinstance(got, dict) and all(
            key in got and fits(inner, got[key]) for key, inner in shown.items())
    if isinstance(shown, list):
        return isinstance(got, list) and len(shown) == len(got) and all(map(fits, shown, got))
    return bool(shown == got)


def test_every_request_is_answered_as_shown(running: fastlb.Balancer) -> None:
    url = running.admin_url
    assert url is not None
    blocks = BLOCK.findall(TEXT)
    asked = 0
    for (kind, text), (next_kind, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind != "sh":
            continue
        for line in text.replace("\\\n", " ").strip().splitlines():
            if "-N" in line or "/reload" in line:
                continue                    # tested by themselves
            answer = ask(url, line)
            asked += 1
            expected = 422 if '"off"' in line else 200
            assert answer.status_code == expected, f"{line}: {answer.text}"
        if next_kind == "json":
            assert fits(json.loads(shown), answer.json()), f"{line}\n{shape(answer.json())}"
    assert asked >= 10


def test_the_python_example_runs(
    running: fastlb.Balancer, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = [text for kind, text in BLOCK.findall(TEXT) if kind == "python"]
    url = running.admin_url
    assert url is not None
    exec(compile(code.replace(HERE, url), "docs/admin.md", "exec"), {})
    assert capsys.readouterr().out == f"{SERVERS[0]} unchecked 1 0\n"
    servers = running.pools["api"].servers
    assert {name: one.state for name, one in servers.items()} == {
        SERVERS[0]: "draining", SERVERS[1]: "unchecked"}


def test_every_path_is_in_the_document(admin: Callable[..., Admin]) -> None:
    for one in admin([SERVERS[0]]).get("/api")["api"]:
        path = one["path"].replace("{pool}", "POOL").replace("{address}", "SERVER")
        path = path.replace("{set}", "SET")
        path = path.replace("{change}", "CHANGE").replace("/{action}", "/drain")
        if not path.startswith("/dashboard."):
            for method in one["methods"]:
                assert re.search(rf"\| `.*\b{method}\b.*{re.escape(path)}`", TEXT), (method, path)
