"""Routes that ask what a proxy told of a client, as they are written."""

from __future__ import annotations

from typing import Any

import pytest

import fastlb
from fastlb.config.diff import diff
from fastlb.config.effective import effective
from fastlb.config.effective_http import Condition
from fastlb.config.warn import warnings

HEARS = {"proxy_protocol": {"trusted": ["10.0.0.0/8"]}}
FACTS = "authority, unique_id, alpn, vpce, dst"
COMPARISONS = "equals, present, prefix, suffix, contains, regex, one_of"


def build(
    match: dict[str, Any], bind: str = "http://127.0.0.1:8080", pool: dict[str, Any] | None = None,
    hears: bool = True, **route: Any,
) -> fastlb.Config:
    return fastlb.Config.build({
        "listeners": {"web": {
            "bind": bind, **(HEARS if hears else {}),
            "routes": [{"name": "in", "match": match, "pool": "api", **route}]}},
        "pools": {"api": {"servers": ["10.0.0.1:7000"], **(pool or {})}}})


def conditions(config: fastlb.Config) -> tuple[Condition, ...]:
    listener = effective(config).listeners[0]
    if listener.http is not None:
        return listener.http.routes[0].conditions
    assert listener.sniffing is not None
    return listener.sniffing.routes[0].conditions


@pytest.mark.parametrize("bind", ["http://127.0.0.1:8080", "tcp://127.0.0.1:8080"])
@pytest.mark.parametrize(("written", "made"), [
    ({"authority": "Shop.Example"}, ("authority", "equals", "shop.example")),
    ({"authority": {"equals": "SHOP.example"}}, ("authority", "equals", "shop.example")),
    ({"authority": ["a.test", "B.test"]}, ("authority", "one_of", "a.test\nb.test")),
    ({"authority": "*.Shop.Example"}, ("authority", "names", ".shop.example")),
    ({"authority": ["a.test", "*.a.test"]}, ("authority", "names", "a.test\n.a.test")),
    ({"authority": {"suffix": ".test"}}, ("authority", "suffix", ".test")),
    ({"unique_id": "A-1"}, ("unique_id", "equals", "A-1")),
    ({"unique_id": {"regex": "^a"}}, ("unique_id", "regex", "^a")),
    ({"alpn": ["h2", "http/1.1"]}, ("alpn", "one_of", "h2\nhttp/1.1")),
    ({"vpce": {"prefix": "vpce-"}}, ("vpce", "prefix", "vpce-")),
    ({"dst": "192.0.2.1:443"}, ("dst", "equals", "192.0.2.1:443")),
    ({"dst": "[2001:DB8:0:0::1]:0443"}, ("dst", "equals", "[2001:db8::1]:443")),
    ({"dst": ["[::ffff:c000:201]:80"]}, ("dst", "one_of", "[::ffff:192.0.2.1]:80")),
    ({"dst": {"suffix": ":443"}}, ("dst", "suffix", ":443")),
    ({"dst": {"contains": "2001:DB8"}}, ("dst", "contains", "2001:DB8")),
])
def test_forms(bind: str, written: dict[str, Any], made: tuple[str, str, str]) -> None:
    name, op, value = made
    config = build({"proxy": written}, bind)
    assert conditions(config) == (Condition("proxy", name, op, value, False),)
    assert conditions(build({"not": {"proxy": written}}, bind)) == (
        Condition("proxy", name, op, value, True),)
    again = fastlb.Config.build(config.model_dump(by_alias=True, exclude_unset=True))
    assert conditions(again) == conditions(config)


@pytest.mark.parametrize("bind", ["http://127.0.0.1:8080", "tcp://127.0.0.1:8080"])
def test_there_or_not(bind: str) -> None:
    for fact in FACTS.split(", "):
        for there in (True, False):
            assert conditions(build({"proxy": {fact: there}}, bind)) == (
                Condition("proxy", fact, "present", "", not there),)


