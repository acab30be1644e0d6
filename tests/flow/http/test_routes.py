"""Routes: what is matched, in which order, and what is done then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import Site
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, get

pytestmark = pytest.mark.h2

Origins = Callable[..., HttpOrigin]


@pytest.fixture
def routed(site: Callable[..., Site], origins: Origins) -> Callable[..., HttpSite]:
    """Makes a site with routes; each pool has one origin, which says the pool's name."""

    def make(*routes: dict[str, Any], pool: str | None = None, **keys: Any) -> HttpSite:
        names = {r["pool"] for r in routes if "pool" in r}
        names |= {name for r in routes for name in r.get("split", {})} | ({pool} if pool else set())
        pools = {
            name: {"servers": [origins(name=name).address], **keys.pop(f"{name}_pool", {})}
            for name in sorted(names)
        }
        listener = {"bind": "http://127.0.0.1:0", "routes": list(routes), **keys}
        if pool:
            listener["pool"] = pool
        config = fastlb.Config.build({"listeners": {"l": listener}, "pools": pools})
        return HttpSite(site([], config=config))

    return make


def who(site: HttpSite, path: str = "/", *fields: str, method: str = "GET") -> str:
    got = site.ask(get(path, *fields, method=method))
    return got.body.decode().split(" ")[0] if got.status == 200 else str(got.status)


def route(name: str, **match: Any) -> dict[str, Any]:
    return {"name": name, "match": match, "pool": name}


def test_a_route_for_networks_of_clients(routed: Callable[..., HttpSite]) -> None:
    site = routed(
        route("inside", path="/admin/*", client_ip=["10.0.0.0/8", "2001:db8::/32"]),
        route("loopback", path="/admin/*", client_ip="127.0.0.0/8",
              **{"not": {"client_ip": ["10.1.0.0/16", "127.0.0.9/32"]}}),
        forwarded={"trusted": ["127.0.0.1/32"]}, pool="any",
    )
    assert who(site, "/admin/x") == "loopback"
    assert who(site, "/admin/x", "X-Forwarded-For: 10.1.2.3") == "inside"
    assert who(site, "/admin/x", "X-Forwarded-For: 2001:db8:0::7") == "inside"
    assert who(site, "/admin/x", "X-Forwarded-For: 2001:db9::7") == "any"
    assert who(site, "/admin/x", "X-Forwarded-For: 11.0.0.1") == "any"
    assert who(site, "/admin/x", "X-Forwarded-For: 127.0.0.9") == "any"
    assert who(site, "/admin/x", "X-Forwarded-For: 127.0.0.8") == "loopback"


