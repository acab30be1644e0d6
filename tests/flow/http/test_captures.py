"""What a route's regular expression captured, in rewrites, redirects and header fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, get

pytestmark = pytest.mark.h2


@pytest.fixture
def captured(
    site: Callable[..., Any], origins: Callable[..., HttpOrigin]
) -> Callable[..., tuple[HttpSite, HttpOrigin]]:
    def make(match: dict[str, Any], **keys: Any) -> tuple[HttpSite, HttpOrigin]:
        origin = origins()
        if "redirect" not in keys:
            keys["pool"] = "p"
        config = fastlb.Config.build({
            "listeners": {"l": {"bind": "http://127.0.0.1:0", "routes": [
                {"name": "r", "match": match, **keys}]}},
            "pools": {"p": {"servers": [origin.address]}}})
        return HttpSite(site([], config=config)), origin

    return make


def test_groups_are_used_by_number_and_by_name(captured: Any) -> None:
    site, origin = captured(
        {"path_regex": "^/(?P<lang>[a-z]{2})/users/([0-9]+)(/.*)?$"},
        rewrite={"path": "/u/{path.2}{path.3}"},
        request_headers={"set": {"x-lang": "{path.lang}", "x-first": "{path.1}"}},
        response_headers={"set": {"x-id": "{path.2}"}})
    assert site.ask(get("/de/users/17/a/b?q=1"))["x-id"] == "17"
    assert site.ask(get("/en/users/4"))["x-id"] == "4"      # (the last group isn't there)
    assert [(one.target, one["x-lang"], one["x-first"]) for one in origin.requests] == [
        ("/u/17/a/b?q=1", "de", "de"), ("/u/4", "en", "en")]


@pytest.mark.parametrize(("regex", "path", "location"), [
    ("/(.*)/(.*)", "/a/b/c", "1=a/b 2=c"),
    ("/(.*?)/(.*)", "/a/b/c", "1=a 2=b/c"),
    ("/(a|ab)(.*)", "/abc", "1=a 2=bc"),
    ("/(?:(x)|(y))z", "/yz", "1= 2=y"),
    ("/(?:([a-z])/)*(.*)", "/a/b/c", "1=b 2=c"),
    ("/((?:[a-z]+-)*)([0-9]{1,3})", "/a-bc-123", "1=a-bc- 2=123"),
    ("(?i:/(ABC))(.?)", "/abC!", "1=abC 2=!"),
])
def test_groups_capture_as_in_python(captured: Any, regex: str, path: str, location: str) -> None:
    site, _ = captured({"path_regex": regex}, redirect="/?1={path.1}&2={path.2}")
    got = site.ask(get(path))
    assert got["location"].replace("&", " ").removeprefix("/?") == location


def test_groups_of_several_expressions_are_those_of_the_one_that_fits(captured: Any) -> None:
    site, _ = captured({"path_regex": ["/a/(.*)", "/b/x(.*)"]}, redirect="/new/{path.1}")
    assert site.ask(get("/a/1"))["location"] == "/new/1"
    assert site.ask(get("/b/x2"))["location"] == "/new/2"


def test_star_of_a_host_is_a_variable(captured: Any) -> None:
    site, _ = captured({"host": ["*.old.test", "*.older.example.test"]},
                       redirect="https://{host.rest}.new.test{request.path}")
    for host, rest in (("shop.old.test", "shop"), ("A.b.older.example.test:80", "A.b"),
                       ("shop.old.test.", "shop")):
        got = site.ask(f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert got["location"] == f"https://{rest}.new.test/x"


def test_longest_path_is_captured_in_one_go(captured: Any) -> None:
    site, _ = captured({"path_regex": "/((?:[a-z]/)*)(.*)"}, redirect="/{path.2}")
    path = "/" + "a/" * 3_900 + "end"
    assert site.ask(get(path))["location"] == "/end"


@pytest.mark.parametrize(("match", "to", "path", "location"), [
    ({"path": "/old/*"}, "/{path.rest}", "/old//evil.test", "/evil.test"),
    ({"path": "/old/*"}, "{path.rest}", "/old///evil.test/a//b", "/evil.test/a//b"),
    ({"path_regex": "/old(.*)"}, "/{path.1}", "/old/evil.test", "/evil.test"),
    ({"path_regex": "/old(.*)"}, "{path.1}", "/old//evil.test", "/evil.test"),
    ({"path": "/old"}, "/{query.to}", "/old?to=/evil.test", "/evil.test?to=/evil.test"),
    ({"path": "/old"}, "/{query.to}", "/old?to=\\evil.test", "/evil.test?to=\\evil.test"),
    ({"path": "/old/*"}, "/{path.rest}", "/old//", "/"),
    # What the template says is meant.
    ({"path": "/old/*"}, "//cdn.test/{path.rest}", "/old/a", "//cdn.test/a"),
    ({"path": "/old/*"}, "/new/{path.rest}", "/old//a", "/new//a"),
    ({"path": "/old"}, "{query.to}", "/old?to=//cdn.test/", "//cdn.test/?to=//cdn.test/"),
])
def test_no_request_names_the_host_that_it_is_sent_to(
    site: Callable[..., Any], match: dict[str, Any], to: str, path: str, location: str
) -> None:
    config = fastlb.Config.build({"pools": {}, "listeners": {"l": {
        "bind": "http://127.0.0.1:0", "merge_slashes": "off",
        "routes": [{"name": "r", "match": match, "redirect": to}]}}})
    assert HttpSite(site([], config=config)).ask(get(path))["location"] == location
