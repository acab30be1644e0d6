"""Changes of header fields on every level, and which of them has the last word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import Site
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, get

pytestmark = pytest.mark.h2


@pytest.fixture
def leveled(
    site: Callable[..., Site], origins: Callable[..., HttpOrigin]
) -> Callable[..., tuple[HttpSite, HttpOrigin]]:
    """Makes a site with edits on its levels: `defaults`, `listener`, `pool`, `route`."""

    def make(serve: Any = None, *, more: dict[str, Any] | None = None, **levels: Any) -> Any:
        origin = origins(serve)
        route = {"name": "r", "match": {"path": "/r/{id}"}, **levels.get("route", {})}
        if "split" not in route:
            route["pool"] = "p"
        config = fastlb.Config.build({
            "defaults": levels.get("defaults", {}),
            "listeners": {"l": {
                "bind": "http://127.0.0.1:0", "pool": "p", **levels.get("listener", {}),
                "routes": [route, *(more or {}).get("routes", ())]}},
            "pools": {"p": {"servers": [origin.address], **levels.get("pool", {})},
                      **(more or {}).get("pools", {})},
        })
        return HttpSite(site([], config=config)), origin

    return make


def level(kind: str, name: str, *fields: str) -> dict[str, Any]:
    return {kind: {"set": dict.fromkeys(fields, name)}}


def test_request_fields_are_set_by_the_most_exact_level(leveled: Any) -> None:
    """The route, then the pool, then the listener, then the defaults."""
    site, origin = leveled(**{
        name: level("request_headers", name, *fields) for name, fields in (
            ("defaults", ("x-d", "x-dl", "x-dp", "x-dr")), ("listener", ("x-dl", "x-lp", "x-lr")),
            ("pool", ("x-dp", "x-lp", "x-pr")), ("route", ("x-dr", "x-lr", "x-pr")))})
    site.ask(get("/r/1", "X-Dp: client", "x-lr: client"))
    site.ask(get("/other"))
    sent = [{name: request.all(name) for name in
             ("x-d", "x-dl", "x-dp", "x-dr", "x-lp", "x-lr", "x-pr")}
            for request in origin.requests]
    assert sent[0] == {
        "x-d": ["defaults"], "x-dl": ["listener"], "x-dp": ["pool"], "x-dr": ["route"],
        "x-lp": ["pool"], "x-lr": ["route"], "x-pr": ["route"]}
    assert sent[1] == {
        "x-d": ["defaults"], "x-dl": ["listener"], "x-dp": ["pool"], "x-dr": ["defaults"],
        "x-lp": ["pool"], "x-lr": ["listener"], "x-pr": ["pool"]}


def answer(wire: Wire, request: Message) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nX-Dp: origin\r\nX_LR: origin\r\nServer: o\r\nX-Add: origin\r\n"
              b"Content-Length: 0\r\n\r\n")


def test_response_fields_are_set_by_the_most_exact_level(leveled: Any) -> None:
    """The route, then the listener, then the pool, then the defaults."""
    site, _ = leveled(answer, **{
        name: level("response_headers", name, *fields) for name, fields in (
            ("defaults", ("x-d", "x-dl", "x-dp", "x-dr")), ("listener", ("x-dl", "x-lp", "x-lr")),
            ("pool", ("x-dp", "x-lp", "x-pr")), ("route", ("x-dr", "x-lr", "x-pr")))})
    names = ("x-d", "x-dl", "x-dp", "x-dr", "x-lp", "x-lr", "x-pr", "x_lr")
    got = site.ask(get("/r/1"))
    assert {name: got.all(name) for name in names} == {
        "x-d": ["defaults"], "x-dl": ["listener"], "x-dp": ["pool"], "x-dr": ["route"],
        "x-lp": ["listener"], "x-lr": ["route"], "x-pr": ["route"], "x_lr": []}
    got = site.ask(get("/other"))
    assert {name: got.all(name) for name in names} == {
        "x-d": ["defaults"], "x-dl": ["listener"], "x-dp": ["pool"], "x-dr": ["defaults"],
        "x-lp": ["listener"], "x-lr": ["listener"], "x-pr": ["pool"], "x_lr": []}


def test_fields_are_added_by_all_levels_and_removed_by_any(leveled: Any) -> None:
    site, _ = leveled(
        answer,
        defaults={"response_headers": {"add": {"x-add": "defaults"}, "remove": ["server"]}},
        listener={"response_headers": {"add": {"x-add": "listener"}, "set": {"x-gone": "1"}}},
        pool={"response_headers": {"add": {"x-add": "pool"}}},
        route={"response_headers": {"add": {"x-add": "route"}, "remove": ["x-gone"]}})
    got = site.ask(get("/r/1"))
    assert got.all("x-add") == ["origin", "defaults", "pool", "listener", "route"]
    assert "server" not in got and "x-gone" not in got
    assert site.ask(get("/other"))["x-gone"] == "1"


def test_edits_of_a_listener_and_a_pool_have_variables(leveled: Any) -> None:
    site, origin = leveled(
        listener={"request_headers": {"set": {"x-l": "{route} {path.id} {request.path}"}}},
        pool={"request_headers": {"set": {"x-p": "{path.id}/{header.x-in}"}}})
    site.ask(get("/r/7", "X-In: in"))
    site.ask(get("/other"))
    assert [(one["x-l"], one["x-p"]) for one in origin.requests] == [
        ("r 7 /r/7", "7/in"), ("/other", "/")]


def test_each_pool_of_a_split_has_its_own_edits(leveled: Any, origins: Any) -> None:
    other = origins()
    site, origin = leveled(
        pool=level("request_headers", "p", "x-pool"),
        route={"split": {"p": 1, "q": 1}, "split_on": "header.x-k"},
        more={"pools": {"q": {"servers": [other.address],
                              **level("request_headers", "q", "x-pool")}}})
    for i in range(40):
        site.ask(get("/r/1", f"X-K: {i}"))
    assert {one["x-pool"] for one in origin.requests} == {"p"}
    assert {one["x-pool"] for one in other.requests} == {"q"}


OWN = [
    {"name": "moved", "match": {"path": "/moved"}, "redirect": "https://{request.host}/x"},
    {"name": "said", "match": {"path": "/said"}, "respond": {
        "status": 200, "body": "hello", "headers": {"x-said": "1", "X-L": "respond"}},
     "response_headers": {"set": {"x-route": "{request.path}"}}},
]


def test_answers_of_our_own_have_the_listeners_fields(leveled: Any) -> None:
    """Whoever sets Strict-Transport-Security wants it on redirects and errors too."""
    site, _ = leveled(
        defaults=level("response_headers", "defaults", "x-d"),
        listener={"response_headers": {
            "set": {"X-L": "listener", "x-path": "{request.path}"}, "remove": ["date"]}},
        pool={"servers": ["127.0.0.1:1"], "response_headers": {"set": {"x-p": "pool"}}},
        more={"routes": OWN})
    for path, status in (("/moved", 302), ("/said", 200), ("/r/1", 503)):
        got = site.ask(get(path))
        assert got.status == status
        assert (got["x-d"], got["x-l"], got["x-path"]) == ("defaults", "listener", path), path
        assert "date" not in got
    assert site.ask(get("/moved"))["location"] == "https://site.test/x"
    assert site.ask(get("/said"))["x-route"] == "/said"
    failed = site.ask(get("/r/1"))
    assert failed["x-p"] == "pool" and failed["x-fastlb-error"]


def test_answers_without_a_route_have_the_listeners_fields(site: Any) -> None:
    config = fastlb.Config.build({
        "listeners": {"l": {
            "bind": "http://127.0.0.1:0", "routes": [OWN[0]],
            "response_headers": {"set": {"x-l": "listener", "x-path": "{request.path}"}}}},
        "pools": {}})
    made = HttpSite(site([], config=config))
    got = made.ask(get("/nowhere"))
    assert (got.status, got["x-l"], got["x-path"]) == (404, "listener", "/nowhere")


@pytest.mark.http1
def test_answer_to_a_request_that_is_none_has_fields_without_variables(site: Any) -> None:
    config = fastlb.Config.build({
        "listeners": {"l": {
            "bind": "http://127.0.0.1:0", "routes": [OWN[0]],
            "response_headers": {"set": {"x-l": "listener", "x-path": "{request.path}"}}}},
        "pools": {}})
    made = HttpSite(site([], config=config))
    got = made.ask(b"GET / HTTP/1.1\r\nHost: a\r\nBroken\r\n\r\n")
    assert (got.status, got["x-l"]) == (400, "listener") and "x-path" not in got


OURS = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Request-Id",
        "Via", "traceparent")
WRITTEN = {"via": "balancer", "traceparent": True}


@pytest.mark.parametrize("trusted", [(), ("127.0.0.0/8",)])
def test_fields_that_we_write_are_set_and_removed_like_others(
    leveled: Any, trusted: tuple[str, ...]
) -> None:
    """One field each, whoever said what before."""
    forwarded = {"trusted": list(trusted), "headers": [name.lower() for name in OURS[:4]]}
    for edit, values in (({"set": dict.fromkeys(OURS, "mine")}, ["mine"]),
                         ({"remove": list(OURS)}, [])):
        site, origin = leveled(
            listener={"forwarded": forwarded, **WRITTEN},
            route={"request_headers": edit, "response_headers": edit})
        for said in ((), tuple(f"{name}: theirs" for name in OURS)):
            got = site.ask(get("/r/1", *said))
            assert got.all("via") == values
            assert {name: origin.requests[-1].all(name) for name in OURS} == dict.fromkeys(
                OURS, values)
        site.ask(get("/other"))
        assert {name: len(origin.requests[-1].all(name)) for name in OURS} == dict.fromkeys(OURS, 1)


def test_an_error_of_grpc_has_each_field_once(leveled: Any) -> None:
    site, _ = leveled(
        listener={"response_headers": {"set": {"content-type": "a/b", "x-l": "1"},
                                       "remove": ["date"]}},
        pool={"servers": ["127.0.0.1:1"]})
    got = site.ask(get("/r/1", "Content-Type: application/grpc"))
    assert (got.status, got["grpc-status"], got["content-type"], got["x-l"]) == (
        200, "14", "a/b", "1")
    assert "date" not in got
