"""Explanations of connections of tcp, by what a client says first, and of sessions of udp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb._core.tables.certificates import AVAILABLE, self_signed
from fastlb.cli import run
from fastlb.config.sniffing import PROTOCOLS
from fastlb.explain.model import Explanation

CONFIG = """\
[listeners.edge]
bind = "tcp://127.0.0.1:9100"
pool = "rest"
[[listeners.edge.routes]]
name = "old"
match = { protocol = "mqtt", mqtt = { level = ["3.1", "3.1.1"] } }
pool = "old"
hash_on = "mqtt.username"
[[listeners.edge.routes]]
name = "sensors"
match.protocol = "mqtt"
match.mqtt = { client_id = { prefix = "dev-" } }
match.not.client_ip = "10.0.0.0/8"
pool = "sensors"
[[listeners.edge.routes]]
name = "shop"
match.tls = { sni = "*.shop.test", alpn = "h2" }
split = { sensors = 3, rest = 1 }
[[listeners.edge.routes]]
name = "halves"
match.protocol = "postgres"
split = { sensors = 1, rest = 1 }
split_on = "client.ip"
[[listeners.edge.routes]]
name = "web"
match.protocol = ["http/1.1", "h2", "websocket"]
listener = "web"
[[listeners.edge.routes]]
name = "asked"
match.protocol = "ssh"
policy = "decisions:where"

[listeners.strict]
bind = "tcp://127.0.0.1:9101"
[[listeners.strict.routes]]
name = "redis"
match.protocol = "redis"
pool = "rest"

[listeners.web]
bind = "http://127.0.0.1:9102"
pool = "rest"
[listeners.plain]
bind = "tcp://127.0.0.1:9103"
pool = "rest"
[listeners.games]
bind = "udp://127.0.0.1:9104"
pool = "sensors"

[pools.rest]
servers = ["10.0.0.1:1"]
[pools.old]
servers = ["10.0.0.2:1", "10.0.0.3:1"]
balance = "maglev"
[pools.sensors]
servers = ["10.0.0.4:1", "10.0.0.5:1"]
balance = "maglev"
hash_on = "mqtt.client_id"
"""
EDGE, STRICT = "tcp://127.0.0.1:9100", "tcp://127.0.0.1:9101"


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "a.toml").write_text(CONFIG)
    return str(tmp_path / "a.toml")


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = run(["explain", *args])
    out, err = capsys.readouterr()
    return status, out, err


def known(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    status, out, err = said(capsys, *args, "--json")
    assert status == 0, err
    made: dict[str, Any] = json.loads(out)
    assert Explanation.from_json(made).as_json() == made
    return made


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_client_of_each_protocol_says_is_that_protocol(
    protocol: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = known(capsys, file, EDGE, "--says", protocol)
    assert made["says"].startswith(
        f"speaks {protocol}" if protocol != "unknown" else "says nothing, or nothing that is known")
    assert made["route"] == {
        "http/1.1": "web", "h2": "web", "websocket": "web", "ssh": "asked", "mqtt": "old",
        "postgres": "halves",
    }.get(protocol, "")
    assert made["handed"] == ("web" if made["route"] == "web" else "")


def test_what_speaks_for_and_against_each_route(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(
        capsys, file, EDGE, "--client-id", "dev-7", "--level", "5", "--from", "10.1.2.3:7")
    assert (status, err) == (0, "")
    assert out == """\