@pytest.mark.parametrize("bind", ["http://127.0.0.1:8080", "tcp://127.0.0.1:8080"])
@pytest.mark.parametrize(("written", "told"), [
    ({"name": "a"}, f"match.proxy.name: 'name' is not a key here. One of: {FACTS}"),
    ({"autority": "a"}, "match.proxy.autority: 'autority' is not a key here; did you mean"
     f" 'authority'? One of: {FACTS}"),
    ({"authority": "a b"}, "match.proxy.authority: 'a b' is not a host; write it like"
     ' "example.com"'),
    ({"authority": ["a", "b\n"]}, "match.proxy.authority: 'b\\n' has a line break"),
    ({"authority": []}, "match.proxy.authority: the list is empty"),
    ({"alpn": {"prefix": "a", "suffix": "b"}},
     f"match.proxy.alpn: give exactly one of {COMPARISONS}"),
    ({"vpce": {"prefex": "a"}}, "match.proxy.vpce.prefex: 'prefex' is not a key here; did you mean"
     f" 'prefix'? One of: {COMPARISONS}"),
    ({"unique_id": "a b"}, "match.proxy.unique_id: 'a b': what isn't printable ASCII is written in"
     " hexadecimal digits"),
    ({"unique_id": ""}, "match.proxy.unique_id: "),
    ({"dst": "192.0.2.1"}, "match.proxy.dst: '192.0.2.1' is not an address; write it like"
     ' "192.0.2.1:443" or "[2001:db8::1]:443"'),
    ({"dst": "2001:db8::1:443"}, "match.proxy.dst: '2001:db8::1:443' is not an address"),
    ({"dst": "192.0.2.1:65536"}, "match.proxy.dst: '192.0.2.1:65536' is not an address"),
    ({"dst": "[192.0.2.1]:80"}, "match.proxy.dst: '[192.0.2.1]:80' is not an address"),
    ({"dst": ["a.example:443"]}, "match.proxy.dst: 'a.example:443' is not an address"),
])
def test_mistakes(bind: str, written: dict[str, Any], told: str) -> None:
    with pytest.raises(fastlb.ConfigError) as caught:
        build({"proxy": written}, bind)
    assert f"listeners.web.routes[0].{told}" in str(caught.value)
    with pytest.raises(fastlb.ConfigError) as caught:
        build({"not": {"proxy": written}}, bind)
    assert told.replace("match.", "match.not.", 1) in str(caught.value)


def said(config: fastlb.Config) -> list[str]:
    return [one for one in warnings(config, effective(config)) if "proxy." in one]


ABOUT = {"proxy": {"authority": ["a.test", "*.b.test"], "dst": {"suffix": ":443"}}}
KEYED = {"balance": "maglev", "hash_on": "proxy.vpce"}


@pytest.mark.parametrize("bind", ["http://127.0.0.1:8080", "tcp://127.0.0.1:8080"])
def test_what_can_never_be_there_is_warned_of(bind: str) -> None:
    assert said(build(ABOUT, bind, KEYED, hash_on="proxy.alpn")) == []
    assert said(build(ABOUT, bind, KEYED, hears=False, hash_on="proxy.alpn")) == [
        "listeners.web: route 'in' hashes proxy.alpn, and proxy_protocol isn't given",
        "listeners.web: route 'in' is about proxy.authority, and proxy_protocol isn't given",
        "listeners.web: route 'in' is about proxy.dst, and proxy_protocol isn't given",
        "listeners.web: pool 'api' hashes proxy.vpce, and proxy_protocol isn't given: client.ip is"
        " hashed instead"]
    assert said(build({"not": ABOUT}, bind, hears=False)) == []
    assert said(build({"proxy": {"dst": False}}, bind, hears=False)) == []


def test_it_is_said_once_of_a_route_with_several_names() -> None:
    match = {**ABOUT, "tls": {"sni": ["a.test", "b.test"]}}
    assert len(said(build(match, "tcp://127.0.0.1:8080", hears=False))) == 2


@pytest.mark.parametrize("hears", [True, False])
def test_who_is_handed_over_may_have_been_told_of(hears: bool) -> None:
    config = fastlb.Config.build({
        "listeners": {
            "edge": {"bind": "tcp://127.0.0.1:8080", **(HEARS if hears else {}), "routes": [
                {"name": "http", "match": {"protocol": "http/1.1"}, "listener": "web"}]},
            "web": {"bind": "http://127.0.0.1:8081", "routes": [
                {"name": "in", "match": ABOUT, "pool": "api"}]},
            "other": {"bind": "http://127.0.0.1:8082", "routes": [
                {"name": "in", "match": ABOUT, "pool": "api"}]}},
        "pools": {"api": {"servers": ["10.0.0.1:7000"]}}})
    about = {one.partition(":")[0] for one in said(config)}
    assert about == ({"listeners.other"} if hears else {"listeners.web", "listeners.other"})


def test_a_route_that_others_cover() -> None:
    for bind in ("http://127.0.0.1:8080", "tcp://127.0.0.1:8080"):
        config = fastlb.Config.build({
            "listeners": {"web": {"bind": bind, **HEARS, "routes": [
                {"name": "one", "match": {"proxy": {"dst": True}}, "pool": "api"},
                {"name": "two", "match": {"proxy": {"dst": True}}, "pool": "api"}]}},
            "pools": {"api": {"servers": ["10.0.0.1:7000"]}}})
        assert any("route 'two' is never reached" in one
                   for one in warnings(config, effective(config)))


def test_more_conditions_come_first_and_changes_are_told() -> None:
    one = build({"proxy": {"authority": "a.test"}})
    other = build({"proxy": {"authority": "b.test"}})
    assert diff(one, one) == diff(other, other)
    assert diff(one, other) != diff(one, one)


def test_udp_has_no_routes() -> None:
    with pytest.raises(fastlb.ConfigError, match="routes"):
        build(ABOUT, "udp://127.0.0.1:8080")
