"""Routes that ask what TLS knows of a client, as they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb._core.tables.certificates import AVAILABLE, self_signed
from fastlb.config.effective import effective
from fastlb.config.effective_http import Condition
from fastlb.config.warn import warnings

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="built without TLS")

PRINT = "0a" * 32


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("pair")
    cert, key = self_signed(["site.test"], 90)
    (folder / "web.pem").write_bytes(cert)
    (folder / "web.key").write_bytes(key)
    return {"certificates": [{"cert": str(folder / "web.pem"), "key": str(folder / "web.key")}],
            "client_auth": "optional", "client_ca": str(folder / "web.pem")}


def build(
    tls: dict[str, Any] | None, match: dict[str, Any], pool: dict[str, Any] | None = None,
    **route: Any,
) -> fastlb.Config:
    bind = "http://127.0.0.1:8080" if tls is None else "https://127.0.0.1:8443"
    listener = {"bind": bind, "routes": [{"name": "in", "match": match, "pool": "api", **route}],
                **({} if tls is None else {"tls": tls})}
    return fastlb.Config.build({
        "listeners": {"web": listener},
        "pools": {"api": {"servers": ["10.0.0.1:7000"], **(pool or {})}}})


def conditions(config: fastlb.Config) -> tuple[Condition, ...]:
    http = effective(config).listeners[0].http
    assert http is not None
    return http.routes[0].conditions


@pytest.mark.parametrize(("written", "made"), [
    ({"sni": "Site.Test"}, ("sni", "equals", "site.test")),
    ({"sni": {"equals": "SITE.test"}}, ("sni", "equals", "site.test")),
    ({"sni": ["a.test", "B.test"]}, ("sni", "one_of", "a.test\nb.test")),
    ({"sni": {"one_of": ["a.test"]}}, ("sni", "one_of", "a.test")),
    ({"sni": {"suffix": ".test"}}, ("sni", "suffix", ".test")),
    ({"version": "TLSv1.3"}, ("version", "equals", "TLSv1.3")),
    ({"client_subject": "CN=a, b"}, ("client_subject", "equals", "CN=a, b")),
    ({"client_subject": {"regex": "^CN=a"}}, ("client_subject", "regex", "^CN=a")),
    ({"client_fingerprint": PRINT}, ("client_fingerprint", "equals", PRINT)),
    ({"client_fingerprint": ":".join(["0A"] * 32)}, ("client_fingerprint", "equals", PRINT)),
    ({"client_fingerprint": [PRINT.upper()]}, ("client_fingerprint", "one_of", PRINT)),
    ({"client_fingerprint": {"prefix": "0a"}}, ("client_fingerprint", "prefix", "0a")),
])
def test_forms(tls: dict[str, Any], written: dict[str, Any], made: tuple[str, str, str]) -> None:
    name, op, value = made
    config = build(tls, {"tls": written})
    assert conditions(config) == (Condition("tls", name, op, value, False),)
    assert conditions(build(tls, {"not": {"tls": written}})) == (
        Condition("tls", name, op, value, True),)
    again = fastlb.Config.build(config.model_dump(by_alias=True, exclude_unset=True))
    assert conditions(again) == conditions(config)


def test_there_or_not(tls: dict[str, Any]) -> None:
    for there in (True, False):
        assert conditions(build(tls, {"tls": {"client_subject": there}})) == (
            Condition("tls", "client_subject", "present", "", not there),)


@pytest.mark.parametrize(("written", "told"), [
    ({"name": "a"}, "match.tls.name: 'name' is not a key here. One of: sni, version,"
     " client_subject, client_fingerprint"),
    ({"sni": "a b"}, "match.tls.sni: 'a b' is not a host; write it like \"example.com\""),
    ({"sni": ["a", "b\n"]}, "match.tls.sni: 'b\\n' has a line break"),
    ({"sni": []}, "match.tls.sni: the list is empty"),
    ({"sni": 5}, "match.tls.sni: "),
    ({"sni": {"prefix": "a", "suffix": "b"}},
     "match.tls.sni: give exactly one of equals, present, prefix, suffix, contains, regex, one_of"),
    ({"sni": {"prefex": "a"}}, "match.tls.sni.prefex: 'prefex' is not a key here; did you mean"
     " 'prefix'? One of: equals, present, prefix, suffix, contains, regex, one_of"),
    ({"version": "1.3"}, "match.tls.version: '1.3' is not a version. One of: TLSv1.2, TLSv1.3"),
    ({"client_subject": "CN=Zoë"}, "match.tls.client_subject: 'CN=Zoë': what isn't printable ASCII"
     " is escaped in a subject"),
    ({"client_fingerprint": "0a"}, "match.tls.client_fingerprint: '0a' is not a fingerprint: 64"
     " hexadecimal digits (SHA-256)"),
])
def test_mistakes(tls: dict[str, Any], written: dict[str, Any], told: str) -> None:
    with pytest.raises(fastlb.ConfigError) as caught:
        build(tls, {"tls": written})
    assert f"listeners.web.routes[0].{told}" in str(caught.value)


@pytest.mark.parametrize(("key", "is_one"), [
    ("tls.sni", True), ("tls.version", True), ("tls.client_subject", True),
    ("tls.client_fingerprint", True), ("tls.name", False), ("tls", False),
])
def test_keys_and_variables(tls: dict[str, Any], key: str, is_one: bool) -> None:
    for keys in ({"hash_on": key}, {"policy": {"call": "a:b", "cache_on": key}},
                 {"request_headers": {"set": {"x-a": f"is {{{key}}}"}}}):
        if is_one:
            build(tls, {}, {"balance": "maglev"}, **keys)
        else:
            with pytest.raises(fastlb.ConfigError, match=r"tls\.client_fingerprint"):
                build(tls, {}, {"balance": "maglev"}, **keys)


def test_what_can_never_be_there_is_warned_of(tls: dict[str, Any]) -> None:
    def said(config: fastlb.Config) -> list[str]:
        return [one for one in warnings(config, effective(config)) if "tls." in one
                and "certificates:" not in one]

    about = {"tls": {"sni": "a", "client_subject": "CN=a"}}
    keyed = {"balance": "maglev", "hash_on": "tls.sni"}
    assert said(build(tls, about, keyed)) == []
    unasked = {"certificates": tls["certificates"]}
    assert said(build(unasked, about, keyed)) == [
        "listeners.web: route 'in' is about tls.client_subject, and the listener asks clients for"
        " no certificates (client_auth)"]
    assert said(build(None, about, keyed)) == [
        "listeners.web: route 'in' is about tls.client_subject, and the listener has no TLS",
        "listeners.web: route 'in' is about tls.sni, and the listener has no TLS",
        "listeners.web: pool 'api' hashes tls.sni, and the listener has no TLS: client.ip is"
        " hashed instead"]
    assert said(build(None, {"not": about})) == []
    handed = build(None, about, keyed).model_dump(by_alias=True, exclude_unset=True)
    handed["listeners"]["edge"] = {
        "bind": "tls://127.0.0.1:0", "tls": tls,
        "routes": [{"name": "all", "match": {"protocol": "http/1.1"}, "listener": "web"}]}
    assert said(fastlb.Config.build(handed)) == []
