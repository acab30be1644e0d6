"""Routes of tcp listeners, as they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

import fastlb
from fastlb._core.tables.certificates import AVAILABLE, self_signed
from fastlb.cli import run
from fastlb.config.diff import diff
from fastlb.config.effective import effective
from fastlb.config.effective_sniffing import EffectiveSniffing, SniffRoute
from fastlb.config.schema import schema
from fastlb.config.warn import warnings

POOLS = {name: {"servers": ["10.0.0.1:7000"]} for name in ("a", "b")}


def raw(*routes: dict[str, Any], bind: str = "tcp://127.0.0.1:8443", **keys: Any) -> dict[str, Any]:
    named = [{"name": f"r{i}", **route} for i, route in enumerate(routes)]
    return {
        "listeners": {
            "web": {"bind": "http://127.0.0.1:8080", "pool": "a"},
            "edge": {"bind": bind, "routes": named, **keys},
        },
        "pools": POOLS,
    }


def sniffing(config: fastlb.Config) -> EffectiveSniffing:
    found = effective(config).listeners[1].sniffing
    assert found is not None
    return found


def routes(*made: dict[str, Any], **keys: Any) -> tuple[SniffRoute, ...]:
    return sniffing(fastlb.Config.build(raw(*made, **keys))).routes


SO_HTTP = "; write http:// there if its clients speak HTTP"


def wrong(*made: dict[str, Any], **keys: Any) -> list[str]:
    with pytest.raises(fastlb.ConfigError) as caught:
        fastlb.Config.build(raw(*made, **keys))
    return [f"{one.path.removeprefix('listeners.edge.')}: {one.message}"
            for one in caught.value.problems]


def warned(*made: dict[str, Any], **keys: Any) -> list[str]:
    config = fastlb.Config.build(raw(*made, **keys))
    return [one for one in warnings(config, effective(config)) if "no listener uses" not in one]


def test_the_example_of_the_first_page() -> None:
    found = routes(
        {"match": {"protocol": "mqtt"}, "pool": "a"},
        {"match": {"protocol": "tls", "tls": {"sni": "*.Shop.example"}}, "pool": "b"},
        {"match": {"protocol": ["websocket", "h2", "http/1.1"]}, "listener": "web"}, pool="b",
    )
    assert [(one.name, one.sni, one.protocols, one.pool, one.listener) for one in found] == [
        ("r1", "*.shop.example", ("tls",), "b", ""),
        ("r0", "", ("mqtt",), "a", ""),
        ("r2", "", ("http/1.1", "h2", "websocket"), "", "web"),
    ]


def test_routes_stand_in_the_order_in_which_they_are_tried() -> None:
    found = routes(
        {"pool": "a"}, {"match": {"protocol": "tls"}, "pool": "a"},
        {"match": {"tls": {"sni": ["*.x.test", "a.test"]}}, "pool": "a"},
        {"match": {"tls": {"sni": "*.long.x.test"}}, "pool": "a"},
        {"match": {"protocol": "mqtt", "mqtt": {"level": "5"}}, "pool": "a"},
        {"match": {"tls": {"sni": {"prefix": "a"}}}, "pool": "a"},
        {"match": {"tls": {"sni": "b.test", "alpn": "h2"}}, "pool": "a"},
    )
    assert [(one.name, one.sni) for one in found] == [
        ("r6", "b.test"), ("r2", "a.test"), ("r3", "*.long.x.test"), ("r2", "*.x.test"),
        ("r4", ""), ("r1", ""), ("r5", ""), ("r0", ""),
    ]


def test_times_have_defaults() -> None:
    made = sniffing(fastlb.Config.build(raw({"pool": "a"})))
    assert (made.silence_ms, made.whole_ms) == (250, 5000)
    made = sniffing(fastlb.Config.build(
        raw({"pool": "a"}, sniff_timeout="1s", sniff_whole_timeout="2s")))
    assert (made.silence_ms, made.whole_ms) == (1000, 2000)


@pytest.mark.parametrize(("key", "bind", "looks"), [
    ("client.ip", "tcp", False), ("mqtt.client_id", "tcp", True), ("tls.sni", "tcp", True),
    ("tls.version", "tcp", False),
])
def test_without_routes_first_bytes_are_looked_at_where_the_pool_hashes_them(
    key: str, bind: str, looks: bool
) -> None:
    pool = {"servers": ["10.0.0.1:7000"], "balance": "maglev", "hash_on": key}
    for name in ("p", "before"):
        config = fastlb.Config.build({
            "listeners": {"edge": {"bind": f"{bind}://127.0.0.1:8443", "pool": name}},
            "pools": {"p": pool, "before": {"servers": ["10.0.0.1:7000"], "fallback": "p"}}})
        assert (effective(config).listeners[0].sniffing is not None) == looks


@pytest.mark.parametrize(("route", "told"), [
    ({"match": {"protocol": "mqt"}, "pool": "a"},
     "routes[0].match.protocol: 'mqt' is not a protocol; did you mean 'mqtt'? One of: unknown, tls,"
     " http/1.1, h2, websocket, mqtt, rtmp, ssh, redis, postgres"),
    ({"match": {"protocol": []}, "pool": "a"}, "routes[0].match.protocol: the list is empty"),
    ({"match": {"mqtt": {"level": "4"}}, "pool": "a"},
     "routes[0].match.mqtt.level: '4' is not a valid value. One of: 3.1, 3.1.1, 5"),
    ({"match": {"mqtt": {"clientid": "x"}}, "pool": "a"},
     "routes[0].match.mqtt.clientid: 'clientid' is not a key here; did you mean 'client_id'?"
     " One of: client_id, username, level"),
    ({"match": {"mqtt": {"client_id": {"like": "x"}}}, "pool": "a"},
     "routes[0].match.mqtt.client_id.like: 'like' is not a key here. One of: equals, present,"
     " prefix, suffix, contains, regex, one_of"),
    ({"match": {"mqtt": {"client_id": {"prefix": "x", "suffix": "y"}}}, "pool": "a"},
     "routes[0].match.mqtt.client_id: give exactly one of equals, present, prefix, suffix,"
     " contains, regex, one_of"),
    ({"match": {"tls": {"sni": "*.a b"}}, "pool": "a"},
     "routes[0].match.tls.sni: '*.a b' is not a host; write it like \"example.com\" or"
     " \"*.example.com\""),
    ({"match": {"path": "/x"}, "pool": "a"},
     "routes[0].match.path: path is for HTTP only, and bind is tcp://" + SO_HTTP),
    ({"match": {"not": {"headers": {"x": "y"}}}, "pool": "a"},
     "routes[0].match.not.headers: headers is for HTTP only, and bind is tcp://" + SO_HTTP),
    ({"match": {"tls": {"version": "TLSv1.3"}}, "pool": "a"},
     "routes[0].match.tls.version: version is known only where TLS ends, and bind is tcp://"),
    ({"pool": "a", "rewrite": {"path": "/"}},
     "routes[0].rewrite: rewrite belongs to a route of an http listener, and bind is tcp://"
     + SO_HTTP),
    ({"pool": "a", "hash_on": "header.x"},
     "routes[0].hash_on: header.x is for HTTP only, and bind is tcp://" + SO_HTTP),
    ({"pool": "a", "listener": "web"},
     "routes[0]: a route has exactly one of pool, split, listener; this one has pool and listener"),
    ({}, "routes[0]: a route has exactly one of pool, split, listener; this one has none"),
    ({"listener": "wb"}, "routes[0].listener: there is no listener 'wb'; did you mean 'web'?"
     " One of: web"),
    ({"listener": "edge"}, "routes[0].listener: listener 'edge' is none of http: a connection that"
     " stays one of tcp goes to a pool"),
    ({"pool": "c"}, "routes[0].pool: there is no pool 'c'. One of: a, b"),
    ({"policy": {"call": "m:f", "body": "1KiB"}},
     "routes[0].policy.body: body belongs to the policy of an http route"),
    ({"policy": "m:f", "listener": "web"},
     "routes[0].listener: a policy decides, or leaves it to pool or split: listener can't be"
     " beside it"),
    ({"match": {"protocol": "tls", "not": {"protocol": ["tls", "ssh"]}}, "pool": "a"},
     "routes[0].match.not.protocol: no protocol is left for this route"),
])
def test_mistakes_are_told_in_these_words(route: dict[str, Any], told: str) -> None:
    assert told in wrong(route)


@pytest.mark.parametrize(("route", "told"), [
    ({"match": {"protocol": "mqtt"}, "pool": "a"},
     "routes[0].match.protocol: protocol belongs to a route of a tcp listener, and bind is"
     " http://"),
    ({"match": {"mqtt": {"client_id": "x"}}, "pool": "a"},
     "routes[0].match.mqtt: mqtt belongs to a route of a tcp listener, and bind is http://"),
    ({"match": {"tls": {"alpn": "h2"}}, "pool": "a"},
     "routes[0].match.tls.alpn: alpn belongs to a route of a tcp listener, and bind is http://"),
    ({"listener": "web"},
     "routes[0].listener: listener belongs to a route of a tcp listener, and bind is http://"),
    ({"pool": "a", "hash_on": "mqtt.client_id"},
     "routes[0].hash_on: mqtt.client_id is for TCP only, and bind is http://"),
])
def test_what_routes_of_http_have_not(route: dict[str, Any], told: str) -> None:
    assert told in wrong(route, bind="http://127.0.0.1:8443")


def test_times_belong_to_tcp() -> None:
    assert wrong({"pool": "a"}, bind="http://127.0.0.1:8443", sniff_timeout="1s") == [
        "sniff_timeout: sniff_timeout belongs to a tcp listener, and bind is http://"]


@pytest.mark.skipif(not AVAILABLE, reason="built without TLS")
def test_tls_ends_once(tmp_path: Path) -> None:
    (tmp_path / "pair.pem").write_bytes(b"".join(self_signed(["a"], 90)))
    tls = {"certificates": [{"cert": str(tmp_path / "pair.pem")}]}
    made = raw({"match": {"tls": {"version": "TLSv1.3", "client_subject": "CN=x"}}, "pool": "a"},
               {"listener": "web"}, bind="tls://127.0.0.1:8443", tls=tls)
    fastlb.Config.build(made)
    made["listeners"]["web"] = {"bind": "https://127.0.0.1:8080", "pool": "a", "tls": tls}
    with pytest.raises(fastlb.ConfigError, match="wants TLS, which ends at this one already"):
        fastlb.Config.build(made)
    made["listeners"]["edge"] = {
        "bind": "tcp://127.0.0.1:8443", "routes": [
            {"name": "x", "match": {"protocol": ["http/1.1", "tls"]}, "listener": "web"}]}
    config = fastlb.Config.build(made)
    assert [one for one in warnings(config, effective(config)) if one.startswith("listeners.edge")
            ] == ["listeners.edge: route 'x' hands http/1.1 to listener 'web', which takes TLS"
                  " alone"]


@pytest.mark.parametrize(("second", "reached"), [
    ({"protocol": ["mqtt", "tls"]}, True), ({"protocol": "mqtt"}, False),
    ({"protocol": "mqtt", "client_ip": "10.0.0.0/8"}, True),     # (tried before)
    ({"protocol": "ssh"}, True),
])
def test_what_can_not_be_reached_is_warned_of(second: dict[str, Any], reached: bool) -> None:
    told = warned({"match": {"protocol": ["mqtt"]}, "pool": "a"}, {"match": second, "pool": "b"})
    assert told == ([] if reached else [
        "listeners.edge: route 'r1' is never reached: all that fits it fits 'r0', which is tried"
        " before"])


@pytest.mark.parametrize(("match", "told"), [
    ({"protocol": "ssh", "mqtt": {"client_id": "x"}},
     "route 'r0' is never reached: what it asks about MQTT is not in ssh"),
    ({"protocol": ["mqtt"], "tls": {"sni": "a.test"}},
     "route 'r0' of a.test is never reached: what it asks about TLS is not in mqtt"),
    ({"tls": {"alpn": "mqtt"}, "mqtt": {"username": "x"}},
     "route 'r0' is never reached: MQTT inside TLS can't be read where the TLS doesn't end"),
])
def test_conditions_that_can_not_hold_together(match: dict[str, Any], told: str) -> None:
    assert warned({"match": match, "pool": "a"}) == [f"listeners.edge: {told}"]


def test_a_hand_over_of_what_the_listener_does_not_take() -> None:
    assert warned({"match": {"protocol": ["tls", "h2"]}, "listener": "web"}) == [
        "listeners.edge: route 'r0' hands tls to listener 'web', which takes HTTP alone"]


def test_a_pool_for_requests_is_none_for_connections() -> None:
    made = raw({"match": {"protocol": "mqtt"}, "split": {"b": 1}})
    made["pools"] = {**POOLS, "b": {
        "servers": ["10.0.0.1:1"], "balance": "maglev", "hash_on": "path.x"}}
    with pytest.raises(fastlb.ConfigError, match=r"path\.x is for HTTP only, and listeners\.edge"):
        fastlb.Config.build(made)


def test_requests_have_no_keys_of_mqtt() -> None:
    made = raw({"pool": "b"})
    made["pools"] = {**POOLS, "a": {
        "servers": ["10.0.0.1:1"], "balance": "maglev", "hash_on": "mqtt.username"}}
    config = fastlb.Config.build(made)
    assert (
        "listeners.web: pool 'a' hashes mqtt.username, which no request has: client.ip is hashed"
        " instead"
    ) in list(warnings(config, effective(config)))


def test_the_schema_takes_them() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    good = raw(
        {"match": {"protocol": "mqtt", "mqtt": {"client_id": ["a"], "level": "5"}}, "pool": "a"},
        {"match": {"protocol": ["tls"], "tls": {"sni": "*.a.test", "alpn": ["h2"]}},
         "listener": "web"})
    fastlb.Config.build(good)
    assert list(validator.iter_errors(good)) == []
    assert list(validator.iter_errors(raw({"match": {"protocol": "smtp"}, "pool": "a"})))


def test_a_difference_is_told_by_routes() -> None:
    old = fastlb.Config.build(raw({"match": {"protocol": "mqtt"}, "pool": "a"}))
    new = fastlb.Config.build(raw({"match": {"protocol": ["mqtt", "tls"]}, "pool": "a"},
                                  sniff_timeout="250ms"))
    assert [str(one) for one in diff(old, new)] == [
        '~ listeners.edge.routes.r0.match.protocol: ["mqtt"] -> ["mqtt", "tls"]']


FILE = """
[listeners.web]
bind = "http://127.0.0.1:8080"
pool = "a"
[listeners.edge]
bind = "tcp://127.0.0.1:8443"
routes = [
    { name = "mqtt", match.protocol = "mqtt", match.mqtt.client_id.prefix = "s-", pool = "a" },
    { name = "shop", match.tls = { sni = ["b.test", "*.shop.example"] }, split = { a = 1, b = 3 } },
    { name = "http", match.protocol = ["h2", "http/1.1"], listener = "web" },
]
[pools.a]
servers = ["10.0.0.1:7000"]
[pools.b]
servers = ["10.0.0.1:7000"]
"""


def test_check_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.toml"
    path.write_text(FILE)
    assert run(["check", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("  routes, in the order in which they are tried")
    assert [line.split(None, 1) for line in lines[at + 1 : at + 5]] == [
        ["shop", "tls.sni b.test -> split a 1, b 3"],
        ["shop", "tls.sni *.shop.example -> split a 1, b 3"],
        ["mqtt", "mqtt, mqtt.client_id prefix \"s-\" -> pool a"],
        ["http", "http/1.1 or h2 -> listener web"],
    ]
    assert any(line.split() == ["sniff_timeout", "250ms", "built", "in"] for line in lines)


def test_names_of_http_may_be_wild_too() -> None:
    made = raw({"match": {"tls": {"sni": ["a.test", "*.B.test"]}}, "pool": "a"},
               bind="http://127.0.0.1:8443")
    http = effective(fastlb.Config.build(made)).listeners[1].http
    assert http is not None
    condition = http.routes[0].conditions[0]
    assert (condition.op, condition.value) == ("names", "a.test\n.b.test")
