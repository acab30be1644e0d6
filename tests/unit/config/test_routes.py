"""Lists, edits, pages and captures of routes: what is refused, and what is different."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastlb.config.diff import diff
from fastlb.config.effective import effective
from fastlb.config.model import Config
from fastlb.config.reader import loads
from fastlb.errors import ConfigError

POOLS = '[pools.p]\nservers = ["10.0.0.1:80"]\n'
LISTENER = '[listeners.l]\nbind = "http://127.0.0.1:1"\npool = "p"\n'
ROUTE = f'{POOLS}{LISTENER}[[listeners.l.routes]]\nname = "r"\n'


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text)
    return [f"{one.path}: {one.message}" for one in caught.value.problems]


BAD: list[tuple[str, str]] = [
    ('pool = "p"\nmatch.path = []', "listeners.l.routes[0].match.path: "),
    ('pool = "p"\nmatch.path = ["/a", "/a"]', "'/a' is in the list twice"),
    ('pool = "p"\nmatch.path = ["/a", "b"]', "'b' is not a path"),
    ('pool = "p"\nmatch.host = ["a.example", "a b"]', "'a b' is not a host"),
    ('pool = "p"\nmatch.headers.x-a = []', "match.headers.x-a: the list is empty"),
    ('pool = "p"\nmatch.headers.x-a = ["a\\nb"]', "has a line break"),
    ('pool = "p"\nmatch.headers.x-a = { regex = ["a", "("] }', "not a regular expression"),
    ('pool = "p"\nmatch.path = ["/a/{x}", "/b/{y}"]\nhash_on = "path.x"',
     "path.x is not a segment of this route: there is none that all its paths have"),
    ('redirect = "/{path.1}"\nmatch.path_regex = "/a"', "path.1 is not a segment of this route"),
    ('redirect = "/{path.2}"\nmatch.path_regex = ["/(a)(b)", "/(c)"]',
     "path.2 is not a segment of this route: all its paths have path.1"),
    ('redirect = "/{path.id}"\nmatch.path_regex = "/(?P<name>a)"',
     "it has path.1, path.name"),
    ('redirect = "/{path.1}"\nmatch.path_regex = "/' + "(a)" * 17 + '"', "at most 16 groups"),
    ('redirect = "https://{host.rest}/"\nmatch.host = "a.example"', "match.host has none"),
    ('pool = "p"\nmatch.path_regex = "/(a)"\nhash_on = "path.1"', "path.1 is not a segment"),
    ('match.path = ["/a/{id}", "/b/c/{id}"]\npolicy = "m:f"\npool = "p"',
     "name the same segments at the same places"),
    ('pool = "p"\nerrors.503 = { body = "a", file = "b" }', "errors.503"),
    ('pool = "p"\nerrors.503 = {}', "a page has either a file or a body"),
    ('pool = "p"\nerrors.200 = { body = "a" }', "'200' is not the status of an error"),
    ('pool = "p"\nerrors.6xx = { body = "a" }', "'6xx' is not the status of an error"),
    ('pool = "p"\nerrors.503 = { file = "/nowhere/503.html" }', "can't be read"),
    ('pool = "p"\nerrors.503 = [{ body = "a" }, { body = "b" }]', "one is JSON"),
    ('pool = "p"\nerrors.503 = { body = "a", content_type = "html" }', "'html' is not a content"),
    ('pool = "p"\nerrors.503 = { bodi = "a" }', "did you mean 'body'"),
    ('pool = "p"\nresponse_headers.set.x-a = "{nothing}"', "'nothing' is not a variable"),
    ('pool = "p"\nrequest_headers.remove = ["Content_Length"]', "is not for routes to change"),
    ('pool = "p"\nresponse_headers.set.transfer_encoding = "a"', "is not for routes to change"),
    ('respond.headers.content_length = "5"', "is not for routes to change"),
    # A line break at the end of a name is no end of it.
    ('pool = "p"\nresponse_headers.set."x-a\\n" = "b"', "is not the name of a header field"),
    ('pool = "p"\nmatch.headers."x-a\\n" = "b"', "is not the name of a header field"),
    ('pool = "p"\nmatch.host = "a.example\\n"', "is not a host"),
    ('pool = "p"\nmatch.path = "/a\\n"', "is not a path"),
    ('pool = "p"\nhash_on = "path.x\\n"', "is not a key to hash"),
    ('pool = "p"\nmatch.path = "/{x}"\nsplit_on = "header.x\\n"', "is not a key to hash"),
    ('pool = "p"\nerrors.503 = { body = "a", content_type = "a/b\\n" }', "is not a content type"),
    ('pool = "p"\nerrors."503\\n" = { body = "a" }', "is not the status of an error"),
]


@pytest.mark.parametrize(("text", "told"), BAD)
def test_mistakes_are_told(text: str, told: str) -> None:
    found = problems(ROUTE + text + "\n")
    assert any(told in one for one in found), found


def test_too_many_places_are_refused() -> None:
    hosts = ", ".join(f'"h{i}.example"' for i in range(200))
    paths = ", ".join(f'"/p{i}"' for i in range(51))
    found = problems(f'{ROUTE}pool = "p"\nmatch.host = [{hosts}]\nmatch.path = [{paths}]\n')
    assert any("10200 places" in one for one in found), found


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_edits_of_a_pool_are_for_http(scheme: str) -> None:
    text = POOLS + 'request_headers.set.x-a = "1"\n' + LISTENER.replace("http:", f"{scheme}:")
    assert any(one.startswith("pools.p.request_headers: ") for one in problems(text))


def test_page_that_is_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_bytes(b"a" * ((256 << 10) + 1))
    found = problems(f'{ROUTE}pool = "p"\nerrors.503 = {{ file = "{file}" }}\n')
    assert any("has more than 256 KiB" in one for one in found), found


def test_each_host_and_path_has_the_place_of_its_own() -> None:
    values = effective(loads(ROUTE + (
        'pool = "p"\nmatch.path = ["/a/*", "/x"]\n[[listeners.l.routes]]\nname = "s"\npool = "p"\n'
        'match.path = "/a/b"\n')))
    http = values.listeners[0].http
    assert http is not None
    assert [(one.name, one.path) for one in http.routes] == [
        ("r", "/x"), ("s", "/a/b"), ("r", "/a/*")]


def test_what_the_defaults_say_is_a_difference_where_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "a.html"

    def config(name: str, value: str) -> Config:
        file.write_text(name)
        return loads(f'{POOLS}{LISTENER}errors.503 = {{ file = "{file}" }}\n'
                     'response_headers.set.x-b = "1"\n'
                     f'[defaults]\nresponse_headers.set = {{ x-a = "{value}", x-b = "{value}" }}\n')

    assert [one.path for one in diff(config("one", "1"), config("two", "2"))] == [
        "listeners.l.errors.503", "listeners.l.response_headers.set.x-a"]
