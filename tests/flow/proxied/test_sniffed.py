"""Routes of tcp by what a proxy tells of a client, and connections that they hand over."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

import fastlb
from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.core.openings import CONNECT_4, HELLO
from tests.flow.conftest import DEADLINE_S
from tests.flow.http.peers import Wire, get
from tests.flow.http2.peers import Client
from tests.flow.proxied.headers import HERE, LOCAL, V1, begin
from tests.flow.proxied.test_facts import ASKED, BELOW, CLIENTS, NO, SHOP, YES
from tests.flow.sniff.conftest import PATIENT, Edge, Make
from tests.flow.tls.peers import Authority

PLAIN = b"* hello\r\n"
SAID = {"plain": PLAIN, "tls": HELLO, "mqtt": CONNECT_4}
# (one of each comparison)
SOME = [ASKED[i] for i in (0, 2, 4, 6, 7, 9, 10, 12, 14, 16, 17, 18, 19, 21, 22)]


# What each header tells, for `explain`.
TOLD = {
    SHOP: {"authority": "Shop.Example", "unique_id": "id-1", "alpn": "h2",
           "vpce": "vpce-08d2bf15", "dst": "198.51.100.1:443"},
    BELOW: {"authority": "a.shop.example", "unique_id": "\0\1", "alpn": "http/1.1",
            "dst": "[2001:db8::1]:443"},
    V1: {"dst": "198.51.100.1:443"}, LOCAL: {}, b"": {},
}


def serves(made: Edge, header: bytes, data: bytes, pool: str) -> None:
    made.serves(says(made, header, data), pool, data, proxy=TOLD[header])


def says(made: Edge, header: bytes, data: bytes) -> Any:
    client = begin(made, header + data)
    client.settimeout(DEADLINE_S)
    return client


@pytest.mark.parametrize(("asked", "of"), SOME, ids=[str(one) for one, _ in SOME])
def test_routes(edge: Make, asked: dict[str, Any], of: str) -> None:
    for match, negated in (({"proxy": asked}, False), ({"not": {"proxy": asked}}, True)):
        if negated and len(asked) > 1:
            continue
        made = edge([{"name": "in", "match": match, "pool": "a"}], pool="b", **HERE)
        for name, header in CLIENTS.items():
            fits = (name in of.split()) != negated
            serves(made, header, PLAIN, "a" if fits else "b")


@pytest.mark.parametrize("said", SAID)
def test_routes_whatever_is_spoken(edge: Make, said: str) -> None:
    protocol = "unknown" if said == "plain" else said
    made = edge([
        {"name": "shop", "match": {"proxy": {"authority": "shop.example"}}, "pool": "a"},
        {"name": "below", "match": {"protocol": protocol, "proxy": {"alpn": "http/1.1"}},
         "pool": "b"}], pools="a b c", pool="c", **HERE)
    for header, pool in ((SHOP, "a"), (BELOW, "b"), (V1, "c"), (LOCAL, "c"), (b"", "c")):
        serves(made, header, SAID[said], pool)


def test_with_names_of_tls(edge: Make) -> None:
    """All of it has to hold; who has no name of TLS can have one of the proxy's."""
    made = edge([
        {"name": "both", "match": {"tls": {"sni": ["example.com", "*.example.com"]},
                                   "proxy": {"authority": "shop.example"}}, "pool": "a"},
        {"name": "inner", "match": {"tls": {"sni": "example.com"}}, "pool": "b"},
        {"name": "outer", "match": {"protocol": "unknown", "proxy": {"authority": "*.example"}},
         "pool": "c"}], pools="a b c d", pool="d", **HERE)
    for header, data, pool in (
        (SHOP, HELLO, "a"), (BELOW, HELLO, "b"), (LOCAL, HELLO, "b"), (b"", HELLO, "b"),
        (SHOP, PLAIN, "c"), (BELOW, PLAIN, "c"), (V1, PLAIN, "d"), (SHOP, CONNECT_4, "d"),
    ):
        serves(made, header, data, pool)


def test_who_says_nothing(edge: Make) -> None:
    made = edge([{"name": "shop", "match": {"proxy": {"authority": "shop.example"}}, "pool": "a"}],
                pool="b", sniff_timeout="20ms", **HERE)
    for header, pool in ((SHOP, "a"), (BELOW, "b")):
        serves(made, header, b"", pool)


