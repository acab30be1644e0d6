"""Explanations of a configuration that isn't served."""

from __future__ import annotations

import json
from typing import Any

import pytest

import fastlb
from fastlb.explain.model import Explanation
from fastlb.policy import Forward, Response

POOLS: dict[str, Any] = {
    "api": {"servers": ["10.0.0.1:1", {"address": "10.0.0.2:1", "weight": 3}]},
    "docs": {"balance": "ring_hash", "hash_on": "path.doc", "fallback": "api",
             "servers": ["10.0.1.1:1", "10.0.1.2:1", "10.0.1.3:1"]},
    "gone": {"servers": [{"address": "10.0.2.1:1", "state": "maintenance"}], "fallback": "api"},
    "nobody": {"servers": [{"address": "10.0.3.1:1", "state": "draining"}]},
}
ROUTES: list[dict[str, Any]] = [
    {"name": "premium", "pool": "docs", "match": {
        "host": "*.example", "path": "/docs/{doc}/*", "method": ["POST", "PUT"],
        "headers": {"x-tier": "premium"}, "query": {"old": False}}},
    {"name": "docs", "match": {"path": "/docs/{doc}/*"}, "pool": "docs",
     "rewrite": {"path": "/v2/{path.rest}"}, "request_headers": {"set": {"x-doc": "{path.doc}"}},
     "response_headers": {"set": {"x-route": "{route}"}},
     "mirror": {"pool": "api", "share": "10%"}},
    {"name": "model", "match": {"path": "/model", "json": {"model": "large"}}, "pool": "api"},
    {"name": "old", "match": {"path": "/old/*"}, "redirect": {"to": "/new/{path.rest}"}},
    {"name": "teapot", "match": {"path": "/tea"}, "respond": {"status": 418}},
    {"name": "canary", "match": {"path": "/canary"}, "split": {"api": 95, "docs": 5, "gone": 0}},
    {"name": "split", "match": {"path": "/split"}, "split": {"api": 50, "docs": 50},
     "split_on": "cookie.user"},
    {"name": "gone", "match": {"path": "/gone"}, "pool": "gone"},
    {"name": "nobody", "match": {"path": "/nobody"}, "pool": "nobody"},
    {"name": "near", "match": {"path": "/near", "client_ip": "10.0.0.0/8"}, "pool": "api"},
]


def balancer(**listener: Any) -> fastlb.Balancer:
    return fastlb.Balancer(fastlb.Config.build({
        "listeners": {
            "web": {"bind": "http://127.0.0.1:8080", "routes": ROUTES, **listener},
            "edge": {"bind": "tcp://127.0.0.1:9000", "pool": "api"},
        },
        "pools": POOLS,
    }))


def explained(url: str, *headers: str, method: str = "GET", **keys: Any) -> Explanation:
    pairs = [tuple(header.split(": ", 1)) for header in headers]
    return balancer().explain(method, url, headers=pairs, **keys)   # type: ignore[arg-type]


def against(explanation: Explanation, route: str) -> tuple[str, ...]:
    return next(tried.reasons for tried in explanation.routes if tried.name == route)


def test_each_route_says_all_that_speaks_against_it() -> None:
    said = explained("/docs/7/x?old=1", "Host: b.other", "X-Tier: free")
    assert said.route == "docs"
    assert against(said, "premium") == (
        'host is "b.other", not "*.example"', "method is GET, not POST or PUT",
        'header x-tier is "free", not "premium"', "query old is there")
    assert against(said, "teapot") == ('path is "/docs/7/x", not "/tea"',)
    assert against(said, "near") == (
        'path is "/docs/7/x", not "/near"', "client is 127.0.0.1, of none of 10.0.0.0/8")
    assert against(said, "docs") == ()


def test_what_is_absent_is_said_to_be() -> None:
    said = explained("/docs/7/x", "Host: a.example", method="POST")
    assert against(said, "premium") == ("header x-tier is absent",)


def test_a_route_that_fits_and_comes_later_is_said_to() -> None:
    said = explained("/docs/7/x", "Host: a.example", "X-Tier: premium", method="PUT")
    assert said.route == "premium"
    assert [(r.name, r.outcome) for r in said.routes if r.outcome != "no"] == [
        ("premium", "taken"), ("docs", "later")]
    assert against(said, "docs") == ("it fits, but premium comes before",)


def test_a_body_is_looked_at() -> None:
    kind = "Content-Type: application/json"
    said = explained("/model", kind, method="POST", body='{"model": "large"}')
    assert (said.route, said.pool) == ("model", "api")
    said = explained("/model", kind, method="POST", body='{"model": "small"}')
    assert said.route is None
    assert against(said, "model") == ('json model is "small", not "large"',)