tcp://127.0.0.1:9100
├── listener edge (it listens on tcp://127.0.0.1:9100)
├── client 10.1.2.3:7
│   └── speaks mqtt, mqtt.client_id dev-7, mqtt.level 5
├── routes, in the order in which they are tried
│   ├── - shop: tls.sni *.shop.test, tls.alpn equals "h2"
│   │   └── it asks for no name; tls alpn is absent
│   ├── - sensors: mqtt, mqtt.client_id prefix "dev-", not client network "10.0.0.0/8"
│   │   └── client is "10.1.2.3": it must not be network "10.0.0.0/8"
│   ├── - old: mqtt, mqtt.level one of "3.1", "3.1.1"
│   │   └── mqtt level is "5", none of "3.1", "3.1.1"
│   ├── - halves: postgres
│   │   └── it speaks mqtt
│   ├── - web: http/1.1 or h2 or websocket
│   │   └── it speaks mqtt
│   └── - asked: ssh
│       └── it speaks mqtt
├── no route fits: the listener's own pool
├── pool rest, round_robin
│   ├── servers
│   │   └── 10.0.0.1:1: 100%
│   ├── picked: 10.0.0.1:1
│   └── retry: 3 tries, on connect_failure, reset
└── note: nothing is served here: all servers are as configured, and none is busy
"""


def test_keys_are_what_was_said(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = known(capsys, file, EDGE, "--client-id", "dev-7")["pools"][0]
    assert (made["key"]["on"], made["key"]["value"], made["key"]["missing"]) == (
        "mqtt.client_id", "dev-7", False)
    other = known(capsys, file, EDGE, "--client-id", "dev-8")["pools"][0]
    assert other["key"]["hash"] != made["key"]["hash"]
    made = known(capsys, file, EDGE, "--client-id", "x", "--username", "ann")["pools"][0]
    assert (made["name"], made["key"]["on"], made["key"]["value"]) == (
        "old", "mqtt.username", "ann")
    made = known(capsys, file, EDGE, "--client-id", "x")["pools"][0]
    assert made["key"]["missing"]


def test_splits(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = known(capsys, file, EDGE, "--sni", "A.Shop.test", "--alpn", "http/1.1,h2")
    assert (made["route"], made["action"]) == ("shop", "split")
    assert [(pool["name"], pool["share"]) for pool in made["pools"]] == [
        ("sensors", 0.75), ("rest", 0.25)]
    assert [pool["pick"][:8] for pool in made["pools"]] == [
        made["pools"][0]["pick"][:8], "10.0.0.1"]
    assert made["says"] == "speaks tls, tls.sni a.shop.test, tls.alpn http/1.1, h2"
    made = known(capsys, file, EDGE, "--says", "postgres", "--from", "10.9.9.9")
    assert made["split"]["key"]["value"] == "10.9.9.9" and len(made["pools"]) == 1


def test_where_it_goes_on_elsewhere_or_nowhere(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = said(capsys, file, EDGE, "--says", "h2")
    assert status == 0 and "goes on as a connection of listener web" in out
    status, out, _ = said(capsys, file, STRICT, "--says", "ssh")
    assert status == 0 and "no route fits, and the listener has no pool" in out and "closed" in out
    status, out, _ = said(capsys, file, EDGE, "--says", "ssh")
    assert "policy decisions:where was not asked; this is what None leads to" in out


def test_the_first_bytes_themselves(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hello").write_bytes(b"\x03" + bytes(1536))
    assert known(capsys, file, EDGE, "-d", f"@{tmp_path}/hello")["says"] == "speaks rtmp"
    assert known(capsys, file, STRICT, "-d", "PING\r\n")["route"] == "redis"


def test_a_session_of_udp(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = known(capsys, file, "udp://127.0.0.1:9104")
    assert (made["mode"], made["pools"][0]["name"], made["pools"][0]["retry"], made["says"]) == (
        "udp", "sensors", "", "")
    assert known(capsys, file, "udp://elsewhere:1")["listener"] == "games"


@pytest.mark.parametrize(("args", "problem"), [
    ((EDGE, "--says", "mqt"), "'mqt' is not a protocol. One of: unknown, tls,"),
    ((EDGE, "--says", "ssh", "--client-id", "7"), "a client of ssh doesn't say 'client_id'"),
    ((EDGE, "--level", "4"), "level: '4' is none of 3.1, 3.1.1, 5"),
    ((EDGE, "--says", "tls", "-d", "x"), "either the first bytes themselves are said, or"),
    ((EDGE, "--client-id", "a" * 65536), "client_id has more than 65535 bytes"),
    ((EDGE, "--sni", ".shop"), "sni: '.shop'"),
    ((EDGE, "--client-subject", "CN=a"), "listener 'edge' has no TLS, to know client_subject"),
    (("tcp://127.0.0.1:9103", "--says", "tls"),
     "listener 'plain' doesn't look at what its clients say first"),
    (("http://127.0.0.1:9102/", "--says", "tls"), "listener 'web' doesn't look at"),
])
def test_what_no_client_says(
    args: tuple[str, ...], problem: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, file, *args)
    assert (status, out) == (2, "")
    assert problem in err, err


@pytest.mark.skipif(not AVAILABLE, reason="built without TLS")
def test_behind_tls_its_facts_are_of_what_has_ended(tmp_path: Path) -> None:
    cert, key = self_signed(["site.test"], 90)
    (tmp_path / "a.pem").write_bytes(cert)
    (tmp_path / "a.key").write_bytes(key)
    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"edge": {
            "bind": "tls://127.0.0.1:0", "pool": "b",
            "tls": {"certificates": [
                {"cert": str(tmp_path / "a.pem"), "key": str(tmp_path / "a.key")}],
                "alpn": ["mqtt"]},
            "routes": [{
                "name": "mqtt", "pool": "a",
                "match": {"protocol": "mqtt", "tls": {"sni": "site.test", "alpn": "mqtt"}},
            }]}},
        "pools": {"a": {"servers": ["10.0.0.1:1"]}, "b": {"servers": ["10.0.0.2:1"]}},
    }))
    says = {"client_id": "7", "alpn": "mqtt"}
    made = balancer.explain("", "tls://site.test", tls={"sni": "site.test"}, says=says)
    assert (made.route, made.pool) == ("mqtt", "a"), str(made)
    assert "TLSv1.3" in made.tls
    assert balancer.explain("", "tls://site.test", tls={"sni": "x.test"}, says=says).pool == "b"
    assert balancer.explain("", "tls://site.test", says={"client_id": "7"}).pool == "b"
    assert balancer.explain("", "tls://x", says={"protocol": "tls", "sni": "site.test"}).pool == "b"


def where(connection: fastlb.Connection) -> object:
    """The policy of the tests below: it does what the client says."""
    assert connection.client.port == 4000
    said = connection.data.decode()
    return {
        "pool": "b", "hashed": fastlb.Hashed("b", "ann"),
        "close": fastlb.Close(), "more": fastlb.More(), "elsewhere": "c", "": None,
    }[said]


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"])
@pytest.mark.parametrize(("said", "action", "pool", "told"), [
    ("pool", "pool", "b", "said 'b'"), ("hashed", "pool", "b", "said Hashed("),
    ("", "pool", "a", "said None"),
    ("close", "refuse", None, "said Close()"), ("more", "wait", None, "said More()"),
    ("elsewhere", "refuse", None, "failed: "), ("nothing", "refuse", None, "failed: KeyError"),
])
def test_policies_are_called_with_what_is_said(
    bind: str, said: str, action: str, pool: str | None, told: str
) -> None:
    policy = {"call": where, **({"first_bytes": "100B"} if bind.startswith("tcp") else {})}
    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"edge": {"bind": bind, "pool": "a", "policy": policy}},
        "pools": {"a": {"servers": ["10.0.0.1:1"]},
                  "b": {"servers": ["10.0.0.2:1", "10.0.0.3:1"], "balance": "maglev"}},
    }))
    if bind.startswith("udp") and said == "more":
        action = "refuse"               # there is no more of a datagram
    url = bind.replace(":0", ":1")
    made = balancer.explain("", url, body=said, client="192.0.2.1:4000", call_policy=True)
    assert (made.action, made.pool) == (action, pool), str(made)
    assert made.policy is not None and made.policy.asked
    assert made.policy.said.startswith(told), made.policy
    if said == "hashed":
        assert made.pools[0].key is not None and made.pools[0].key.on == "of the policy"
        again = balancer.explain("", url, body="hashed", client="192.0.2.1:4000",
                                 call_policy=True)
        assert again.server == made.server
    told_of = balancer.explain("", url, body=said, client="192.0.2.1:4000").policy
    assert told_of is not None and not told_of.asked


def test_a_policy_that_fails_has_somewhere_to_go() -> None:
    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"edge": {
            "bind": "udp://127.0.0.1:0", "pool": "a", "policy": {"call": where, "on_error": "b"}}},
        "pools": {"a": {"servers": ["10.0.0.1:1"]}, "b": {"servers": ["10.0.0.2:1"]}},
    }))
    made = balancer.explain("", "udp://x", body="x", client="192.0.2.1:4000", call_policy=True)
    assert (made.action, made.pool) == ("pool", "b")


def test_a_policy_of_a_route_alone_has_to_say_it() -> None:
    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"edge": {"bind": "tcp://127.0.0.1:0", "routes": [
            {"name": "asked", "policy": {"call": where, "first_bytes": "100B"}}]}},
        "pools": {"b": {"servers": ["10.0.0.2:1"]}},
    }))
    made = balancer.explain("", "tcp://x")
    assert (made.action, made.pools, made.route) == ("policy", (), "asked")
    assert made.policy is not None and "it has to name a pool" in made.policy.said
    for said, action in (("pool", "pool"), ("", "refuse"), ("close", "refuse"), ("more", "wait")):
        made = balancer.explain("", "tcp://x", body=said, client="192.0.2.1:4000", call_policy=True)
        assert made.action == action, str(made)


@pytest.mark.parametrize(("keys", "problem"), [
    ({"says": {"alpn": ""}}, "alpn: '' is not like h2,http/1.1"),
    ({"says": {"alpn": "h2,,x"}}, "alpn: 'h2,,x' is not like"),
    ({"says": {"alpn": "x" * 256}}, "alpn: "),
    ({"says": {"alpn": ",".join(["h2"] * 9000)}}, "alpn: "),
    ({"says": {"sni": ".".join(["a" * 60] * 5)}}, "sni: "),
    ({"says": {"sni": "a\0b"}}, "sni: "),
    ({"says": {"sni": 5}}, "'sni': 5 is not a text"),
    ({"says": {"client_id": "\ud800"}}, "is not a text"),
    ({"says": {"\ud800": "x"}}, "a client of unknown doesn't say '\\ud800'"),
    ({"says": {"protocol": ["tls"]}}, "'protocol': a list is not a text"),
    ({"proxy": {"dst": "\u0663.1.1.1:80"}}, "listener 'edge' has no proxy_protocol"),
])
def test_what_nobody_can_have_said(keys: dict[str, Any], problem: str) -> None:
    explainer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"edge": {"bind": EDGE, "pool": "a", "routes": [
            {"name": "tls", "match": {"protocol": "tls"}, "pool": "a"}]}},
        "pools": {"a": {"servers": ["10.0.0.1:1"]}}}))
    with pytest.raises(ValueError) as caught:
        explainer.explain("", EDGE, **keys)
    assert problem in str(caught.value)


def test_a_policy_that_says_nothing_leaves_a_split_to_chance() -> None:
    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"edge": {"bind": EDGE, "routes": [{
            "name": "half", "split": {"a": 1, "b": 1},
            "policy": {"call": where, "first_bytes": "9B"}}]}},
        "pools": {"a": {"servers": ["10.0.0.1:1"]}, "b": {"servers": ["10.0.0.2:1"]}}}))
    for said, action, pools in (("", "split", 2), ("pool", "pool", 1)):
        made = balancer.explain("", EDGE, body=said, client="192.0.2.1:4000", call_policy=True)
        assert (made.action, len(made.pools)) == (action, pools), str(made)


def test_a_policy_knows_what_its_client_has_connected_to() -> None:
    seen: list[object] = []

    def policy(connection: fastlb.Connection) -> None:
        seen.append(tuple(connection.local))

    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"edge": {
            "bind": ["udp://127.0.0.1:1883", "udp://0.0.0.0:1884", "udp://[::]:1885"], "pool": "a",
            "policy": {"call": policy}}},
        "pools": {"a": {"servers": ["10.0.0.1:1"]}}}))
    for host in ("127.0.0.1:1883", "192.0.2.7:1884", "localhost:1884", "[2001:db8::7]:1885"):
        balancer.explain("", f"udp://{host}", call_policy=True)
    assert seen == [("127.0.0.1", 1883), ("192.0.2.7", 1884), ("0.0.0.0", 1884),
                    ("2001:db8::7", 1885)]


def test_keys_that_proxies_tell_are_shown_as_they_are_hashed() -> None:
    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"edge": {"bind": EDGE, "pool": "a",
                               "proxy_protocol": {"trusted": ["10.0.0.0/8"]}}},
        "pools": {"a": {"servers": ["10.0.0.1:1", "10.0.0.2:1"], "balance": "maglev",
                        "hash_on": "proxy.authority"}}}))
    keys = [balancer.explain("", EDGE, proxy={"authority": name}).pools[0].key
            for name in ("A.Example", "a.example")]
    assert keys[0] is not None and keys[0] == keys[1] and keys[0].value == "a.example"
