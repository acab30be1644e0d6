"""Large configurations: `check` answers as `serve` does, with work in proportion to the size."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fastlb
from fastlb.cli import run
from fastlb.config.effective import effective
from fastlb.config.reader import load, loads
from fastlb.config.warn import warnings

WEB = '[listeners.web]\nbind = "http://127.0.0.1:0"\npool = "p0"\n'


def pools(n: int, keys: Callable[[int], str]) -> str:
    return "".join(
        f'[pools.p{i}]\nservers = ["127.0.0.1:9"]\n{keys(i)}\n' for i in range(n))


TOO_MANY = ", ".join(f'"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:80"' for i in range(65_535))
LARGE = {
    "timeouts": (WEB + pools(300, lambda i: f'connect_timeout = "{1000 + i}ms"'),
                 "more than 255 different timeouts"),
    "servers": (f"{WEB}[pools.p0]\nservers = [{TOO_MANY}]\n", "more than 65534 entries"),
    "fallbacks": (WEB + pools(10_000, lambda i: f'fallback = "p{i + 1}"' if i < 9_999 else ""),
                  "more than 16 pools fall in one after the other"),
    "zone": (f'{WEB}[pools.p0]\nservers = ["[fe80::1%nosuch0]:80"]\n',
             "there is no network interface 'nosuch0' here"),
}


@pytest.mark.parametrize("name", LARGE)
def test_check_and_serve_give_the_same_answer(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message = LARGE[name]
    file = tmp_path / "large.toml"
    file.write_text(text)
    assert run(["check", str(file)]) == 2
    assert message in capsys.readouterr().err

    async def serve() -> None:
        async with fastlb.Balancer(load(file), threads=1):
            pass

    with pytest.raises(fastlb.ConfigError, match=message):
        asyncio.run(serve())


def calls(work: Callable[[], object]) -> int:
    """Functions that are called: a measure of work that no other program changes."""
    n = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal n
        n += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return n


MATCHES = {
    "path": 'match.path = "/a{}/b"', "header": 'match.headers.x-tenant = "t{}"',
    "host": 'match.host = "h{}.example"', "prefix": 'match.path = "/a{}/*"',
}


@pytest.mark.parametrize("kind", MATCHES)
def test_warnings_of_routes_take_work_in_proportion(kind: str) -> None:
    def work(n: int) -> Callable[[], object]:
        config = loads(WEB + pools(1, lambda i: "") + "".join(
            f'[[listeners.web.routes]]\nname = "r{i}"\n{MATCHES[kind].format(i)}\npool = "p0"\n'
            for i in range(n)))
        values = effective(config)
        return lambda: list(warnings(config, values))

    assert calls(work(400)) < 3 * calls(work(200))
