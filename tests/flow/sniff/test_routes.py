"""Which route of several a connection takes, and where it goes in its pool."""

from __future__ import annotations

import socket
import ssl
import subprocess
from typing import Any

import pytest

from tests.core.openings import CONNECT_4, CONNECT_5, HELLO, hello, records
from tests.flow.conftest import DEADLINE_S, Origin, read_exactly, wait_until
from tests.flow.sniff.conftest import Edge, Make
from tests.flow.tls.peers import Authority, TlsOrigin, serial, serial_of, serving
from tests.flow.tls.turns import all_is_heard, time_passes


def asks_for(name: str, *protocols: str) -> bytes:
    """A hello."""
    host = b"\0" + len(name).to_bytes(2, "big") + name.encode()
    extensions = [b"\0\0" + (len(host) + 2).to_bytes(2, "big") + len(host).to_bytes(2, "big")
                  + host] if name else []
    if protocols:
        listed = b"".join(bytes([len(one)]) + one.encode() for one in protocols)
        extensions.append(b"\0\x10" + (len(listed) + 2).to_bytes(2, "big")
                          + len(listed).to_bytes(2, "big") + listed)
    return records(hello(*extensions))


def connects(client_id: str = "i", username: str = "", level: int = 4) -> bytes:
    """A CONNECT of MQTT."""
    name = b"\0\6MQIsdp" if level == 3 else b"\0\4MQTT"
    body = name + bytes([level, 0x82 if username else 2, 0, 60]) + (b"\0" if level == 5 else b"")
    for text in (client_id, username):
        if text or text is client_id:
            body += len(text).to_bytes(2, "big") + text.encode()
    assert len(body) < 128
    return b"\x10" + bytes([len(body)]) + body


def of_names(*names: Any) -> list[dict[str, Any]]:
    """Routes to the pools a, b, c and so on."""
    return [{"name": pool, "match": {"tls": {"sni": name}}, "pool": pool}
            for pool, name in zip("abcdef", names, strict=False)]


def goes(made: Edge, data: bytes, pool: str) -> None:
    made.serves(made.says(data), pool, data)


def test_the_very_name_comes_before_the_longest_wildcard_before_any(edge: Make) -> None:
    made = edge([
        {"name": "any", "match": {"protocol": "tls"}, "pool": "d"},
        *of_names("*.test", "*.shop.test", "x.shop.test"),
    ], "a b c d e", pool="e")
    for name, pool in (("x.shop.test", "c"), ("X.Shop.TEST", "c"), ("y.shop.test", "b"),
                       ("z.x.shop.test", "b"), ("shop.test", "a"), ("test", "d"), ("", "d"),
                       ("other.example", "d")):
        goes(made, asks_for(name), pool)
    goes(made, CONNECT_4, "e")


def test_a_list_of_names_is_as_if_each_had_a_route(edge: Make) -> None:
    made = edge(of_names(["a.test", "*.b.test"], ["*.test", "x.b.test"]), "a b c", pool="c")
    for name, pool in (("a.test", "a"), ("y.b.test", "a"), ("x.b.test", "b"), ("c.test", "b"),
                       ("b.test", "b"), ("test", "c")):
        goes(made, asks_for(name), pool)


def test_thousands_of_names_are_told_apart(edge: Make) -> None:
    many = [f"n{i}.test" for i in range(3000)]
    made = edge(of_names(many[::2], many[1::2], "*.test"), "a b c d", pool="d")
    for i in (0, 1, 1500, 1501, 2998, 2999):
        goes(made, asks_for(many[i]), "ab"[i % 2])
    goes(made, asks_for("n3000.test"), "c")


def test_names_may_be_compared(edge: Make) -> None:
    made = edge(of_names({"prefix": "api-"}, {"regex": "^v[0-9]+\\."}, {"present": True}, False),
                "a b c d e", pool="e")
    for name, pool in (("api-1.test", "a"), ("v12.test", "b"), ("v.test", "c")):
        goes(made, asks_for(name), pool)
    goes(made, asks_for(""), "d")
    goes(made, CONNECT_4, "d")


