"""Plans: functions that give each key of a rate limit a limit of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx
import pytest

import fastlb
from fastlb.process.runtime import Runtime
from fastlb.testing import TestBalancer
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.test_rate_limits import get, statuses

Quota = Callable[[str], Any]


@pytest.fixture(params=[0, 2], ids=["inline", "threads"])
def made(request: pytest.FixtureRequest) -> Iterator[TestBalancer]:
    with TestBalancer(threads=request.param) as balancer:
        yield balancer


class Plan:
    """A plan whose answers the test says, and the keys that it was called with."""

    def __init__(self, said: Any = None) -> None:
        self.said = said
        self.keys: list[str] = []
        self.waits: threading.Event | None = None

    def __call__(self, key: str) -> Any:
        self.keys.append(key)
        if self.waits is not None:
            assert self.waits.wait(DEADLINE_S)
        if isinstance(self.said, Exception):
            raise self.said
        return self.said.get(key) if isinstance(self.said, dict) else self.said


def site(
    made: TestBalancer, plan: Quota, limit: str = "2/d", ttl: str = "60s", **keys: Any
) -> tuple[fastlb.Listener, fastlb.RateLimit]:
    users = made.balancer.rate_limit("users", limit=limit, **{"key": "header.x-user", **keys})
    users.plan(cache_ttl=ttl)(plan)
    return made.listen(pool=made.pool(servers=[made.origin()]), rate_limit=users), users


def known(users: fastlb.RateLimit, n: int) -> None:
    wait_until(lambda: users.stats()["answered"] + users.stats()["failed"] >= n)


def user(name: str) -> dict[str, Any]:
    return {"headers": {"x-user": name}}


def test_each_key_has_the_limit_that_the_plan_says(made: TestBalancer) -> None:
    web, users = site(made, Plan({"ann": fastlb.Limit("5/d", burst=4), "bob": "3/d"}))
    for name in ("ann", "bob", "cid"):
        assert get(web.url, **user(name)).status_code == 200
    known(users, 3)
    assert statuses(web.url, 5, **user("ann")) == [200] * 3 + [429] * 2
    assert statuses(web.url, 4, **user("bob")) == [200] * 2 + [429] * 2
    assert statuses(web.url, 3, **user("cid")) == [200] + [429] * 2
    stats = users.stats()
    assert (stats["plans"], stats["answered"], stats["failed"], stats["dropped"]) == (3, 3, 0, 0)


def test_async_plan(made: TestBalancer) -> None:
    async def quota(key: str) -> str:
        await asyncio.sleep(0)
        return "3/d"

    web, users = site(made, quota)
    get(web.url, **user("ann"))
    known(users, 1)
    assert statuses(web.url, 3, **user("ann")) == [200, 200, 429]


def test_nobody_waits_for_a_plan(made: TestBalancer) -> None:
    plan = Plan("9/d")
    plan.waits = threading.Event()
    web, users = site(made, plan)
    assert statuses(web.url, 3, **user("ann")) == [200, 200, 429]
    wait_until(lambda: plan.keys == ["ann"])
    assert users.stats()["pending"] == 1
    plan.waits.set()
    known(users, 1)
    assert statuses(web.url, 8, **user("ann")) == [200] * 7 + [429]


def test_units_that_were_used_are_kept_when_the_plan_comes(made: TestBalancer) -> None:
    web, users = site(made, Plan("100/d"), limit="10/d")
    assert statuses(web.url, 5, **user("ann")) == [200] * 5
    known(users, 1)
    assert get(web.url, **user("ann")).headers["ratelimit"].startswith('"users";r=94;')
    assert get(web.url, **user("ann")).headers["ratelimit-policy"] == '"users";q=100;w=86400'


def test_answer_is_good_for_its_time_and_holds_until_the_next(made: TestBalancer) -> None:
    plan = Plan("3/d")
    web, users = site(made, plan, ttl="1h")
    get(web.url, **user("ann"))
    known(users, 1)
    get(web.url, **user("ann"))
    made.clock.advance("59m")
    assert statuses(web.url, 2, **user("ann")) == [200, 429]
    assert plan.keys == ["ann"]
    plan.said, plan.waits = "9/d", threading.Event()
    made.clock.advance("2m")
    assert get(web.url, **user("ann")).status_code == 429        # (by what it said before)
    wait_until(lambda: plan.keys == ["ann"] * 2)
    plan.waits.set()
    known(users, 2)
    assert get(web.url, **user("ann")).status_code == 200


def test_plan_that_fails_changes_nothing_and_is_told_once(
    made: TestBalancer, caplog: pytest.LogCaptureFixture
) -> None:
    plan = Plan(ValueError("the database is down"))
    web, users = site(made, plan)
    get(web.url, **user("ann"))
    known(users, 1)
    made.clock.advance("2s")
    assert statuses(web.url, 2, **user("ann")) == [200, 429]
    known(users, 2)
    lines = [one for one in caplog.records if one.name == "fastlb.policy"]
    assert [one.getMessage() for one in lines] == [
        "plan of rate limit users failed; this is said once"]
    plan.said = "9/d"
    made.clock.advance("2s")
    get(web.url, **user("ann"))
    wait_until(lambda: users.stats()["answered"] == 1)
    assert statuses(web.url, 7, **user("ann")) == [200] * 7


@pytest.mark.parametrize(("said", "why"), [
    (7, "a plan returns a fastlb.Limit, a rate or None, not 7"),
    ("many", "'many' is not a rate"),
    ("1MiB/s", "doesn't fit a limit of requests"),
    (fastlb.Limit("5KiB/s"), "doesn't fit a limit of requests"),
])
def test_answer_that_is_no_limit_is_a_failure(
    made: TestBalancer, caplog: pytest.LogCaptureFixture, said: Any, why: str
) -> None:
    web, users = site(made, Plan(said))
    with caplog.at_level(logging.ERROR):
        get(web.url, **user("ann"))
        known(users, 1)
    assert users.stats()["failed"] == 1
    wait_until(lambda: why in caplog.text.replace('"', "'"))


@pytest.mark.parametrize(("limit", "burst", "why"), [
    ("5/fortnight", None, "not a rate"),
    ("5/d", 0, "not a number of requests"),
    ("5/d", "1KiB", "doesn't fit"),
    ("1KiB/s", 5, "doesn't fit"),
    (5, None, "not a rate"),
])
def test_limit_refuses_what_is_none(limit: Any, burst: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fastlb.Limit(limit, burst)


def test_request_without_the_key_has_the_configured_limit(made: TestBalancer) -> None:
    plan = Plan("9/d")
    web, users = site(made, plan)
    assert statuses(web.url, 3) == [200, 200, 429]
    assert plan.keys == [] and users.stats()["plans"] == 0


def test_plan_by_address_gets_the_address(made: TestBalancer) -> None:
    plan = Plan("9/d")
    web, users = site(made, plan, key="client.ip")
    get(web.url)
    known(users, 1)
    assert plan.keys == ["127.0.0.1"]


def test_plan_by_address_gets_the_network_of_an_ipv6_client(made: TestBalancer) -> None:
    plan = Plan("2/d")
    users = made.balancer.rate_limit("users", limit="9/d", key="client.ip")
    users.plan()(plan)
    web = made.listen(pool=made.pool(servers=[made.origin()]), rate_limit=users,
                      forwarded={"trusted": ["127.0.0.0/8"]})
    get(web.url, headers={"x-forwarded-for": "2001:db8:1:2::7"})
    known(users, 1)
    assert plan.keys == ["2001:db8:1:2::/64"]
    assert [get(web.url, headers={"x-forwarded-for": f"2001:db8:1:2::{i}"}).status_code
            for i in (8, 9)] == [200, 429]


def test_limit_of_bytes(made: TestBalancer) -> None:
    users = made.balancer.rate_limit("users", key="header.x-user", limit="1KiB/d")
    users.plan()(Plan(fastlb.Limit("1MiB/d")))
    web = made.listen(pool=made.pool(servers=[made.origin()]), rate_limit=users)
    with httpx.Client(timeout=DEADLINE_S) as client:
        assert client.post(web.url, content=b"x" * 2048, **user("ann")).status_code == 200
        known(users, 1)
        assert client.post(web.url, content=b"x" * 2048, **user("ann")).status_code == 200
        assert client.post(web.url, content=b"x" * 2048, **user("ann")).status_code == 200


def test_many_invented_keys_cost_no_more_than_places(made: TestBalancer) -> None:
    """4,000 keys while the plan stands still: they have the configured limit, no more than the
    queues hold are asked about, and the rest is counted."""
    plan = Plan("9/d")
    plan.waits = threading.Event()
    web, users = site(made, plan)
    with httpx.Client(timeout=DEADLINE_S) as client:
        for i in range(4000):
            assert client.get(web.url, headers={"x-user": f"u{i}"}).status_code == 200
        stats = users.stats()
        assert stats["pending"] <= 2 * 1024 and stats["dropped"] > 0
        plan.waits.set()
        wait_until(lambda: users.stats()["pending"] == 0)
        made.clock.advance("2s")
        assert client.get(web.url, headers={"x-user": "u3999"}).status_code == 200
    wait_until(lambda: "u3999" in plan.keys)


def test_explain_says_whose_limit_it_is(made: TestBalancer) -> None:
    web, users = site(made, Plan("9/d"))

    def told() -> str:
        return str(made.balancer.explain("GET", web.url, headers={"x-user": "ann"}))

    assert "rate limit users: 2 of 2 left as configured, without a plan" in told()
    assert users.stats()["pending"] == 0        # (explaining asks nobody)
    get(web.url, **user("ann"))
    known(users, 1)
    assert "rate limit users: 8 of 9 left, full again in" in told() and "by its plan" in told()


def test_metrics_count_plans_and_calls() -> None:
    with TestBalancer(admin={"bind": "http://127.0.0.1:0"}) as made:
        _count_one(made)


def _count_one(made: TestBalancer) -> None:
    web, users = site(made, Plan("9/d"))
    get(web.url, **user("ann"))
    known(users, 1)
    text = httpx.get(f"{made.balancer.admin_url}/metrics", timeout=DEADLINE_S).text
    assert 'fastlb_rate_limit_plans{limit="users"} 1\n' in text
    assert 'fastlb_rate_limit_plan_calls_total{limit="users",outcome="answered"} 1\n' in text


def test_balancer_stops_while_a_plan_hangs(made: TestBalancer) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def hangs(key: str) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "9/d"

    web, _ = site(made, hangs)
    assert get(web.url, **user("ann")).status_code == 200
    assert begun.wait(DEADLINE_S)
    made.stop()
    assert ended.wait(DEADLINE_S)


async def leaves_from_a_loop(key: str) -> Any:
    raise SystemExit(3)


def leaves_from_a_thread(key: str) -> Any:
    sys.exit(3)


async def cancels_itself(key: str) -> Any:
    raise asyncio.CancelledError


@pytest.mark.parametrize("plan", [leaves_from_a_loop, leaves_from_a_thread, cancels_itself])
def test_plan_that_leaves_is_a_failure(made: TestBalancer, plan: Quota) -> None:
    web, users = site(made, plan)
    get(web.url, **user("ann"))
    known(users, 1)
    assert users.stats()["failed"] == 1
    assert get(web.url, **user("ann")).status_code == 200


@pytest.mark.parametrize("is_async", [False, True])
def test_plan_that_is_late_is_a_failure_and_keeps_its_place(
    made: TestBalancer, is_async: bool
) -> None:
    go_on = threading.Event()

    def waits(key: str) -> str:
        assert go_on.wait(DEADLINE_S)
        return "9/d"

    async def ignores(key: str) -> str:
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)       # (until the test lets it)
        return "9/d"

    users = made.balancer.rate_limit("users", key="header.x-user", limit="2/d")
    users.plan(deadline="50ms")(ignores if is_async else waits)
    web = made.listen(pool=made.pool(servers=[made.origin()]), rate_limit=users)
    get(web.url, **user("ann"))
    wait_until(lambda: users.stats()["failed"] == 1)
    assert users.stats()["plans"] == 0
    go_on.set()
    wait_until(lambda: users.stats()["pending"] == 0)
    assert get(web.url, **user("ann")).headers["ratelimit"].startswith('"users";r=0;')


def test_value_of_a_query_is_the_same_however_it_is_spelt(made: TestBalancer) -> None:
    plan = Plan({"alice": "9/d"})
    web, users = site(made, plan, key="query.user")
    get(f"{web.url}/?user=%61lice")
    known(users, 1)
    assert plan.keys == ["alice"]
    assert get(f"{web.url}/?user=al%69ce").headers["ratelimit"].startswith('"users";r=7;')


def test_method_of_an_object_stays_the_plan_when_servers_change(made: TestBalancer) -> None:
    class Quotas:
        def __init__(self) -> None:
            self.go_on = threading.Event()

        def of(self, key: str) -> str:
            assert self.go_on.wait(DEADLINE_S)
            return "9/d"

    quotas = Quotas()
    pool = made.pool("app", servers=[made.origin()])
    users = made.balancer.rate_limit("users", key="header.x-user", limit="2/d")
    users.plan()(quotas.of)
    web = made.listen(pool=pool, rate_limit=users)
    get(web.url, **user("ann"))
    wait_until(lambda: users.stats()["pending"] == 1)
    runtime = made.balancer._instance.running()
    assert runtime.loop is not None
    asyncio.run_coroutine_threadsafe(_updated(runtime), runtime.loop).result(DEADLINE_S)
    quotas.go_on.set()
    known(users, 1)
    assert users.stats()["plans"] == 1


async def _updated(runtime: Runtime) -> None:
    runtime.update()


def test_plan_needs_parentheses(made: TestBalancer) -> None:
    users = made.balancer.rate_limit("users", limit="9/d")
    with pytest.raises(TypeError, match="with parentheses"):
        cast(Any, users).plan(Plan())       # (what somebody may write)
