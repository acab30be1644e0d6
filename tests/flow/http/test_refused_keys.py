"""What is seen of refusals: the limit in the log, and the keys that are refused most."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

import fastlb
from fastlb.cli.tables import Rates, refused_keys, tables
from fastlb.observe.metrics import Metrics
from fastlb.observe.refused import shown_key
from fastlb.observe.status import status
from fastlb.testing import TestBalancer
from tests.flow.conftest import wait_until

pytestmark = pytest.mark.plain


@pytest.fixture(params=[0, 2], ids=["inline", "threads"])
def made(request: pytest.FixtureRequest) -> Iterator[TestBalancer]:
    with TestBalancer(threads=request.param) as balancer:
        yield balancer


def site(made: TestBalancer, limit: Any, **keys: Any) -> fastlb.Listener:
    return made.listen(pool=made.pool(servers=[made.origin()]), rate_limit=limit, **keys)


def ask(url: str, n: int, **keys: Any) -> list[int]:
    """A connection for each, so that any engine may take it."""
    return [httpx.get(url, **keys).status_code for _ in range(n)]


def test_log_names_the_limit_that_refused(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with TestBalancer(threads=1, access_log={"path": str(path)}) as made:
        made.balancer.rate_limit("most", limit="1000/h")
        few = made.balancer.rate_limit("few", limit="1/h")
        web = site(made, ["most", few])
        assert ask(web.url, 2) == [200, 429]
        found = {record.status: record for record in made.records}
        assert (found[200].rate_limit, found[429].rate_limit) == ("", "few")
        wait_until(lambda: path.exists() and path.read_text().count("\n") == 2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["reason"], one["rate_limit"]) for one in lines] == [
        ("done", ""), ("rate_limited", "few")]


def test_log_in_a_format_of_ones_own_has_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with TestBalancer(threads=1, access_log={
            "path": str(path), "format": "{status} {rate_limit}"}) as made:
        assert ask(site(made, {"limit": "1/h"}, name="web").url, 2) == [200, 429]
        wait_until(lambda: path.exists() and path.read_text() == "200 -\n429 web/*\n")


def test_log_without_limits_has_no_such_field(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with TestBalancer(threads=1, access_log={"path": str(path)}) as made:
        web = made.listen(pool=made.pool(servers=[made.origin()]))
        assert ask(web.url, 1) == [200]
        wait_until(lambda: path.exists() and path.read_text().count("\n") == 1)
    assert "rate_limit" not in json.loads(path.read_text())


def test_keys_that_are_refused_most_are_shown(made: TestBalancer) -> None:
    users = made.balancer.rate_limit("users", key="header.x-user", limit="1/h")
    web = site(made, users)
    assert users.refused_most() == []
    for i in range(12):
        ask(web.url, i + 1, headers={"x-user": f"u{i}"})
    expected = [{"key": f"u{i}", "refused": i, "over": 0} for i in range(11, 1, -1)]
    assert users.refused_most() == expected
    runtime = made.balancer._instance.running()
    seen = status(runtime)
    assert seen["rate_limits"][0]["refused_most"] == expected
    text = Metrics(runtime).render().decode()
    assert 'fastlb_rate_limit_key_refusals{limit="users",key="u11"} 11\n' in text
    assert text.count("fastlb_rate_limit_key_refusals{") == 10
    console = Console(width=100, record=True, file=io.StringIO())
    for one in tables(seen, Rates(seen), keys_max=3):
        console.print(one)
    shown = console.export_text()
    assert "u11" in shown and "u9" in shown and "u8" not in shown
    assert [key for _, _, key in refused_keys(seen)][:2] == ["u11", "u10"]


def test_reported_keys_are_counted(made: TestBalancer) -> None:
    users = made.balancer.rate_limit("users", key="header.x-user", limit="1/h", report=True)
    assert ask(site(made, users).url, 3, headers={"x-user": "me"}) == [200] * 3
    assert users.refused_most() == [{"key": "me", "refused": 2, "over": 0}]


@pytest.mark.parametrize(("key", "sent", "shown"), [
    ("header.x-user", {"headers": {"x-user": 'a"b\\[red]<i>'}}, 'a"b\\[red]<i>'),
    ("header.x-user", {"headers": {"x-user": b"\xff\xc2\x85\t\xe2\x80\xae"}},
     "\\xff\\x85\\t\\u202e"),
    ("header.x-user", {"headers": {"x-user": "u" * 100}}, "u" * 46),
    ("header.x-user", {}, "127.0.0.1"),
    ("header.authorization", {"headers": {"authorization": "Bearer secret"}}, "Bear"),
    ("header.x-api-key", {"headers": {"x-api-key": "0123456789"}}, "0123"),
    ("cookie.id", {"cookies": {"id": "0123456789"}}, "0123"),
    ("query.q", {"params": {"q": "0123456789"}}, "0123"),
])
def test_key_is_shown_safely(
    made: TestBalancer, key: str, sent: dict[str, Any], shown: str
) -> None:
    limit = made.balancer.rate_limit("some", key=key, limit="1/h")
    assert ask(site(made, limit).url, 2, **sent) == [200, 429]
    assert [one["key"] for one in limit.refused_most()] == [shown]
    text = Metrics(made.balancer._instance.running()).render().decode()
    line = next(one for one in text.splitlines() if one.startswith("fastlb_rate_limit_key_ref"))
    assert line.isprintable() and line.endswith('"} 1')


def test_ipv6_client_is_shown_as_its_site() -> None:
    assert shown_key(b"2001:db8:1:2:3::4", True) == "2001:db8:1:2::/64"
    assert shown_key(b"unix:", True) == "unix:"
    assert shown_key(b"2001:db8::1", False) == "2001:db8::1"


def test_counts_survive_a_reload(made: TestBalancer) -> None:
    users = made.balancer.rate_limit("users", key="header.x-user", limit="1/h")
    web = site(made, users)
    ask(web.url, 3, headers={"x-user": "me"})
    config = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    config["rate_limits"]["users"]["limit"] = "2/h"
    asyncio.run(made.balancer.reload(fastlb.Config.build(config)))
    assert users.refused_most() == [{"key": "me", "refused": 2, "over": 0}]
