"""What is said about policies in a configuration, and about functions that can't be found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb.config.effective import effective
from fastlb.process.functions import find

POOLS = {"p": {"servers": ["127.0.0.1:1"]}, "q": {"servers": ["127.0.0.1:2"]}}
FUNCTION = ' is not a function; write it like "my_module:by_tenant"'


def by_nothing(request: fastlb.Request) -> None:
    return None


def build(policy: Any, scheme: str = "http", **route: Any) -> fastlb.Config:
    listener: dict[str, Any] = {"bind": f"{scheme}://127.0.0.1:0", "pool": "p"}
    if scheme == "http":
        listener["routes"] = [{"name": "r", "policy": policy, **route}]
    else:
        listener["policy"] = policy
    return fastlb.Config.build({"pools": POOLS, "listeners": {"l": listener}})


def test_the_short_form_has_the_defaults() -> None:
    (listener,) = effective(build("a.b:c.d")).listeners
    assert listener.http is not None
    policy = listener.http.routes[0].policy
    assert policy is not None
    assert (policy.call, policy.deadline_ms, policy.on_error, policy.cache_on, policy.blocking,
            policy.pending_max, policy.body_bytes) == ("a.b:c.d", 1000, "", "", False, 1000, 0)


def test_a_function_itself_can_be_given() -> None:
    (listener,) = effective(build(by_nothing, "tcp")).listeners
    assert listener.policy is not None
    assert (listener.policy.call, listener.policy.first_bytes, listener.policy.first_ms) == (
        by_nothing, 0, 200)


@pytest.mark.parametrize(
    ("policy", "scheme", "message"),
    [
        ("nonsense", "http", "routes[0].policy: 'nonsense'" + FUNCTION),
        (5, "http", "routes[0].policy: 5" + FUNCTION),
        ("a:b:c", "tcp", "listeners.l.policy: 'a:b:c'" + FUNCTION),
        ({}, "http", "routes[0].policy.call: this key is missing"),
        ({"call": "a:b", "deadline": 5}, "http", "routes[0].policy.deadline: 5 has no unit; write"),
        ({"call": "a:b", "deadline": "0s"}, "http",
         "routes[0].policy.deadline: '0s' is not from 1ms to 1h"),
        ({"call": "a:b", "on_error": "x"}, "http", "routes[0].policy.on_error: there is no pool"),
        ({"call": "a:b", "on_error": "x"}, "tcp", "listeners.l.policy.on_error: there is no pool"),
        ({"call": "a:b", "cache_on": "client"}, "http",
         "routes[0].policy.cache_on: 'client' is not a part of a request. One of: client.ip,"),
        ({"call": "a:b", "cache_on": "path.id"}, "http",
         "routes[0].policy.cache_on: path.id is not a segment of this route"),
        ({"call": "a:b", "cache_ttl": "5s"}, "http",
         "routes[0].policy.cache_ttl: cache_ttl belongs to cache_on, and there is none"),
        ({"call": "a:b", "max_pending": 0}, "http", "routes[0].policy.max_pending: 0 is out of"),
        ({"call": "a:b", "body": "1MiB"}, "http",
         "routes[0].policy.body: '1MiB' is not from 0B to 64KiB"),
        ({"call": "a:b", "first_bytes": "1KiB"}, "http",
         "routes[0].policy.first_bytes: first_bytes belongs to the policy of a tcp listener"),
        ({"call": "a:b", "body": "1KiB"}, "tcp",
         "listeners.l.policy.body: body belongs to the policy of an http route"),
        ({"call": "a:b", "cache_on": "header.a"}, "tcp",
         "listeners.l.policy.cache_on: cache_on belongs to the policy of an http route"),
        ({"call": "a:b", "dedline": "1s"}, "http", "did you mean 'deadline'?"),
    ],
)
def test_what_is_wrong_is_said(policy: Any, scheme: str, message: str) -> None:
    with pytest.raises(fastlb.ConfigError) as caught:
        build(policy, scheme)
    assert message in str(caught.value)


def test_beside_a_policy_there_is_a_pool_or_a_split_or_nothing() -> None:
    build("a:b", pool="q")
    build("a:b", split={"p": 1, "q": 1})
    with pytest.raises(fastlb.ConfigError, match=r"redirect can't be beside it"):
        build("a:b", redirect="/x")


def test_an_http_listener_has_no_policy_of_its_own() -> None:
    with pytest.raises(fastlb.ConfigError, match=r"listeners\.l\.policy: the policy of an http li"):
        fastlb.Config.build({"pools": POOLS, "listeners": {
            "l": {"bind": "http://127.0.0.1:0", "pool": "p", "policy": "a:b"}}})


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the working directory."""
    (tmp_path / "some_policies.py").write_text(
        "number = 5\n\nclass Of:\n    @staticmethod\n    def tier(request): ...\n\n"
        "def two(a, b): ...\n\nasync def later(request): ...\n"
    )
    (tmp_path / "broken_policies.py").write_text("1 / 0\n")
    (tmp_path / "needy_policies.py").write_text("import not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return "some_policies"


def test_a_function_is_found_by_its_name(module: str) -> None:
    assert find(f"{module}:Of.tier", "x").__name__ == "tier"


@pytest.mark.parametrize(
    ("call", "blocking", "message"),
    [
        ("nowhere_at_all:f", False, "x: nowhere_at_all:f: there is no module 'nowhere_at_all';"
         " it has to be installed, in the working directory or beside the configuration file"),
        ("needy_policies:f", False, "x: needy_policies:f: there is no module 'not_there'"),
        ("broken_policies:f", False, "x: broken_policies:f: broken_policies can't be imported:"
         " ZeroDivisionError('division by zero')"),
        ("some_policies:f", False, "x: some_policies:f: some_policies (FILE) has no 'f'"),
        ("some_policies:number", False, "x: some_policies:number is no function"),
        ("some_policies:two", False, "x: some_policies:two can't be called with one argument, the"
         " request or connection"),
        ("some_policies:later", True, "x.blocking: some_policies:later is an async function, which"
         " doesn't block: leave it out"),
    ],
)
def test_what_can_not_be_called_is_said(
    module: str, call: str, blocking: bool, message: str
) -> None:
    with pytest.raises(fastlb.ConfigError) as caught:
        find(call, "x", blocking)
    file = str(sys.modules["some_policies"].__file__) if "FILE" in message else ""
    assert str(caught.value) == message.replace("FILE", file)


def test_a_route_that_is_added_is_checked_at_once() -> None:
    lb = fastlb.Balancer()
    web = lb.listen("http://127.0.0.1:0", name="web", pool=lb.pool("p", ["127.0.0.1:1"]))
    with pytest.raises(fastlb.ConfigError, match=r"dedline"):
        web.route("/x", dedline="5s")(by_nothing)
    with pytest.raises(fastlb.ConfigError, match=r"'x' is not a path"):
        web.route("x")(by_nothing)
    assert web.route("/x")(by_nothing) is by_nothing
    web.route("/y")(by_nothing)
    assert [route.name for route in lb.config.listeners["web"].routes] == [
        "by_nothing", "by_nothing-2"]


def test_a_tcp_listener_tells_connections_apart_and_no_requests() -> None:
    lb = fastlb.Balancer()
    tcp = lb.listen("tcp://127.0.0.1:0", name="l", pool=lb.pool("p", ["127.0.0.1:1"]))
    with pytest.raises(fastlb.ConfigError, match="path is for HTTP only, and bind is tcp://"):
        tcp.route("/x")(by_nothing)
    assert tcp.route(first_bytes="1KiB")(by_nothing) is by_nothing
    assert tcp.route(match={"protocol": "mqtt"}, first_bytes="64B")(by_nothing) is by_nothing
    listener = lb.config.listeners["l"]
    assert listener.policy is not None and listener.policy.first_bytes == "1KiB"
    assert [route.name for route in listener.routes] == ["by_nothing"]
