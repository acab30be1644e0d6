"""Which pool a connection goes to, by what its client says first; and that it goes on untouched."""

from __future__ import annotations

import random
import socket
from typing import Any

import pytest

from tests.core.openings import (
    CONNECT_3,
    CONNECT_4,
    CONNECT_5,
    GET,
    HELLO,
    PREFACE,
    RTMP,
    STARTUP,
    UPGRADE,
    hello,
    records,
)
from tests.flow.conftest import (
    DEADLINE_S,
    measures_memory,
    read_exactly,
    read_to_end,
    reset,
    wait_until,
)
from tests.flow.sniff.conftest import Edge, Make
from tests.flow.tls.turns import time_passes

OPENINGS = {
    "tls": HELLO, "http/1.1": GET, "websocket": UPGRADE, "h2": PREFACE + b"\0\0\0\4\0\0\0\0\0",
    "mqtt": CONNECT_4, "rtmp": RTMP, "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n", "postgres": STARTUP,
}
MORE = {
    "redis": [b"PING\r\n", b"auth words\r\n"],
    "postgres": [bytes.fromhex("0000000804d2162f"), bytes.fromhex("0000000804d21630")],
    "mqtt": [CONNECT_3, CONNECT_5],
    "tls": [records(hello(), 1)],
}


def to(pool: str, **match: Any) -> dict[str, Any]:
    return {"name": f"to-{pool}", "match": match, "pool": pool}


def each_protocol() -> list[dict[str, Any]]:
    return [{"name": name.replace("/", ""), "match": {"protocol": name},
             "pool": name.replace("/", "")} for name in OPENINGS]


def test_each_protocol_has_its_pool(edge: Make) -> None:
    """All on one port, what is sent first is passed on as it was."""
    made = edge(each_protocol(), "other " + " ".join(OPENINGS).replace("/", ""), pool="other")
    for name, data in OPENINGS.items():
        for opening in (data, *MORE.get(name, [])):
            client = made.says(opening)
            made.serves(client, name.replace("/", ""), opening)
    assert made.totals()["protocols_unknown"] == 0


@pytest.mark.parametrize("name", OPENINGS)
def test_a_client_may_send_byte_by_byte(edge: Make, name: str) -> None:
    made = edge([to("a", protocol=name)], pool="b", sniff_whole_timeout="60s")
    client = made.connect()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = OPENINGS[name]
    for i in range(len(data)):
        client.sendall(data[i : i + 1])
    made.serves(client, "a", data)


def test_more_than_is_looked_at_follows(edge: Make) -> None:
    """A head, and a body in bulk right behind it."""
    made = edge([to("a", protocol="http/1.1")])
    body = random.Random(1).randbytes(3 << 20)
    client = made.connect()
    server: list[bytes] = []
    import threading

    def read() -> None:
        server.append(read_exactly(made.origins["a"].accept(), len(GET) + len(body)))

    thread = threading.Thread(target=read)
    thread.start()
    client.sendall(GET + body)
    thread.join()
    assert server == [GET + body]


def test_a_head_longer_than_is_looked_at_is_one_of_http(edge: Make) -> None:
    made = edge([to("a", protocol="http/1.1")], pool="b")
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 17000 + b"\r\nUpgrade: websocket\r\n\r\n"
    made.serves(made.says(head), "a", head)


def test_servers_that_speak_first_get_their_clients_after_a_silence(edge: Make) -> None:
    made = edge([to("a", protocol=["mqtt", "tls"]), to("b", protocol="unknown")],
                sniff_timeout="30ms")
    client = made.connect()
    server = made.origins["b"].accept()
    server.sendall(b"220 mail.test ESMTP\r\n")
    assert read_exactly(client, 21) == b"220 mail.test ESMTP\r\n"
    client.sendall(b"QUIT\r\n")
    assert read_exactly(server, 6) == b"QUIT\r\n"
    assert made.totals()["protocols_unknown"] == 1


@pytest.mark.parametrize("sent", [b"HELO mail.test\r\n", b"\x15\3\1\0\2\2\x28", b"\xff" * 100])
def test_an_unknown_protocol_is_not_waited_for(edge: Make, sent: bytes) -> None:
    made = edge([to("a", protocol="mqtt")], pool="b", sniff_timeout="60s",
                sniff_whole_timeout="60s")
    made.serves(made.says(sent), "b", sent)
    assert made.totals()["protocols_unknown"] == 1


def test_without_a_pool_what_fits_no_route_is_closed(edge: Make) -> None:
    made = edge([to("a", protocol="mqtt")])
    client = made.says(GET)
    with pytest.raises(ConnectionResetError):       # (nobody has read what it said)
        client.recv(1)
    wait_until(lambda: made.ended() == {"no_route": 1})
    wait_until(lambda: made.listener.stats()["refused"] == 1)
    assert made.totals()["protocols_unknown"] == 0


@pytest.mark.parametrize(("sent", "wanted"), [
    (HELLO[:-1], "b"), (HELLO[:1], "b"), (CONNECT_4[:10], "b"), (b"GET / HT", "b"),
    (GET[:-2], "a"),                # a request is known by its first line
])
def test_what_is_not_whole_in_time_is_unknown(edge: Make, sent: bytes, wanted: str) -> None:
    made = edge([to("a", protocol=["tls", "mqtt", "http/1.1"])], pool="b", sniff_timeout="60s",
                sniff_whole_timeout="30ms")
    made.serves(made.says(sent), wanted, sent)