def test_more_conditions_come_first_then_the_order_of_writing(edge: Make) -> None:
    made = edge([
        {"name": "tls", "match": {"protocol": "tls"}, "pool": "a"},
        {"name": "h2", "match": {"protocol": "tls", "tls": {"alpn": "h2"}}, "pool": "b"},
        {"name": "late", "match": {"protocol": "tls", "tls": {"alpn": "h2"}}, "pool": "d"},
        {"name": "acme", "match": {"tls": {"alpn": ["acme-tls/1"], "sni": "a.test"}}, "pool": "c"},
    ], "a b c d")
    goes(made, asks_for("a.test", "http/1.1"), "a")
    goes(made, asks_for("a.test", "http/1.1", "h2"), "b")
    goes(made, asks_for("a.test", "h2", "acme-tls/1"), "c")
    goes(made, asks_for("b.test", "acme-tls/1"), "a")


def test_what_must_not_fit(edge: Make) -> None:
    made = edge([
        {"name": "a", "match": {"not": {"protocol": ["mqtt", "unknown"]}}, "pool": "a"},
        {"name": "b", "match": {"protocol": "mqtt", "not": {
            "mqtt": {"client_id": {"prefix": "x"}}, "client_ip": "10.0.0.0/8"}}, "pool": "b"},
    ], "a b c", pool="c")
    goes(made, HELLO, "a")
    goes(made, b"PING\r\n", "a")
    goes(made, connects("y"), "b")
    goes(made, connects("xy"), "c")
    goes(made, b"HELO x\r\n", "c")


def test_the_client_may_be_asked_about(edge: Make) -> None:
    made = edge([
        {"name": "a", "match": {"client_ip": "10.0.0.0/8"}, "pool": "a"},
        {"name": "b", "match": {"client_ip": ["127.0.0.0/8", "::1/128"]}, "pool": "b"},
    ])
    goes(made, HELLO, "b")


@pytest.mark.parametrize(("match", "fits", "not_fits"), [
    ({"client_id": "one"}, [connects("one")], [connects("two"), connects("")]),
    ({"client_id": {"prefix": "gw-"}}, [connects("gw-7", level=5)], [connects("g")]),
    ({"client_id": ["one", "two"]}, [connects("two")], [connects("three")]),
    ({"username": "ann"}, [connects("x", "ann"), connects("x", "ann", 3)], [connects("ann")]),
    ({"username": False}, [connects("x")], [connects("x", "ann")]),
    ({"level": "5"}, [CONNECT_5], [CONNECT_4, connects(level=3)]),
    ({"level": ["3.1", "3.1.1"]}, [CONNECT_4, connects(level=3)], [CONNECT_5]),
])
def test_clients_of_mqtt_by_what_they_say(
    edge: Make, match: dict[str, Any], fits: list[bytes], not_fits: list[bytes]
) -> None:
    made = edge([{"name": "a", "match": {"protocol": "mqtt", "mqtt": match}, "pool": "a"}],
                pool="b")
    for data in fits:
        goes(made, data, "a")
    for data in not_fits:
        goes(made, data, "b")


def spread(made: Edge, origins: list[Origin], openings: list[bytes]) -> list[set[bytes]]:
    """Which openings each origin gets; each comes three times."""
    pool = made.balancer.pools["a"]
    pool.set_servers([origin.address for origin in origins]).wait(DEADLINE_S)
    found: list[set[bytes]] = [set() for _ in origins]

    def in_flight() -> list[int]:
        return [pool.stats()[origin.address]["in_flight"] for origin in origins]

    for data in openings * 3:
        client = made.says(data)
        wait_until(lambda: made.counts()["descriptors"] == 2)
        wait_until(lambda: sum(in_flight()) == 1)
        at = in_flight().index(1)
        server = origins[at].accept()
        assert read_exactly(server, len(data)) == data
        found[at].add(data)
        client.close()
        server.close()
        made.wait_idle()
    return found


