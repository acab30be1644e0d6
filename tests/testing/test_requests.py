"""A policy alone, with a request that nobody sent."""

from __future__ import annotations

from typing import Any

import pytest

import fastlb
from fastlb.policy import Proxied
from fastlb.testing import request

lb = fastlb.Balancer()
api, docs = lb.pool("api", ["127.0.0.1:1"]), lb.pool("docs", ["127.0.0.1:2"])
web = lb.listen("http://127.0.0.1:0", pool=api)


@web.route("/sync/{doc_id}")
def by_tier(request: fastlb.Request) -> fastlb.Decision:
    return docs if request.headers.get("x-user-tier") == "premium" else api


@web.route("/t/{tenant}/*", name="tenants")
async def by_tenant(request: fastlb.Request) -> fastlb.Decision:
    return docs if request.path_params["tenant"] == "premium" else None


def test_a_policy_alone() -> None:
    assert by_tier(request("GET", "/sync/1", headers={"X-User-Tier": "premium"})) is docs
    assert by_tier(request("GET", "/sync/1", headers={"x-user-tier": "free"})) is api
    assert by_tier(request("GET", "/sync/1")) is api


def test_segments_come_from_the_route() -> None:
    assert request("GET", "/sync/7", route=by_tier).path_params == {"doc_id": "7"}
    assert request("GET", "/t/a/b/c", route=by_tenant).path_params == {"tenant": "a"}
    assert request("GET", "/t/a", route=by_tenant).path_params == {"tenant": "a"}
    assert request("GET", "/a/b", route="/{x}/{y}").path_params == {"x": "a", "y": "b"}
    assert request("GET", "/a/b", path_params={"z": "1"}).path_params == {"z": "1"}
    assert request("GET", "/a/b").path_params == {}


def test_it_is_all_there() -> None:
    made = request(
        "POST", "https://www.example.com:8443/a//b?x=1&x=2&y=%20", json={"k": [1]},
        headers=[("X-A", "1"), ("x-a", "2")], cookies={"user": "7", "beta": "1"},
        client="10.1.2.3", listener="web",
    )
    assert (made.method, made.path, made.query, made.scheme) == (
        "POST", "/a/b", "x=1&x=2&y=%20", "https")
    assert (made.host, made.authority) == ("www.example.com", "www.example.com:8443")
    assert made.url == "https://www.example.com:8443/a/b?x=1&x=2&y=%20"
    assert made.headers["X-a"] == "1" and made.headers.getlist("x-A") == ["1", "2"]
    assert made.headers["content-length"] == "10" and made.json() == {"k": [1]}
    assert made.cookies == {"user": "7", "beta": "1"}
    assert made.query_params == {"x": "1", "y": " "}
    assert made.client == ("10.1.2.3", 50_000) and made.listener == "web"
    assert request("GET", "/").host == "testserver"
    assert request("GET", "/", headers={"Host": "b.example"}).host == "b.example"
    assert request("PUT", "/", body="é", client=("::1", 9)).body == b"\xc3\xa9"


@pytest.mark.parametrize(
    ("method", "url", "keys", "says"),
    [
        ("GET", "sync/1", {}, "'sync/1' is not a path like /docs/1"),
        ("GET", "/a#b", {}, "is not a path"),
        ("GET", "/a b", {}, "not a request"),
        ("GE T", "/", {}, "not a request"),
        ("GET", "/../..", {}, "not a request"),
        ("GET", "/", {"headers": {"a": "b\r\nc: d"}}, "a line break"),
        ("GET", "/", {"headers": {"a b": "c"}}, "not a request"),
        ("GET", "/other/1", {"route": by_tier}, "'/other/1' doesn't match the route's '/sync/"),
        ("GET", "/sync/1/2", {"route": by_tier}, "doesn't match"),
        ("GET", "/", {"route": print}, "has no route with a path"),
    ],
)
def test_what_no_client_could_send(method: str, url: str, keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        request(method, url, **keys)


def test_what_a_proxy_told() -> None:
    assert request("GET", "/").proxy is None
    proxy = Proxied(authority="a.example", dst="[2001:db8::1]:443")
    made = request("GET", "/", proxy=proxy)
    assert made.proxy == proxy
    assert (proxy.unique_id, proxy.alpn, proxy.vpce) == ("", "", "")


def test_what_tls_knows() -> None:
    assert request("GET", "/").tls is None
    tls = fastlb.Tls(client_subject="CN=gateway")
    made = request("GET", "/", tls=tls)
    assert made.tls == tls
    assert (tls.sni, tls.version, tls.client_fingerprint) == ("", "TLSv1.3", "")