def test_the_most_specific_is_taken_whatever_the_order_of_writing(
    routed: Callable[..., HttpSite],
) -> None:
    site = routed(
        route("any"),
        route("regex", path_regex="/docs/[a-z]+"),
        route("prefix", path="/docs/*"),
        route("longer", path="/docs/x/*"),
        route("named", path="/docs/{id}"),
        route("exact", path="/docs/x"),
        route("post", path="/docs/x", method="POST"),
        route("flag", path="/docs/x", headers={"x-flag": True}),
        route("host", host="a.test"),
        route("below", host="*.b.test"),
        route("deeper", host="*.a.b.test"),
    )
    assert who(site) == "any"
    assert who(site, "/docs") == "prefix"
    assert who(site, "/docs/1/2") == "prefix"
    assert who(site, "/docs/x/y") == "longer"
    assert who(site, "/docs/1") == "named"
    assert who(site, "/docs/x") == "exact"
    assert who(site, "/docs/x", method="POST") == "post"
    assert who(site, "/docs/x", "X-Flag: 1") == "flag"

    def host(name: str) -> str:
        got = site.ask(f"GET /docs/x HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        return got.body.decode().split(" ")[0]

    assert host("A.test:8080") == "host"
    assert host("x.b.test") == "below"
    assert host("x.a.b.test") == "deeper"
    assert host("b.test") == "exact"


@pytest.mark.parametrize(
    ("match", "request_line", "fields", "fits"),
    [
        ({"query": {"a": "1"}}, "/?x=2&a=1", (), True),
        ({"query": {"a": "1"}}, "/?a=12", (), False),
        ({"query": {"a": True}}, "/?a", (), True),
        ({"query": {"a": False}}, "/?b=1", (), True),
        ({"query": {"a": False}}, "/?a=1", (), False),
        ({"cookies": {"t": "v"}}, "/", ("Cookie: x=y; t=v",), True),
        ({"cookies": {"t": "v"}}, "/", ("Cookie: t=vv",), False),
        ({"headers": {"X-A": {"prefix": "ab"}}}, "/", ("x-a: abc",), True),
        ({"headers": {"x-a": {"suffix": "bc"}}}, "/", ("X-A: abc",), True),
        ({"headers": {"x-a": {"contains": "b"}}}, "/", ("X-A: abc",), True),
        ({"headers": {"x-a": {"regex": "^a.c$"}}}, "/", ("X-A: abc",), True),
        ({"headers": {"x-a": {"regex": "^a.c$"}}}, "/", ("X-A: abcd",), False),
        ({"headers": {"x-a": "b"}}, "/", ("X-A: a", "X-A: b"), True),
        ({"not": {"headers": {"x-a": "b"}}}, "/", (), True),
        ({"not": {"headers": {"x-a": "b"}}}, "/", ("X-A: b",), False),
        ({"not": {"path": "/p/{x}"}}, "/p/1", (), False),
        ({"not": {"path": "/p/{x}"}}, "/p/1/2", (), True),
        ({"not": {"path_regex": "/[0-9]+"}}, "/12", (), False),
        ({"not": {"method": ["GET", "HEAD"]}}, "/", (), False),
        ({"not": {"host": "site.test"}}, "/", (), False),
        ({"not": {"host": "*.site.test"}}, "/", (), True),
        ({"not": {"query": {"a": True}}}, "/?a=", (), False),
        ({"method": ["PUT", "GET"]}, "/", (), True),
        ({"path_regex": "/(a|b)+"}, "/abba", (), True),
        ({"path_regex": "/(a|b)+"}, "/abbac", (), False),
    ],
)
def test_conditions(
    routed: Callable[..., HttpSite], match: dict[str, Any], request_line: str,
    fields: tuple[str, ...], fits: bool,
) -> None:
    site = routed(route("there", **match), pool="else")
    assert who(site, request_line, *fields) == ("there" if fits else "else")


def test_without_a_route_or_pool_there_is_nothing(routed: Callable[..., HttpSite]) -> None:
    site = routed(route("a", path="/a"))
    got = site.ask(get("/b", "Accept: application/json"))
    assert (got.status, got["content-type"]) == (404, "application/json")
    assert got.body == b'{"status":404,"error":"Not Found"}\n'
    assert got["x-fastlb-error"] == "no_route"
    client = site.client()              # and the connection goes on
    for _ in range(3):
        client.send(get("/b", "Content-Length: 3", method="POST") if False else get("/b"))
        assert client.response().body == b"404 Not Found\n"


def test_many_routes_are_told_apart(routed: Callable[..., HttpSite]) -> None:
    routes = [
        {"name": f"r{i}", "match": {"path": f"/r{i}/{{x}}"}, "respond": {"body": f"r{i}"}}
        for i in range(300)
    ]
    site = routed(*routes)
    client = site.client()
    for i in range(0, 300, 7):
        client.send(get(f"/r{i}/y"))
        assert client.response().body == f"r{i}".encode()


def test_answers_of_its_own(routed: Callable[..., HttpSite]) -> None:
    site = routed(
        {"name": "old", "match": {"path": "/old/*"},
         "redirect": {"to": "https://new.test/{path.rest}?from={request.host}", "status": 308}},
        {"name": "made", "match": {"path": "/made"},
         "respond": {"status": 418, "body": "{}", "content_type": "application/json",
                     "headers": {"x-a": "b"}}},
        {"name": "none", "match": {"path": "/none"}, "respond": {"status": 204}},
    )
    client = site.client()
    client.send(get("/old/a/b") + get("/made") + get("/made", method="HEAD") + get("/none"))
    got = client.response()
    assert (got.status, got["location"]) == (308, "https://new.test/a/b?from=site.test")
    got = client.response()
    assert (got.status, got.body, got["content-type"], got["x-a"]) == (
        418, b"{}", "application/json", "b")
    assert client.response("HEAD")["content-length"] == "2"
    assert client.response().status == 204


def test_an_answer_of_its_own_to_a_body_that_it_is_owed(routed: Callable[..., HttpSite]) -> None:
    site = routed({"name": "no", "respond": {"status": 403}})
    client = site.client()
    client.send(get("/", "Content-Length: 100000", method="POST") + b"x" * 50000)
    assert client.response().status == 403
    assert client.some() == b""


def test_paths_and_hosts_are_rewritten_and_fields_edited(
    routed: Callable[..., HttpSite], origins: Origins
) -> None:
    seen: list[Message] = []

    site = routed(
        {
            "name": "docs", "match": {"path": "/docs/{id}/*"}, "pool": "docs",
            "rewrite": {"path": "/v2/{path.rest}", "host": "{path.id}.internal"},
            "request_headers": {
                "set": {"x-doc": "{path.id} {{}} {query.q} {cookie.c} {header.x-in}"},
                "add": {"x-more": "{route} {request.method} {request.path} {client.ip}"},
                "remove": ["x-gone"],
            },
            "response_headers": {
                "set": {"server": "us"}, "add": {"x-doc": "{path.id}"}, "remove": ["x-secret"],
            },
        },
    )
    runtime = site.site.balancer._instance.runtime
    assert runtime is not None
    del seen
    got = site.ask(get("/docs/7/a/b?q=1", "X-In: in", "Cookie: c=3", "X-Gone: 1", "X-Doc: fake"))
    assert got.body.startswith(b"docs GET /v2/a/b?q=1 HTTP/1.1")
    assert got["server"] == "us" and got["x-doc"] == "7"


def test_what_servers_get_of_edits(web: Callable[..., HttpSite], origins: Origins) -> None:
    origin = origins()
    site = web(
        [origin.address],
        routes=[{
            "name": "r", "pool": "pool", "match": {"path": "/{id}"},
            "request_headers": {"set": {"X-Doc": "{path.id}{{}}", "x-none": "{query.none}"},
                                "add": {"x-more": "{route} {request.method} {client.ip}"},
                                "remove": ["x-gone"]},
        }],
    )
    site.ask(get("/7", "X-Gone: 1", "x-doc: fake", "X-More: mine"))
    request = origin.requests[0]
    assert request["x-doc"] == "7{}"
    assert request["x-none"] == ""
    assert request.all("x-more") == ["mine", "r GET 127.0.0.1"]
    assert "x-gone" not in request


def test_a_split_by_chance_and_one_that_stays(routed: Callable[..., HttpSite]) -> None:
    site = routed(
        {"name": "chance", "match": {"path": "/c"}, "split": {"a": 80, "b": 20}},
        {"name": "sticky", "match": {"path": "/s"}, "split": {"a": 80, "b": 20},
         "split_on": "cookie.user"},
    )
    client = site.client()

    def ask(path: str, *fields: str) -> str:
        client.send(get(path, *fields))
        return client.response().body.decode().split(" ")[0]

    by_chance = Counter(ask("/c") for _ in range(1000))
    assert 120 < by_chance["b"] < 280       # 20 % give or take six deviations
    of_users = [ask("/s", f"Cookie: user=u{i}") for i in range(1000)]
    assert 120 < of_users.count("b") < 280
    assert [ask("/s", f"Cookie: user=u{i}") for i in range(100)] == of_users[:100]


@pytest.mark.parametrize(
    ("key", "requests"),
    [
        ("path.id", [("/d/{}", ())]),
        ("query.k", [("/d/x?k={}", ())]),
        ("header.x-k", [("/d/x", ("X-K: {}",))]),
        ("cookie.k", [("/d/x", ("Cookie: a=b; k={}",))]),
    ],
)
@pytest.mark.parametrize("whose", ["route", "pool"])
def test_hash_pools_keep_a_key_on_its_server(
    site: Callable[..., Site], origins: Origins, whose: str, key: str,
    requests: list[tuple[str, tuple[str, ...]]],
) -> None:
    servers = [origins(name=f"o{i}") for i in range(4)]
    config = fastlb.Config.build({
        "listeners": {"l": {
            "bind": "http://127.0.0.1:0",
            "routes": [{"name": "d", "match": {"path": "/d/{id}"}, "pool": "p",
                        **({"hash_on": key} if whose == "route" else {})}],
        }},
        "pools": {"p": {"servers": [o.address for o in servers], "balance": "ring_hash",
                        **({"hash_on": key} if whose == "pool" else {})}},
    })
    made = HttpSite(site([], config=config))
    client = made.client()
    path, fields = requests[0]

    def ask(value: str) -> str:
        client.send(get(path.format(value), *(field.format(value) for field in fields)))
        return client.response().body.decode().split(" ")[0]

    first = {f"v{i}": ask(f"v{i}") for i in range(40)}
    assert len(set(first.values())) > 1
    assert {value: ask(value) for value in first} == first
