"""Plans that a configuration file names: found at start, and looked for again at a reload."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S
from tests.flow.http.test_plans import user

CONFIG = """
    [rate_limits.users]
    key = "header.x-user"
    limit = "{limit}"
    {plan}
    [listeners.web]
    bind = "http://127.0.0.1:0"
    rate_limit = "users"
    [[listeners.web.routes]]
    name = "all"
    respond = {{ body = "hello" }}
"""


PLAN = 'plan = { call = "quotas_of_users:of", cache_ttl = "1h" }'


def config(limit: str, plan: str = PLAN) -> str:
    return CONFIG.format(limit=limit, plan=plan)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of the module that CONFIG names."""
    file = tmp_path / "quotas_of_users.py"
    file.write_text("def of(key): return '9/d'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield file
    sys.modules.pop("quotas_of_users", None)


async def is_true(what: Callable[[], bool]) -> None:
    deadline_s = asyncio.get_running_loop().time() + DEADLINE_S
    while not what():
        assert asyncio.get_running_loop().time() < deadline_s
        await asyncio.sleep(0.01)           # (between two looks)


def test_plan_of_a_file_survives_reloads_and_ends_with_one(module: Path) -> None:
    async def main() -> None:
        async with fastlb.Balancer(config("4/d"), threads=1) as lb:
            url, users = lb.listeners["web"].url, lb.rate_limits["users"]

            async def left() -> int:
                said = (await client.get(url, **user("ann"))).headers["ratelimit"]
                return int(said.split(";")[1].removeprefix("r="))

            async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
                assert await left() == 3
                await is_true(lambda: users.stats()["answered"] == 1)
                assert await left() == 7            # (of 9)
                await lb.reload(config("2/d"))
                assert await left() == 6
                module.write_text("def of(key): return '100/d'   # (of another size)\n")
                await lb.reload(config("2/d"))
                assert await left() == 5            # (it is asked when its answer is old)
                await lb.reload(config("8/d", plan=""))
                assert await left() == 3            # (four of eight were used, and this one is)
                assert "plans" not in users.stats()

    asyncio.run(main())


def test_reload_without_the_function_changes_nothing(module: Path) -> None:
    async def main() -> None:
        async with fastlb.Balancer(config("4/d"), threads=1) as lb:
            url, users = lb.listeners["web"].url, lb.rate_limits["users"]
            with pytest.raises(fastlb.ConfigError, match=r"rate_limits\.users\.plan.*has no 'off'"):
                await lb.reload(config("2/d", 'plan = "quotas_of_users:off"'))
            async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
                assert (await client.get(url, **user("ann"))).status_code == 200
                await is_true(lambda: users.stats()["answered"] == 1)

    asyncio.run(main())


@pytest.mark.parametrize(("plan", "why"), [
    ('plan = "no_such_module:of"', "there is no module 'no_such_module'"),
    ('plan = "quotas_of_users:no"', "has no 'no'"),
    ('plan = "quotas_of_users"', "is not a function"),
    ('plan = { call = "quotas_of_users:of", cache_ttl = "0s" }', "100ms"),
    ('plan = { call = "quotas_of_users:of", cache = "1s" }', "cache_ttl"),
])
def test_check_finds_what_is_wrong_with_a_plan(
    module: Path, tmp_path: Path, plan: str, why: str
) -> None:
    file = tmp_path / "fastlb.toml"
    file.write_text(config("2/d", plan))
    said = subprocess.run([sys.executable, "-m", "fastlb", "check", str(file)], timeout=DEADLINE_S,
                          capture_output=True, text=True, cwd=tmp_path, check=False)
    assert said.returncode == 2 and why in said.stderr and "Traceback" not in said.stderr


def test_failed_reload_brings_no_older_code_back(module: Path) -> None:
    async def main() -> None:
        async with fastlb.Balancer(config("4/d"), threads=1) as lb:
            url, users = lb.listeners["web"].url, lb.rate_limits["users"]
            module.write_text("def of(key): return '100/d'   # (of another size)\n")
            await lb.reload(config("4/d"))
            with pytest.raises(fastlb.ConfigError, match="no-such-file"):
                await lb.reload('networks.bad = { file = "/no-such-file" }\n' + config("4/d"))
            async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
                await client.get(url, **user("ann"))
                await is_true(lambda: users.stats()["answered"] == 1)
                said = (await client.get(url, **user("ann"))).headers["ratelimit-policy"]
                assert "q=100;" in said

    asyncio.run(main())