@pytest.mark.parametrize(("key", "openings"), [
    ("mqtt.client_id", [connects(f"sensor-{i}") for i in range(24)]),
    ("mqtt.username", [connects("same", f"user-{i}") for i in range(24)]),
    ("tls.sni", [asks_for(f"n{i}.test") for i in range(24)]),
])
@pytest.mark.parametrize("of", ["pool", "route", "no route"])
def test_a_key_stays_with_its_server(
    edge: Make, key: str, openings: list[bytes], of: str
) -> None:
    pool = {"balance": "ring_hash"}
    keys = {"hash_on": key} if of == "route" else {}
    routes = [] if of == "no route" else [
        {"name": "all", "match": {"protocol": ["tls", "mqtt"]}, "pool": "a", **keys}]
    made = edge(routes, **({"pool": "a"} if of == "no route" else {}),
                of={"a": pool if of == "route" else {**pool, "hash_on": key}})
    origins = [Origin() for _ in range(3)]
    found = spread(made, origins, openings)
    assert set().union(*found) == set(openings)
    assert sum(map(len, found)) == len(openings)        # each at one server
    assert sum(map(bool, found)) > 1                    # and not all at the same
    assert made.totals()["keys_missing"] == 0
    for origin in origins:
        origin.close()


def test_a_key_that_a_client_lacks_is_its_address_and_counted(edge: Make) -> None:
    made = edge([{"name": "all", "pool": "a"}],
                of={"a": {"balance": "maglev", "hash_on": "mqtt.client_id"}})
    for data in (HELLO, connects(""), b"PING\r\n"):
        goes(made, data, "a")
    assert made.totals()["keys_missing"] == 3


def test_a_split_shares_connections_out(edge: Make) -> None:
    made = edge([
        {"name": "all", "match": {"protocol": "mqtt"}, "split": {"a": 1, "b": 1},
         "split_on": "mqtt.client_id"},
        {"name": "tls", "match": {"protocol": "tls"}, "split": {"a": 0, "b": 1}},
    ])
    openings = [connects(f"sensor-{i}") for i in range(20)] * 2
    for data in openings:
        made.says(data)

    def connections(name: str) -> int:
        stats = made.balancer.pools[name].stats()[made.origins[name].address]
        return int(stats["connections"])

    wait_until(lambda: connections("a") + connections("b") == len(openings))
    got: dict[str, list[bytes]] = {}
    for name, origin in made.origins.items():
        n = connections(name)
        got[name] = [read_exactly(origin.accept(), len(connects("sensor-1"))) for _ in range(n)]
    ids = {name: {data[: data.index(b"sensor") + 9] for data in found}
           for name, found in got.items()}
    assert ids["a"] and ids["b"]
    for _ in range(5):
        goes(made, HELLO, "b")


def test_routes_are_counted_and_recorded_by_their_names(edge: Make) -> None:
    made = edge(of_names("*.test"), pool="b")
    records = made.balancer.records()
    for data, pool in ((asks_for("x.test"), "a"), (asks_for("y.test"), "a"), (CONNECT_4, "b")):
        client = made.says(data)
        server = made.serves(client, pool, data)
        client.close()
        server.close()
    made.wait_idle()
    found = made.scraped()
    name = "fastlb_sessions_total"
    assert found(name, listener="edge", route="a", pool="a", reason="done") == 2
    assert found(name, listener="edge", route="", pool="b", reason="done") == 1
    assert found("fastlb_protocols_unknown_total", engine="0") == 0
    taken = []
    wait_until(lambda: (taken.extend(records.take()), len(taken) == 3)[1])
    assert sorted((one.route, one.pool, one.tls_sni) for one in taken) == [
        ("", "b", ""), ("a", "a", "x.test"), ("a", "a", "y.test")]
    records.close()