def test_behind_tls(edge: Make, tls: dict[str, Any], authority: Authority) -> None:
    """The header comes before TLS; its ALPN is another one."""
    made = edge([
        {"name": "h2-there", "match": {"proxy": {"alpn": "h2"}, "tls": {"sni": "site.test"}},
         "pool": "a"}], bind="tls://127.0.0.1:0", tls=tls, pool="b", **HERE)
    for header, pool in ((SHOP, "a"), (BELOW, "b"), (LOCAL, "b")):
        context = authority.trusting()
        client = context.wrap_socket(begin(made, header), server_hostname="site.test")
        client.sendall(PLAIN)
        made.serves(client, pool, PLAIN)
        client.close()


def test_keys_splits_and_policies(edge: Make) -> None:
    kept: list[fastlb.Connection] = []

    def policy(connection: fastlb.Connection) -> None:
        kept.append(connection)

    made = edge([
        {"name": "asked", "match": {"proxy": {"authority": "shop.example"}},
         "policy": {"call": policy, "deadline": PATIENT}, "pool": "a"},
        {"name": "rest", "match": {"proxy": {"authority": True}},
         "split": {"a": 1, "b": 1}, "split_on": "proxy.unique_id"}], **HERE)
    for _ in range(2):
        serves(made, SHOP, PLAIN, "a")
    assert [(one.proxy.authority, one.proxy.dst) for one in kept if one.proxy] == [
        ("shop.example", "198.51.100.1:443")] * 2
    made.says(BELOW + PLAIN)
    made.says(BELOW + PLAIN)
    one = next(name for name in "ab" if made.origins[name].listener in _ready(made))
    for _ in range(2):
        assert made.origins[one].accept() is not None


def _ready(made: Edge) -> list[Any]:
    import select

    listeners = [made.origins[name].listener for name in "ab"]
    return select.select(listeners, [], [], DEADLINE_S)[0]


HTTP = {"name": "http", "match": {"protocol": ["http/1.1", "h2"]}, "listener": "web"}
SECURE = {"name": "https", "match": {"protocol": "tls"}, "listener": "secure"}


def web(**keys: Any) -> dict[str, Any]:
    """A listener that answers who was told of; it listens to no proxies itself."""
    def policy(request: fastlb.Request) -> fastlb.Response:
        return fastlb.Response(200, request.proxy.unique_id if request.proxy else "nobody")

    return {"bind": "http://127.0.0.1:0", **keys, "routes": [
        {"name": "shop", "match": {"path": "/r", "proxy": {"authority": "shop.example"}},
         "respond": YES},
        {"name": "not", "match": {"path": "/r"}, "respond": NO},
        {"name": "asked", "match": {"path": "/p"}, "policy": {"call": policy, "deadline": PATIENT}},
        {"name": "told", "match": {"path": "/t"}, "redirect": "https://{proxy.authority}/"}]}


def asks(client: Any) -> list[Any]:
    wire = Wire(client)
    found: list[Any] = []
    for path in ("/r", "/p", "/t", "/r"):
        wire.send(get(path))
        answer = wire.response()
        found.append(answer["location"] if path == "/t" else answer.body.decode()
                     if path == "/p" else answer.status)
    return found


KNOWN = [200, "id-1", "https://shop.example/", 200]
NOBODY = [403, "nobody", "https:///", 403]


def test_who_is_handed_over_is_known_there(edge: Make) -> None:
    made = edge([HTTP], pool="b", others={"web": web()}, **HERE)
    with made.balancer.records() as records:
        for header, wanted in ((SHOP, KNOWN), (b"", NOBODY), (LOCAL, NOBODY)):
            client = begin(made, header)
            assert asks(client) == wanted
            client.close()
        made.wait_idle()
        found = {one.proxy_authority for one in records.take() if one.client_ip == "192.0.2.7"}
    assert found == {"shop.example"}


def test_who_is_handed_over_with_tls_inside(
    edge: Make, tls: dict[str, Any], authority: Authority
) -> None:
    made = edge([SECURE], pool="b", **HERE,
                others={"secure": web(bind="https://127.0.0.1:0", tls=tls)})
    for header, wanted in ((SHOP, KNOWN), (b"", NOBODY)):
        context: ssl.SSLContext = authority.trusting()
        client = context.wrap_socket(begin(made, header), server_hostname="site.test")
        assert asks(client) == wanted
        client.close()


@pytest.mark.skipif(not H2_AVAILABLE, reason="built without HTTP/2")
def test_who_is_handed_over_with_http2(edge: Make) -> None:
    made = edge([HTTP], pool="b", others={"web": web()}, **HERE)
    for header, status, said in (
        (SHOP, 200, b"id-1"), (BELOW, 403, b"0001"), (b"", 403, b"nobody"),
    ):
        client = Client(begin(made, header))
        streams = [client.ask("/r") for _ in range(3)]
        assert {client.answer(stream).status for stream in streams} == {status}
        assert bytes(client.get("/p").body) == said
        client.close()
