"""Timeouts and limits: each with what its peer is told, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.flow.conftest import DEADLINE_S, Origin, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]


def silent(wire: Wire, request: Message) -> bool:
    wire.sock.recv(1)                   # until we are let go
    return False


def took(since: float, least: float) -> bool:
    return time.monotonic() - since >= least * 0.9


def test_a_head_that_is_not_finished_is_408(web: Web, origins: Origins) -> None:
    site = web([origins().address], request_header_timeout="10m")
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    parts = (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"G", head[:-1])
    clients, in_time = [site.client() for _ in parts], site.client()
    for client, part in zip((*clients, in_time), (*parts, head[:-1]), strict=True):
        client.send(part)
    wait_until(lambda: site.totals()["accepted"] == 4)
    site.advance("6m")
    in_time.send(head[-1:])
    assert in_time.response().status == 200
    site.advance("6m")
    for client in clients:
        got = client.response()
        assert got.status == 408 and got["x-fastlb-error"] == "timeout"
        assert client.to_end() == b""


def test_dripping_does_not_help(web: Web, origins: Origins) -> None:
    site = web([origins().address], request_header_timeout="10m")
    client = site.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    wait_until(lambda: site.totals()["accepted"] == 1)
    for _ in range(2):
        site.advance("4m")
        client.send(b"y")
    site.advance("4m")                  # (12 minutes, and never more than 4 without a byte)
    assert client.response().status == 408


def test_who_connects_and_says_nothing_is_closed(web: Web, origins: Origins) -> None:
    site = web([origins().address], request_header_timeout="10m")
    client = site.client()
    wait_until(lambda: site.totals()["accepted"] == 1)
    site.advance("11m")
    assert client.to_end() == b""


def test_an_idle_client_is_closed_in_time(web: Web, origins: Origins) -> None:
    site = web([origins().address], keepalive_timeout="10m")
    client = site.client()
    for _ in range(2):                  # the second time, it has been idle for less than that
        client.send(get("/"))
        assert client.response().status == 200
        site.advance("6m")
    site.advance("6m")
    assert client.to_end() == b""


def test_a_server_that_does_not_answer_is_504(web: Web, origins: Origins) -> None:
    site = web([origins(silent).address], response_header_timeout="150ms")
    client = site.client()
    for method in ("GET", "POST"):
        begin = time.monotonic()
        client.send(get("/", method=method, body=b"x" if method == "POST" else b""))
        got = client.response()
        assert got.status == 504 and got["x-fastlb-error"] == "timeout" and took(begin, 0.15)


def test_a_head_of_an_answer_that_is_not_finished_is_504(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> bool:
        wire.send(b"HTTP/1.1 200 OK\r\nX: ")
        return silent(wire, request)

    site = web([origins(serve).address], response_header_timeout="150ms")
    assert site.ask(get("/")).status == 504


def test_a_body_that_stands_still_ends_both_connections(web: Web, origins: Origins) -> None:
    ended = threading.Event()

    def serve(wire: Wire, request: Message) -> bool:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        try:
            wire.sock.recv(1)
        except OSError:
            pass
        ended.set()
        return False

    site = web([origins(serve).address], body_idle_timeout="150ms")
    client = site.client()
    client.send(get("/"))
    assert client.head().status == 200
    with pytest.raises((EOFError, ConnectionResetError)):
        client.exactly(10)
    assert ended.wait(DEADLINE_S)


def test_a_body_of_a_request_that_stands_still_is_408(web: Web, origins: Origins) -> None:
    site = web([origins().address], body_idle_timeout="150ms")
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
    got = client.response()
    assert got.status == 408 and got["connection"] == "close"
    assert client.to_end() == b""


def test_a_slow_body_that_moves_is_let_be(web: Web, origins: Origins) -> None:
    go_on = threading.Semaphore(0)

    def serve(wire: Wire, request: Message) -> bool:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(4):
            assert go_on.acquire(timeout=DEADLINE_S)
            wire.send(b"xy")
        return False

    site = web([origins(serve).address], body_idle_timeout="10m", response_header_timeout="10m")
    client = site.client()
    client.send(get("/"))
    assert client.head().status == 200
    for _ in range(4):                  # 24 minutes in all
        site.advance("6m")
        go_on.release()
        assert client.exactly(2) == b"xy"


@pytest.mark.parametrize("when", ["head", "body"])
def test_the_whole_exchange_has_its_time(web: Web, origins: Origins, when: str) -> None:
    go_on = threading.Semaphore(0)

    def serve(wire: Wire, request: Message) -> bool:
        if when == "body":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(2):
                assert go_on.acquire(timeout=DEADLINE_S)
                wire.send(b"x")
        return silent(wire, request)

    # (the two other timeouts are longer than what the clock is moved at a time)
    origin = origins(serve)
    site = web([origin.address], request_timeout="10m", response_header_timeout="1h",
               body_idle_timeout="5m")
    client = site.client()
    client.send(get("/"))
    wait_until(lambda: len(origin.requests) == 1)
    if when == "head":
        site.advance("11m")
        assert client.response().status == 504
    else:
        assert client.head().status == 200
        for _ in range(2):              # the body moves, which doesn't help
            site.advance("4m")
            go_on.release()
            assert client.exactly(1) == b"x"
        site.advance("4m")
        with pytest.raises((EOFError, ConnectionResetError)):
            client.exactly(998)


def test_a_route_has_its_own(site: Any, origins: Origins) -> None:
    import fastlb

    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", "pool": "p", "max_body_size": "10B",
                            "routes": [
            {"name": "quick", "match": {"path": "/quick"}, "pool": "p",
             "response_header_timeout": "100ms"},
            {"name": "large", "match": {"path": "/large"}, "pool": "e", "max_body_size": "1KiB"},
        ]}},
        "pools": {"p": {"servers": [origins(silent).address]},
                  "e": {"servers": [origins().address]}},
    })
    made = HttpSite(site([], config=config))
    assert made.ask(get("/quick")).status == 504
    assert made.ask(get("/large", method="POST", body=b"x" * 1024)).status == 200
    assert made.ask(get("/large", method="POST", body=b"x" * 1025)).status == 413
    assert made.ask(get("/other", method="POST", body=b"x" * 11)).status == 413


def chunks(n: int) -> bytes:
    return b"1\r\nx\r\n" * n + b"0\r\n\r\n"


def test_a_body_may_not_be_longer_than_allowed(web: Web, origins: Origins) -> None:
    site = web([origins().address], max_body_size="100B")
    assert site.ask(get("/", method="POST", body=b"x" * 100)).status == 200
    got = site.ask(get("/", method="POST", body=b"x" * 101))
    assert got.status == 413 and got["x-fastlb-error"] == "too_large"
    head = get("/", "Transfer-Encoding: chunked", method="POST")
    assert site.ask(head + chunks(100)).status == 200
    got = site.ask(head + chunks(101))
    assert got.status == 413 and got["connection"] == "close"


def test_a_broken_chunk_behind_whole_ones_is_a_bad_request(web: Web, origin: Origin) -> None:
    site = web([origin.address])
    client = site.client()
    client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n")
    server = origin.accept()
    got = b""
    while b"\r\n\r\n1\r\nx\r\n" not in got:
        got += server.recv(1000)
    client.send(b"1\r\nx\r\nnothing\r\n")
    answer = client.response()
    assert answer.status == 400 and answer["x-fastlb-error"] == "bad_request"
    assert answer["connection"] == "close"


def test_a_limit_is_not_a_price_for_expecting(web: Web, origins: Origins) -> None:
    """With Expect, the refusal comes before the body does."""
    site = web([origins().address], max_body_size="100B")
    client = site.client()
    client.send(get("/", "Expect: 100-continue", "Content-Length: 1000000", method="POST"))
    assert client.response().status == 413


@pytest.mark.parametrize(("keys", "request_", "status"), [
    ({"max_headers": 3}, get("/", "A: b", "C: d"), 200),
    ({"max_headers": 3}, get("/", "A: b", "C: d", "E: f"), 431),
    ({"max_header_size": "1KiB"}, get("/", "A: " + "b" * 900), 200),
    ({"max_header_size": "1KiB"}, get("/", "A: " + "b" * 1024), 431),
    ({"max_header_size": "256KiB"}, get("/", "A: " + "b" * 200_000), 200),
    ({"max_uri_length": "64B"}, get("/" + "a" * 63), 200),
    ({"max_uri_length": "64B"}, get("/" + "a" * 64), 414),
    ({"max_uri_length": "65535B", "max_header_size": "128KiB"}, get("/" + "a" * 65534), 200),
    ({"max_uri_length": "65535B", "max_header_size": "256KiB"}, get("/" + "a" * 65535), 414),
    ({"max_uri_length": "65535B", "max_header_size": "256KiB"}, get("/" + "a" * 70000), 414),
])
def test_heads_have_limits(
    web: Web, origins: Origins, keys: dict[str, Any], request_: bytes, status: int
) -> None:
    origin = origins()
    site = web([origin.address], **keys)
    assert site.ask(request_).status == status
    if status == 200:                   # nothing of a long target is cut off
        assert origin.requests[0].target == request_.split(b" ")[1].decode()


def test_requests_of_a_connection_have_a_limit(web: Web, origins: Origins) -> None:
    site = web([origins().address], max_requests=3)
    client = site.client()
    client.send(get("/") * 5)
    ends = ["connection" in client.response() for _ in range(3)]
    assert ends == [False, False, True]
    assert client.to_end() == b""


def test_connections_to_servers_have_limits(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address], pool={"max_connection_requests": 2})
    client = site.client()
    for _ in range(6):
        client.send(get("/"))
        client.response()
    assert origin.connections == 3
    aged = origins()
    site = web([aged.address], pool={"max_connection_age": "50ms"})
    client = site.client()
    for _ in range(3):
        client.send(get("/"))
        client.response()
        time.sleep(0.08)
    assert aged.connections == 3
    timed = origins()
    site = web([timed.address], pool={"idle_connection_timeout": "50ms"})
    site.ask(get("/"))
    site.wait_for_idle(0)


def test_idle_connections_have_a_limit(web: Web, origins: Origins) -> None:
    together = threading.Barrier(6)

    def serve(wire: Wire, request: Message) -> None:
        together.wait(DEADLINE_S)
        wire.send(answer(b"x"))

    origin = origins(serve)
    site = web([origin.address], pool={"max_idle_connections": 2}, threads=1)
    clients = [site.client() for _ in range(6)]
    for client in clients:
        client.send(get("/"))
    for client in clients:
        assert client.response().body == b"x"
    wait_until(lambda: site.site.counts()["upstreams"] == 0 if "upstreams" in site.site.counts()
               else True)
    site.wait_for_idle(2)


def test_the_connection_used_last_is_used_next(web: Web, origins: Origins) -> None:
    """So that those too many grow old and go."""
    together = threading.Barrier(3)
    used: list[int] = []

    def serve(wire: Wire, request: Message) -> None:
        if request.target == "/together":
            together.wait(DEADLINE_S)
        else:
            used.append(origin.wires.index(wire))
        wire.send(answer(b"x"))

    origin = origins(serve)
    site = web([origin.address], threads=1)
    clients = [site.client() for _ in range(3)]
    for client in clients:
        client.send(get("/together"))
    for client in clients:
        client.response()
    site.wait_for_idle(3)
    for _ in range(10):
        clients[0].send(get("/"))
        clients[0].response()
    assert len(set(used)) == 1


def test_a_long_body_leaves_its_connection_usable(web: Web, origins: Origins) -> None:
    """One that was read exactly to its length, and not until the socket had no more."""
    def serve(wire: Wire, request: Message) -> None:
        wire.send(answer(b"x" * int(request.target[1:])))

    origin = origins(serve)
    site = web([origin.address])
    client = site.client()
    for size in (16384 - 30, 16384, 32768, 65536, 262144, 1_048_576, 3_000_001):
        for _ in range(3):
            client.send(get(f"/{size}"))
            assert client.response().body == b"x" * size
    assert origin.connections == 1


def test_a_client_that_goes_lets_a_draining_request_finish(web: Web, origins: Origins) -> None:
    gone, finished = threading.Event(), threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        gone.wait(DEADLINE_S)
        time.sleep(0.05)
        wire.send(answer(b"x" * 100_000))
        finished.set()

    origin = origins(serve)
    site = web([origin.address], on_client_close="drain", threads=1)
    client = site.client()
    client.send(get("/"))
    wait_until(lambda: len(origin.requests) == 1)
    client.close()
    gone.set()
    assert finished.wait(DEADLINE_S)
    site.wait_for_idle(1)               # and its connection serves the next
    origin.serve = origin._echo
    assert site.ask(get("/")).status == 200
    assert origin.connections == 1