def test_a_key_a_server_and_what_that_gets() -> None:
    said = explained("/docs/%37/a/./b")
    assert said.path == "/docs/7/a/b"
    assert said.segments == (("doc", "7"), ("rest", "a/b"))
    (pool,) = said.pools
    assert pool.key is not None
    assert (pool.key.on, pool.key.value, pool.key.missing) == ("path.doc", "7", False)
    assert pool.key.hash == 0x6ABF4A82
    assert pool.certain and pool.pick == said.server
    assert [one.share for one in said.candidates if one.address == said.server] == [1.0]
    assert said.sent.splitlines()[0] == "GET /v2/a/b HTTP/1.1"
    assert "X-Forwarded-For: 127.0.0.1" in said.sent.splitlines()
    assert "x-doc: 7" in said.sent.splitlines()
    assert said.response_headers == (("x-route", "docs"),)
    assert said.services == ("0.1 of the requests are copied to pool api",)
    assert pool.fallbacks == ("api",)


def test_a_missing_key_is_the_clients_address() -> None:
    said = explained("/canary")
    (docs,) = (pool for pool in said.pools if pool.name == "docs")
    assert docs.key is not None and docs.key.missing
    assert docs.pick == balancer().explain("GET", "/canary", client="127.0.0.1").pools[1].pick


def test_weights_are_shares() -> None:
    said = explained("http://localhost:9000", listener="edge")
    assert (said.mode, said.pool) == ("tcp", "api")
    assert [(one.address, one.share) for one in said.candidates] == [
        ("10.0.0.1:1", 0.25), ("10.0.0.2:1", 0.75)]
    assert not said.pools[0].certain


def test_answers_of_our_own() -> None:
    said = explained("/old/a/b")
    assert said.answer is not None
    assert (said.action, said.answer.status, said.answer.location) == (
        "redirect", 302, "/new/a/b")
    said = explained("/tea")
    assert said.answer is not None
    assert (said.action, said.answer.status, said.pools) == ("respond", 418, ())
    said = explained("/none")
    assert said.answer is not None and said.route is None
    assert (said.answer.status, said.answer.reason) == (404, "no_route")


def test_a_split_by_chance_has_all_its_pools() -> None:
    said = explained("/canary")
    assert [(pool.name, pool.share) for pool in said.pools] == [("api", 0.95), ("docs", 0.05)]
    assert said.pool is None and said.server is None
    assert len(said.candidates) == 5


def test_a_split_by_a_key_has_one() -> None:
    found = {explained("/split", f"Cookie: user={i}").pool for i in range(20)}
    assert found == {"api", "docs"}
    said = explained("/split", "Cookie: user=7")
    assert said.split is not None and said.split.key is not None
    assert said.split.key.value == "7"


def test_another_pool_falls_in() -> None:
    said = explained("/gone")
    (pool,) = said.pools
    assert (pool.name, pool.picked_in) == ("gone", "api")
    assert pool.candidates[-1].state == "maintenance" and pool.candidates[-1].share == 0


def test_nobody_is_there() -> None:
    said = explained("/nobody")
    assert said.server is None
    assert said.pools[0].why_none == "no server can be had"
    assert said.pools[0].candidates[0].state == "draining"


@pytest.mark.parametrize(("url", "headers", "status", "rule"), [
    ("/a/../../b", (), 400, "path-climbs"),
    ("/%zz", (), 400, "path-escapes"),
    ("/a b", (), 400, "target-bytes"),
    ("/", ("Host: a", "Host: b"), 400, "two-hosts"),
    ("/", ("Content-Length: 1", "Transfer-Encoding: chunked"), 400, "length-and-coding"),
    ("/" + "a" * 9000, (), 414, "long-target"),
    ("/", tuple(f"x-{i}: y" for i in range(120)), 431, "many-fields"),
    ("/", ("Expect: cake",), 417, "expect"),
])
def test_a_refused_request_names_its_rule(
    url: str, headers: tuple[str, ...], status: int, rule: str
) -> None:
    said = explained(url, *headers)
    assert said.answer is not None and said.action == "refuse"
    assert said.answer.status == status
    assert rule in said.answer.rule
    assert said.pools == () and said.route is None and said.routes == ()