def test_clients_of_tls_reach_the_server_whose_name_they_ask_for(
    edge: Make, authority: Authority
) -> None:
    """Its certificate is what they see: nobody ends TLS in between."""
    def serve(peer: socket.socket) -> None:
        peer.sendall(peer.recv(100))

    names = ("one.site.test", "two.site.test")
    leaves = [authority.issue(name) for name in names]
    servers = [TlsOrigin(serve, serving(leaf)) for leaf in leaves]
    made = edge(of_names(*names))
    for pool, server in zip("ab", servers, strict=True):
        made.balancer.pools[pool].set_servers([server.address]).wait(DEADLINE_S)
    context = authority.trusting(offers=["h2"])
    for name in names * 2:
        raw = socket.create_connection(("127.0.0.1", made.listener.port), DEADLINE_S)
        with context.wrap_socket(raw, server_hostname=name) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
    for name in names:
        asked = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{made.listener.port}", "-servername",
             name, "-CAfile", authority.cert, "-verify_return_error", "-ign_eof", "-quiet"],
            input=b"hello", capture_output=True, timeout=DEADLINE_S)
        assert asked.stdout == b"hello", asked.stderr
    with pytest.raises(OSError), socket.create_connection(
            ("127.0.0.1", made.listener.port), DEADLINE_S) as raw:
        context.wrap_socket(raw, server_hostname="three.site.test")
    for server in servers:
        server.close()
    wait_until(lambda: made.ended().get("no_route") == 1)


def test_a_reload_finds_clients_in_the_middle_of_a_hello(edge: Make) -> None:
    """They go by the routes that they came with, and those who come later by the new ones."""
    import asyncio

    import fastlb

    made = edge(of_names("a.test"), pool="b", sniff_whole_timeout="60s")
    data = asks_for("a.test")
    early = made.says(data[:40])
    wait_until(lambda: made.counts()["exchanges"] == 1)
    raw = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    raw["listeners"]["edge"]["routes"][0]["pool"] = "b"
    asyncio.run(made.balancer.reload(fastlb.Config.build(raw)))
    all_is_heard(made)
    early.sendall(data[40:])
    made.serves(early, "a", data, explained=False)
    goes(made, data, "b")


def test_tls_that_ends_here_is_looked_into(
    edge: Make, tls: dict[str, Any], authority: Authority
) -> None:
    """The facts are those of what has ended."""
    made = edge([
        {"name": "mqtt", "match": {"protocol": "mqtt"}, "pool": "a"},
        {"name": "x", "match": {"protocol": "redis", "tls": {"sni": "x.site.test"}}, "pool": "b"},
        {"name": "alpn", "match": {"tls": {"alpn": "x-speech", "version": "TLSv1.3"}}, "pool": "c"},
    ], "a b c d", bind="tls://127.0.0.1:0", pool="d", tls={**tls, "alpn": ["x-speech", "mqtt"]},
        sniff_timeout="10m")

    def client(name: str, *offers: str) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", made.listener.port), DEADLINE_S)
        secured = authority.trusting(offers=list(offers)).wrap_socket(raw, server_hostname=name)
        made.clients.append(secured)
        return secured

    for name, offers, data, pool in (
        ("site.test", ["mqtt"], CONNECT_4, "a"), ("x.site.test", [], b"PING\r\n", "b"),
        ("y.site.test", [], b"PING\r\n", "d"), ("site.test", ["x-speech"], b"\xff\xfe", "c"),
        ("site.test", [], HELLO, "d"),
    ):
        one = client(name, *offers)
        one.sendall(data)
        made.serves(one, pool, data)
    one = client("site.test")
    wait_until(lambda: made.totals()["handshakes"] == 6)
    time_passes(made, "11m")            # (that it says nothing)
    made.serves(one, "d", b"")
    one = client("site.test")
    for i in range(len(CONNECT_4)):
        one.sendall(CONNECT_4[i : i + 1])
    made.serves(one, "a", CONNECT_4)


def test_certificates_are_those_of_the_pool(edge: Make, authority: Authority) -> None:
    files = authority.files("one.site.test")
    server = TlsOrigin(lambda peer: peer.sendall(b"x"), _context(files))
    made = edge(of_names("one.site.test"))
    made.balancer.pools["a"].set_servers([server.address]).wait(DEADLINE_S)
    raw = socket.create_connection(("127.0.0.1", made.listener.port), DEADLINE_S)
    with authority.trusting().wrap_socket(raw, server_hostname="one.site.test") as client:
        shown = client.getpeercert(True)
        assert shown is not None and serial(shown) == serial_of(files)
        assert client.recv(1) == b"x"
    server.close()


def _context(files: dict[str, str]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(files["cert"], files["key"])
    return made