def test_who_has_begun_is_not_cut_short_by_the_time_for_silence(edge: Make) -> None:
    made = edge([to("a", protocol="tls")], pool="b", sniff_timeout="10m",
                sniff_whole_timeout="1h")
    client = made.says(HELLO[:40])
    other = made.connect()              # (which says nothing)
    wait_until(lambda: made.counts()["exchanges"] == 2)
    time_passes(made, "11m")
    made.serves(other, "b", b"")
    client.sendall(HELLO[40:])
    made.serves(client, "a", HELLO)


def test_a_hello_that_is_too_long_is_unknown_at_once(edge: Make) -> None:
    made = edge([to("a", protocol="tls")], pool="b", sniff_whole_timeout="60s")
    long = records(hello(b"\0\x15\x43\0" + bytes(0x4300)))
    made.serves(made.says(long), "b", long)
    pieces = records(hello(b"\0\x15\x20\0" + bytes(0x2000)), 1)      # 48 KiB in tiny records
    made.serves(made.says(pieces), "b", pieces)
    assert made.totals()["protocols_unknown"] == 2


@pytest.mark.parametrize("sent", [b"", HELLO[:50], b"\x10"])
def test_who_says_no_more_is_not_waited_for(edge: Make, sent: bytes) -> None:
    made = edge([to("a", protocol="tls")], pool="b", sniff_timeout="60s",
                sniff_whole_timeout="60s")
    client = made.says(sent)
    client.shutdown(socket.SHUT_WR)
    server = made.origins["b"].accept()
    assert read_to_end(server) == sent
    server.sendall(b"bye")
    server.close()
    assert read_to_end(client) == b"bye"


@pytest.mark.parametrize("sent", [b"", HELLO[:50]])
def test_who_resets_before_it_is_told_is_forgotten(edge: Make, sent: bytes) -> None:
    made = edge([to("a", protocol="tls")], pool="b", sniff_timeout="60s",
                sniff_whole_timeout="60s")
    client = made.says(sent)
    wait_until(lambda: made.counts()["exchanges"] == 1)
    reset(client)
    wait_until(lambda: made.ended() == {"client_reset": 1})
    made.wait_idle()


def test_the_first_bytes_survive_a_server_that_is_not_there(edge: Make) -> None:
    made = edge([to("a", protocol="mqtt")])
    from tests.flow.conftest import Origin

    gone = Origin()
    dead = gone.address
    gone.close()
    made.balancer.pools["a"].set_servers([dead, made.origins["a"].address]).wait(DEADLINE_S)
    for _ in range(4):
        made.serves(made.says(CONNECT_4), "a", CONNECT_4)


def test_a_unix_socket_is_looked_at_too(edge: Make, tmp_path: Any) -> None:
    made = edge([to("a", protocol="tls")], pool="b", bind=f"tcp://unix:{tmp_path}/edge.sock")
    made.serves(made.says(HELLO), "a", HELLO)
    made.serves(made.says(b"HELO x\r\n"), "b", b"HELO x\r\n")


def garbage(choose: random.Random) -> bytes:
    data = bytearray(choose.choice([*OPENINGS.values(), choose.randbytes(50)])[:600])
    for _ in range(choose.randrange(4)):
        data[choose.randrange(len(data))] = choose.randrange(256)
    return bytes(data[: choose.randrange(1, len(data) + 1)])


def storm(made: Edge, n: int) -> None:
    choose = random.Random(5)
    for _ in range(n // 100):
        clients = []
        for _ in range(100):
            client = made.connect()
            made.clients.pop()
            client.sendall(garbage(choose))
            clients.append(client)
        for client in clients:
            if choose.random() < 0.5:
                reset(client)
            else:
                client.close()
        made.wait_idle()


@measures_memory
def test_ten_thousand_garbage_connections_cost_no_memory(edge: Make) -> None:
    """All of them end, nothing is held for them, and the process doesn't grow."""
    made = edge(
        [{"name": "all", "match": {"protocol": list(OPENINGS)}, "listener": "web"}],
        others={"web": {"bind": "http://127.0.0.1:0",
                        "routes": [{"name": "no", "respond": {"status": 404}}]}},
        sniff_timeout="20ms", sniff_whole_timeout="20ms")

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    # What is held for connections is held in each round. What others in this process do, or what a
    # hundred connections take that are all there while the engine waits for its turn, is not.
    storm(made, 2000)
    growths = []
    for _ in range(4):
        before = resident()
        storm(made, 2500)
        growths.append(resident() - before)
    assert min(growths) < 1 << 20, growths

    def all_ended() -> bool:
        ended = made.ended()
        return sum(ended.values()) - ended["handed_over"] == 12_000

    wait_until(all_ended, lambda: f"ended: {made.ended()}")
    ended = made.ended()
    assert ended["no_route"] > 1000 and ended["handed_over"] > 1000


@pytest.mark.parametrize("routes", [
    [{"name": "r", "match": {"client_ip": "127.0.0.0/8"}, "pool": "a"}],
    [{"name": "r", "match": {"not": {"client_ip": "10.0.0.0/8"}}, "split": {"a": 1}}],
    [{"name": "r", "pool": "a"}],
])
def test_nothing_is_waited_for_where_no_route_asks(
    edge: Make, routes: list[dict[str, Any]]
) -> None:
    """A server that speaks first does so at once: no client says a word in an hour."""
    made = edge(routes, pool="b", sniff_timeout="1h")
    client = made.connect()
    server = made.origins["a"].accept()
    server.sendall(b"220 mail.test ESMTP\r\n")
    assert read_exactly(client, 21) == b"220 mail.test ESMTP\r\n"
    client.sendall(b"QUIT\r\n")
    assert read_exactly(server, 6) == b"QUIT\r\n"
    assert made.totals()["protocols_unknown"] == 0