@pytest.mark.parametrize(("url", "keys", "words"), [
    ("docs", {}, "neither a URL"),
    ("ftp://localhost/a", {}, "ftp:// is not spoken here. One of: http, https, tcp, tls, udp"),
    ("/a\r\nx: y", {}, "control characters"),
    ("/", {"headers": {"a": "b\r\nc: d"}}, "line end"),
    ("/", {"headers": [("a", 7)]}, "not a header field's"),
    ("/", {"client": "me"}, "not an IP address"),
    ("/", {"listener": "none"}, "there is no listener 'none'; there are: web, edge"),
    ("/", {"method": "GE\nT"}, "line end"),
])
def test_what_is_no_request_is_an_error(url: str, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        balancer().explain(**{"method": "GET", "url": url, **keys})


def test_the_url_says_the_listener() -> None:
    assert explained("http://localhost:8080/").listener == "web"
    assert explained("tcp://localhost:9000").listener == "edge"
    assert explained("http://localhost:9000/").listener == "edge"
    assert explained("ws://localhost:8080/").listener == "web"
    assert explained("wss://example.com/").listener == "web"
    assert explained("http://example.com/").chosen_by == "the only one that speaks http"


def test_proxies_that_are_trusted_name_the_client() -> None:
    trusting = balancer(forwarded={"trusted": ["192.0.2.0/24"]})
    said = trusting.explain("GET", "/near", client="192.0.2.1",
                            headers={"X-Forwarded-For": "10.0.0.7, 192.0.2.9"})
    assert said.trusted and said.client_ip == "10.0.0.7" and said.route == "near"
    said = trusting.explain("GET", "/near", client="192.0.3.1",
                            headers={"X-Forwarded-For": "10.0.0.7"})
    assert not said.trusted and said.client_ip == "192.0.3.1" and said.route is None


def test_json_holds_all_of_it() -> None:
    for url in ("/docs/7/x", "/canary", "/split", "/old/x", "/gone", "/a/../../b", "/none"):
        said = explained(url)
        data = json.loads(json.dumps(said.as_json()))
        assert Explanation.from_json(data) == said


@pytest.mark.parametrize("change", [{"routes": 7}, {"pools": [{}]}, {"listener": None}])
def test_json_of_something_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an explanation"):
        Explanation.from_json({**explained("/").as_json(), **change})
    with pytest.raises(ValueError, match="not an explanation"):
        Explanation.from_json({})


def test_it_reads_as_a_tree() -> None:
    lines = str(explained("/docs/7/x", "Host: h")).splitlines()
    assert lines[0] == "GET /docs/7/x"
    assert "├── listener web (the only one that speaks http)" in lines
    assert any(line.endswith("doc = 7") for line in lines)
    assert any("picked: 10.0.1." in line for line in lines)
    assert str(explained("/[bold]x")).splitlines()[0] == "GET /[bold]x"


# --- policies ---


def asked(function: Any, call: bool = True, **keys: Any) -> Explanation:
    lb = fastlb.Balancer()
    lb.pool("api", ["10.0.0.1:1"])
    lb.pool("docs", ["10.0.1.1:1", "10.0.1.2:1"], balance="maglev", hash_on="header.x-user")
    web = lb.listen("http://127.0.0.1:0", name="web", pool="api")
    web.route("/t/{tenant}/*", name="tenants", **keys)(function)
    return lb.explain("GET", "/t/7/x", headers={"x-user": "ann"}, call_policy=call)


def test_a_policy_is_not_called_unless_asked() -> None:
    calls = []
    said = asked(calls.append, call=False)
    assert calls == []
    assert said.policy is not None and not said.policy.asked
    assert (said.route, said.pool) == ("tenants", "api")


def test_what_a_policy_says_counts() -> None:
    def by_tenant(request: fastlb.Request) -> str:
        return {"7": "docs"}[request.path_params["tenant"]]

    said = asked(by_tenant)
    assert said.policy is not None and said.policy.asked
    assert said.policy.call.endswith("by_tenant") and said.policy.said == "said 'docs'"
    assert (said.action, said.pool) == ("policy", "docs")
    assert said.pools[0].key is not None and said.pools[0].key.value == "ann"


def test_an_async_policy_is_awaited() -> None:
    async def decide(request: fastlb.Request) -> Response:
        return Response(401, json={"error": "who?"})

    said = asked(decide)
    assert said.answer is not None
    assert (said.action, said.answer.status, said.answer.rule) == (
        "respond", 401, "the policy says so")


def test_a_policy_that_names_no_pool_leaves_it_to_the_route() -> None:
    said = asked(lambda request: Forward(headers={"x-tenant": "7"}))
    assert (said.action, said.pool) == ("pool", "api")


def test_a_policy_that_fails() -> None:
    said = asked(lambda request: 1 / 0)
    assert said.policy is not None and "ZeroDivisionError" in said.policy.said
    assert said.answer is not None and said.answer.reason == "policy_failed"
    assert asked(lambda request: 7, on_error="docs").pool == "docs"
