"""Pages of one's own for errors that fastlb answers with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Site
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, get

pytestmark = pytest.mark.h2

JSON = "Accept: application/json"
HTML = "text/html; charset=utf-8"
Paged = Callable[..., HttpSite]


@pytest.fixture
def paged(site: Callable[..., Site]) -> Paged:
    """Makes a site: /down goes to a pool that nobody serves, and no other path has a route."""

    def make(errors: Any = None, *routes: dict[str, Any], down: dict[str, Any] | None = None,
             defaults: Any = None, **keys: Any) -> HttpSite:
        listener = {"bind": "http://127.0.0.1:0", **keys, "routes": [
            {"name": "down", "match": {"path": "/down"}, "pool": "p", **(down or {})}, *routes]}
        if errors is not None:
            listener["errors"] = errors
        config = fastlb.Config.build({
            "defaults": {"errors": defaults} if defaults else {},
            "listeners": {"l": listener}, "pools": {"p": {"servers": ["127.0.0.1:1"]}}})
        return HttpSite(site([], config=config))

    return make


def test_page_replaces_the_content_and_nothing_else(paged: Paged) -> None:
    site = paged({503: {"body": "<h1>Soon back</h1>"}})
    got = site.ask(get("/down"))
    assert (got.status, got["content-type"], got.body) == (503, HTML, b"<h1>Soon back</h1>")
    assert got["x-fastlb-error"] in ("no_server", "connect_failure")
    plain = site.ask(get("/nowhere"))
    assert (plain.status, plain.body) == (404, b"404 Not Found\n")


def test_page_of_a_file_is_read_again_at_a_reload(paged: Paged, tmp_path: Path) -> None:
    file = tmp_path / "503.html"
    file.write_text("<p>first</p>")
    site = paged({503: {"file": str(file)}})
    assert site.ask(get("/down")).body == b"<p>first</p>"
    file.write_text("<p>second</p>")
    assert site.ask(get("/down")).body == b"<p>first</p>"
    reload(site)
    got = site.ask(get("/down"))
    assert (got.body, got["content-type"]) == (b"<p>second</p>", HTML)


def reload(site: HttpSite) -> None:
    """With the same configuration."""
    balancer = site.site.balancer
    loop = balancer._instance.running().loop
    assert loop is not None
    raw = balancer.config.model_dump(exclude_unset=True, by_alias=True)
    reloading = balancer.reload(fastlb.Config.build(raw))
    asyncio.run_coroutine_threadsafe(reloading, loop).result(DEADLINE_S)


def test_exact_status_comes_before_a_class_and_the_route_before_the_listener(
    paged: Paged,
) -> None:
    site = paged(
        {"5xx": {"body": "any 5"}, 404: {"body": "no such page"}},
        {"name": "denied", "match": {"path": "/denied"}, "respond": {"status": 403}},
        {"name": "own", "match": {"path": "/own"}, "pool": "p",
         "errors": {"5xx": {"body": "the route's"}}},
        defaults={"4xx": {"body": "any 4"}, 503: {"body": "the defaults'"}})
    assert site.ask(get("/down")).body == b"any 5"          # the listener before the defaults
    assert site.ask(get("/nowhere")).body == b"no such page"
    assert site.ask(get("/own")).body == b"the route's"
    denied = site.ask(get("/denied"))
    assert (denied.status, denied.body) == (403, b"any 4")


def test_clients_that_ask_for_json_get_json(paged: Paged) -> None:
    site = paged({503: {"body": "<p>html</p>"},
                  404: [{"body": "<p>html</p>"}, {"body": '{"code": 1}'}]})
    assert site.ask(get("/down", JSON)).body == b'{"status":503,"error":"Service Unavailable"}\n'
    got = site.ask(get("/nowhere", JSON))
    assert (got.body, got["content-type"]) == (b'{"code": 1}', "application/json")
    assert site.ask(get("/nowhere")).body == b"<p>html</p>"


def test_page_of_json_alone_is_for_everybody(paged: Paged) -> None:
    site = paged({"5xx": {"body": '{"e": 5}', "content_type": "application/problem+json"}})
    for fields in ((), (JSON,)):
        got = site.ask(get("/down", *fields))
        assert (got.body, got["content-type"]) == (b'{"e": 5}', "application/problem+json")


def test_head_gets_no_body(paged: Paged) -> None:
    got = paged({503: {"body": "<p>page</p>"}}).ask(get("/down", method="HEAD"), "HEAD")
    assert (got.status, got["content-length"], got.body) == (503, "11", b"")


def test_what_somebody_wrote_for_the_very_answer_stays(paged: Paged) -> None:
    site = paged({"4xx": {"body": "page"}}, {
        "name": "said", "match": {"path": "/said"}, "respond": {"status": 410, "body": "gone"}})
    assert site.ask(get("/said")).body == b"gone"


def test_errors_of_servers_pass_as_they_are(
    site: Callable[..., Site], origins: Callable[..., HttpOrigin]
) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")

    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", "pool": "p",
                            "errors": {"5xx": {"body": "page"}}}},
        "pools": {"p": {"servers": [origins(serve).address]}}})
    assert HttpSite(site([], config=config)).ask(get()).body == b"busy"


def test_calls_of_grpc_get_no_page(paged: Paged) -> None:
    site = paged({"5xx": {"body": "page"}})
    got = site.ask(get("/down", "Content-Type: application/grpc", "TE: trailers", method="POST"))
    assert (got.status, got["grpc-status"], got.body) == (200, "14", b"")


@pytest.mark.http1
def test_requests_that_can_not_be_read_get_a_page(paged: Paged) -> None:
    site = paged({400: {"body": "what?"}})
    got = site.ask(b"GET / HTTP/1.1\r\nHost: a\r\nBroken\r\n\r\n")
    assert (got.status, got.body) == (400, b"what?")


def test_largest_page_is_sent_whole(paged: Paged, tmp_path: Path) -> None:
    file = tmp_path / "page.bin"
    file.write_bytes(bytes(range(256)) * 1024)
    site = paged({503: {"file": str(file)}},
                 response_headers={"set": {"x-long": "x" * 4000}})
    got = site.ask(get("/down"))
    assert got.body == bytes(range(256)) * 1024
    assert got["content-type"] == "application/octet-stream" and len(got["x-long"]) == 4000
