"""What a proxy tells of a client beside its address: to routes of http, policies, records and the
log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb.policy import Proxied
from tests.flow.conftest import Origin, Site, read_to_end, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Wire, get
from tests.flow.proxied.headers import HERE, INET, INET6, LOCAL, V1, begin, is_closed, tlv, v2

Web = Callable[..., HttpSite]
Make = Callable[..., Site]
Origins = Callable[..., HttpOrigin]

SHOP = v2(0x11, INET, tlv(2, b"Shop.Example"), tlv(5, b"id-1"), tlv(1, b"h2"),
          tlv(0xEA, b"\x01vpce-08d2bf15"))
BELOW = v2(0x21, INET6, tlv(2, b"a.shop.example"), tlv(5, b"\0\1"), tlv(1, b"http/1.1"))
CLIENTS = {"shop": SHOP, "below": BELOW, "v1": V1, "local": LOCAL, "nobody": b""}
FACTS = Proxied("shop.example", "id-1", "h2", "vpce-08d2bf15", "198.51.100.1:443")

# What is asked for, and of whom it is.
ASKED: list[tuple[dict[str, Any], str]] = [
    ({"authority": "Shop.Example"}, "shop"),
    ({"authority": {"equals": "shop.EXAMPLE"}}, "shop"),
    ({"authority": "*.shop.example"}, "below"),
    ({"authority": "*.example"}, "shop below"),
    ({"authority": ["other.example", "*.shop.example", "shop.example"]}, "shop below"),
    ({"authority": ["other.example", "shop.example"]}, "shop"),
    ({"authority": "hop.example"}, ""),
    ({"authority": {"suffix": "shop.example"}}, "shop below"),
    ({"authority": {"regex": "^[a-z]\\."}}, "below"),
    ({"authority": True}, "shop below"),
    ({"authority": False}, "v1 local nobody"),
    ({"unique_id": "id-1"}, "shop"),
    ({"unique_id": "0001"}, "below"),
    ({"alpn": ["h2", "http/1.1"]}, "shop below"),
    ({"alpn": {"prefix": "http/"}}, "below"),
    ({"vpce": "vpce-08d2bf15"}, "shop"),
    ({"vpce": {"contains": "8d2"}}, "shop"),
    ({"dst": "198.51.100.1:443"}, "shop v1"),
    ({"dst": "[2001:DB8:0::1]:443"}, "below"),
    ({"dst": {"suffix": ":443"}}, "shop below v1"),
    ({"dst": {"suffix": ":80"}}, ""),
    ({"dst": False}, "local nobody"),
    ({"alpn": "h2", "dst": {"suffix": ":443"}}, "shop"),
    ({"alpn": "h2", "dst": {"suffix": ":80"}}, ""),
]
YES, NO = {"status": 200}, {"status": 403}


def statuses(client: Any, paths: list[str]) -> list[int]:
    wire = Wire(client)
    found = []
    for path in paths:
        wire.send(get(path))
        found.append(wire.response().status)
    return found


@pytest.mark.h2
@pytest.mark.parametrize("negated", [False, True], ids=["is", "not"])
def test_routes(web: Web, origins: Origins, negated: bool) -> None:
    routes = []
    for i, (asked, _) in enumerate(ASKED):
        # (of several facts, none may hold)
        said = {"not": {"proxy": asked}} if negated and len(asked) == 1 else {"proxy": asked}
        routes.append({"name": f"r{i}", "match": {"path": f"/{i}", **said}, "respond": YES})
    made = web([origins().address], **HERE, routes=[*routes, {"name": "no", "respond": NO}]).site
    for name, header in CLIENTS.items():
        wanted = [
            (name in of.split()) != (negated and len(asked) == 1) for asked, of in ASKED]
        found = statuses(begin(made, header) if header else begin(made),
                         [f"/{i}" for i in range(len(ASKED))])
        assert [status == 200 for status in found] == wanted, name


def test_a_listener_without_it_knows_of_none(web: Web, origins: Origins) -> None:
    made = web([origins().address], routes=[
        {"name": "known", "match": {"proxy": {"dst": True}}, "respond": NO},
        {"name": "none", "match": {"not": {"proxy": {"dst": True}}}, "respond": YES}]).site
    assert statuses(begin(made), ["/"]) == [200]


@pytest.mark.plain
def test_bodies_are_looked_at_after_it(web: Web, origins: Origins) -> None:
    """One that a route by its facts doesn't want isn't waited for."""
    made = web([origins().address], **HERE, routes=[
        {"name": "json", "match": {"proxy": {"authority": "other"}, "json": {"a": "1"}},
         "respond": NO},
        {"name": "rest", "respond": YES}]).site
    wire = Wire(begin(made, SHOP))
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
              b"Content-Length: 9\r\n\r\n")
    assert wire.response().status == 200


@pytest.mark.h2
@pytest.mark.parametrize("where", ["here", "there"])
def test_policies(web: Web, origins: Origins, where: str) -> None:
    """On both sides, and longer than the connection."""
    kept: list[fastlb.Request] = []

    def here(request: fastlb.Request) -> fastlb.Response:
        kept.append(request)
        return fastlb.Response(200, request.proxy.authority if request.proxy else "nobody")

    async def there(request: fastlb.Request) -> fastlb.Response:
        return here(request)

    made = web([origins().address], **HERE, routes=[
        {"name": "asked", "policy": {
            "call": here if where == "here" else there, "deadline": "10m"}}]).site
    for header, authority in ((SHOP, "shop.example"), (V1, ""), (LOCAL, "nobody"), (b"", "nobody")):
        client = begin(made, header) if header else begin(made)
        wire = Wire(client)
        for _ in range(2):
            wire.send(get("/"))
            assert wire.response().body.decode() == authority
        client.close()
    made.wait_idle()
    found = [request.proxy for request in kept]
    assert found == [
        FACTS, FACTS, *[Proxied(dst="198.51.100.1:443")] * 2, None, None, None, None]
    assert kept[0].proxy is not None
    with pytest.raises(AttributeError):
        kept[0].proxy.dst = "other"     # type: ignore[misc]


@pytest.mark.parametrize("where", ["here", "there"])
def test_policies_of_tcp(site: Make, origin: Origin, where: str) -> None:
    kept: list[fastlb.Connection] = []

    async def there(connection: fastlb.Connection) -> None:
        await asyncio.sleep(0)
        kept.append(connection)

    made = site([origin.address], **HERE, policy={
        "call": kept.append if where == "here" else there, "deadline": "10m"})
    for header in (SHOP, LOCAL):
        client = begin(made, header)
        origin.accept().close()
        assert read_to_end(client) == b""
        client.close()
    made.wait_idle()
    assert [connection.proxy for connection in kept] == [FACTS, None]


def test_a_question_that_nobody_answers_in_time(web: Web, origins: Origins) -> None:
    """What was told of its client goes with it."""
    async def late(request: fastlb.Request) -> None:
        await asyncio.sleep(60)

    made = web([origins().address], **HERE, routes=[
        {"name": "asked", "policy": {"call": late, "deadline": "10ms"}}]).site
    assert statuses(begin(made, SHOP), ["/"]) == [503]


@pytest.mark.plain
def test_decisions_are_kept_by_what_was_told(web: Web, origins: Origins) -> None:
    asked: list[str] = []

    def policy(request: fastlb.Request) -> fastlb.Response:
        assert request.proxy is not None
        asked.append(request.proxy.unique_id)
        return fastlb.Response(200, request.proxy.unique_id)

    made = web([origins().address], **HERE, routes=[
        {"name": "asked", "policy": {
            "call": policy, "deadline": "10m", "cache_on": "proxy.unique_id",
            "cache_ttl": "1h"}}]).site
    for header, said in ((SHOP, b"id-1"), (BELOW, b"0001")) * 5:
        wire = Wire(begin(made, header))
        wire.send(get("/"))
        assert wire.response().body == said
    assert set(asked) == {"id-1", "0001"}
    assert len(asked) <= 4              # (each engine has decisions of its own)


def told(record: Any) -> tuple[str, ...]:
    return tuple(getattr(record, f"proxy_{name}") for name in FACTS._fields)


@pytest.mark.h2
def test_records(web: Web, origins: Origins) -> None:
    made = web([origins().address], **HERE).site
    with made.balancer.records() as records:
        for header in (SHOP, BELOW, V1, b""):
            client = begin(made, header) if header else begin(made)
            statuses(client, ["/a", "/b"])
            client.close()
        made.wait_idle()
        found = [told(record) for record in records.take()]
    assert sorted(found) == sorted([        # (engines have records of their own)
        *[tuple(FACTS)] * 2, *[("a.shop.example", "0001", "http/1.1", "", "[2001:db8::1]:443")] * 2,
        *[("", "", "", "", "198.51.100.1:443")] * 2, *[("",) * 5] * 2])


@pytest.mark.parametrize(("bind", "reason"), [
    ("tcp://127.0.0.1:0", "done"), ("http://127.0.0.1:0", "bad_request")])
def test_records_of_tcp_and_of_what_is_no_request(
    site: Make, origin: Origin, bind: str, reason: str
) -> None:
    made = site([origin.address], bind=bind, **HERE)
    with made.balancer.records() as records:
        client = begin(made, SHOP)
        if reason == "done":
            origin.accept().close()
        else:
            client.sendall(b"GET /\x01 HTTP/1.1\r\n\r\n")
        read_to_end(client)
        client.close()
        made.wait_idle()
        (record,) = records.take()
    assert (record.reason, told(record)) == (reason, tuple(FACTS))


@pytest.mark.plain
def test_who_is_refused_has_told_nothing(site: Make, origin: Origin) -> None:
    made = site([origin.address], **HERE)
    with made.balancer.records() as records:
        assert is_closed(begin(made, b"PROXY nonsense\r\n"))
        made.wait_idle()
        (record,) = records.take()
    assert (record.reason, told(record)) == ("proxy_header", ("",) * 5)


LONGEST = v2(0x21, INET6, tlv(2, b"a" * 255), tlv(5, b"\0" * 128), tlv(1, b"\0" * 255),
             tlv(0xEA, b"\x01" + b"\0" * 254))


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "http://127.0.0.1:0"])
def test_the_longest_facts(site: Make, origin: Origin, origins: Origins, bind: str) -> None:
    made = site([origin.address if bind.startswith("tcp") else origins().address], bind=bind,
                **HERE)
    with made.balancer.records() as records:
        client = begin(made, LONGEST)
        if bind.startswith("tcp"):
            origin.accept().close()
            read_to_end(client)
        else:
            statuses(client, ["/"])
        client.close()
        made.wait_idle()
        (record,) = records.take()
    assert told(record) == ("a" * 255, "00" * 128, "00" * 255, "00" * 254, "[2001:db8::1]:443")


@pytest.mark.plain
@pytest.mark.parametrize(("format", "line"), [
    ("{status} {proxy_authority} {proxy_unique_id} {proxy_alpn} {proxy_vpce} {proxy_dst}",
     "200 - 0001 - - 198.51.100.1:443"),
    ("json", '{"proxy_alpn":"","proxy_unique_id":"0001","proxy_dst":"198.51.100.1:443",'
     '"tls_sni":""}'),
    ("{tls_sni}", "-"),
    ("common", None),
])
def test_the_log(
    origins: Origins, tmp_path: Path, format: str, line: str | None
) -> None:
    log = tmp_path / "access.log"
    fields = ["proxy_alpn", "proxy_unique_id", "proxy_dst", "tls_sni"]
    balancer = fastlb.Balancer(threads=1, access_log={
        "path": str(log), "format": format, **({"fields": fields} if format == "json" else {})})
    pool = balancer.pool("pool", [origins().address])
    listener = balancer.listen("http://127.0.0.1:0", name="web", pool=pool, **HERE)
    made = Site(balancer, listener)
    with balancer.background():
        header = v2(0x11, INET, tlv(2, b'a"b'), tlv(5, b"\0\1"))
        assert statuses(begin(made, header), ["/"]) == [200]
        for client in made.clients:
            client.close()
        made.wait_idle()
    lines = log.read_text().splitlines()
    assert len(lines) == 1
    assert line is None or lines == [line]


def test_explain_while_it_runs(web: Web, origins: Origins) -> None:
    one, other = origins(name="one"), origins(name="other")
    made = web([one.address, other.address], **HERE, routes=[
        {"name": "shop", "match": {"proxy": {"authority": "shop.example"}}, "pool": "pool"},
        {"name": "rest", "respond": NO}]).site
    wait_until(lambda: made.balancer._instance.runtime is not None)
    said = made.balancer.explain("GET", "/", proxy={"authority": "Shop.example"})
    assert (said.route, said.live) == ("shop", True)
    assert made.balancer.explain("GET", "/").route == "rest"
    assert made.counts()["proxied"] == 0
