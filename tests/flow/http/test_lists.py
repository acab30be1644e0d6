"""Lists in `match`: any of several values will do, wherever a condition takes a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import Site
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import get

pytestmark = pytest.mark.h2

Answers = Callable[..., HttpSite]


@pytest.fixture
def answering(site: Callable[..., Site]) -> Answers:
    """Makes a site whose routes answer with their names."""

    def make(*routes: dict[str, Any], **keys: Any) -> HttpSite:
        listener = {"bind": "http://127.0.0.1:0", **keys, "routes": [
            {"respond": {"body": one["name"]}, **one} for one in routes]}
        config = fastlb.Config.build({"listeners": {"l": listener}, "pools": {}})
        return HttpSite(site([], config=config))

    return make


def taken(site: HttpSite, path: str = "/", *fields: str, host: str = "site.test",
          method: str = "GET") -> str:
    lines = "".join(f"{line}\r\n" for line in fields)
    got = site.ask(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode())
    return got.body.decode() if got.status == 200 else str(got.status)


def test_any_of_several_paths_fits(answering: Answers) -> None:
    site = answering(
        {"name": "several", "match": {"path": ["/a/*", "/b/{id}", "/c"]}},
        {"name": "one", "match": {"path": "/a/b"}},
    )
    assert [taken(site, path) for path in ("/a/x/y", "/b/1", "/c")] == ["several"] * 3
    assert taken(site, "/a/b") == "one"             # each path has the place of its own
    assert [taken(site, path) for path in ("/b/1/2", "/c/d", "/")] == ["404"] * 3


def test_any_of_several_hosts_fits_with_any_of_several_regular_expressions(
    answering: Answers,
) -> None:
    site = answering({"name": "r", "match": {
        "host": ["a.test", "*.b.test"], "path_regex": ["/[0-9]+", "/x.*"]}})
    for host in ("a.test", "www.b.test"):
        assert taken(site, "/17", host=host) == taken(site, "/xyz", host=host) == "r"
    assert taken(site, "/y", host="a.test") == taken(site, "/17", host="b.test") == "404"


CASES: list[tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    ({"headers": {"x-a": ["one", "two"]}}, ("X-A: two",), ("X-A: three",)),
    ({"headers": {"x-a": {"one_of": ["one", "two"]}}}, ("X-A: one",), ("X-A: onetwo",)),
    ({"headers": {"x-a": {"prefix": ["ab", "cd."]}}}, ("X-A: cd.x",), ("X-A: cdx",)),
    ({"headers": {"x-a": {"suffix": [".js", ".css"]}}}, ("X-A: a.css",), ("X-A: a.css.map",)),
    ({"headers": {"x-a": {"contains": ["bot", "spider"]}}}, ("X-A: a spider",), ("X-A: spid",)),
    ({"headers": {"x-a": {"regex": ["^a.c$", "^d+$"]}}}, ("X-A: ddd",), ("X-A: dda",)),
    ({"cookies": {"c": ["1", "2"]}}, ("Cookie: x=y; c=2",), ("Cookie: c=3",)),
    ({"not": {"headers": {"x-a": ["one", "two"]}}}, ("X-A: three",), ("X-A: two",)),
    ({"not": {"headers": {"x-a": {"prefix": ["a", "b"]}}}}, ("X-A: c",), ("X-A: bc",)),
]


@pytest.mark.parametrize(("match", "fitting", "other"), CASES)
def test_any_of_several_values_fits(
    answering: Answers, match: dict[str, Any], fitting: tuple[str, ...], other: tuple[str, ...]
) -> None:
    site = answering({"name": "r", "match": match})
    assert taken(site, "/", *fitting) == "r"
    assert taken(site, "/", *other) == "404"


def test_any_of_several_parameters_and_members_fits(answering: Answers) -> None:
    site = answering(
        {"name": "query", "match": {"query": {"v": ["1", "2"]}}},
        {"name": "json", "match": {"path": "/j", "json": {"kind": ["a", "b"]}}},
        {"name": "form", "match": {"path": "/f", "form": {"kind": {"prefix": ["a", "b"]}}}},
    )
    assert taken(site, "/?v=2") == "query" and taken(site, "/?v=3") == "404"
    for path, kind, body, name in (
        ("/j", "application/json", b'{"kind": "b"}', "json"),
        ("/j", "application/json", b'{"kind": "c"}', "404"),
        ("/f", "application/x-www-form-urlencoded", b"kind=bc", "form"),
        ("/f", "application/x-www-form-urlencoded", b"kind=cc", "404"),
    ):
        got = site.ask(get(path, f"Content-Type: {kind}", method="POST", body=body))
        assert (got.body.decode() if got.status == 200 else str(got.status)) == name


def test_none_of_several_hosts_and_paths_may_fit(answering: Answers) -> None:
    site = answering({"name": "r", "match": {"not": {
        "host": ["a.test", "*.b.test"], "path": ["/x/*", "/y"], "path_regex": ["/z+", "/q"]}}})
    assert taken(site, "/") == "r"
    for path in ("/x", "/x/1", "/y", "/zz", "/q"):
        assert taken(site, path) == "404", path
    assert taken(site, host="a.test") == taken(site, host="x.b.test") == "404"


def test_explain_says_which_of_several_values_it_was(answering: Answers) -> None:
    site = answering({"name": "r", "match": {
        "path": ["/a/*", "/b/*"], "headers": {"x-a": ["one", "two"]}}})
    told = site.site.balancer.explain("GET", "/b/1", headers={"x-a": "two"})
    assert [(one.name, one.what.partition(",")[0], one.outcome) for one in told.routes] == [
        ("r", "/a/*", "no"), ("r", "/b/*", "taken")]
    assert told.routes[1].reasons == ('header x-a is "two"',)
    told = site.site.balancer.explain("GET", "/b/1", headers={"x-a": "three"})
    assert told.route is None
    assert told.routes[1].reasons == ('header x-a is "three", none of "one", "two"',)
