"""What fastlb itself knows of gRPC: how calls end, how long they may take, and how it says no.
Real servers and clients of it are in tests/flow/grpc."""

from __future__ import annotations

import threading

import pytest

from tests.flow.conftest import wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Message, Wire, answer
from tests.flow.http2.conftest import Open, Origins
from tests.flow.http2.peers import Answer, Client
from tests.flow.observe.test_metrics import Scraped
from tests.flow.tls.turns import time_passes

GRPC = ("content-type", "application/grpc")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n"


def call(client: Client, path: str = "/a.B/C", *fields: tuple[str, str]) -> Answer:
    return client.get(path, GRPC, ("te", "trailers"), *fields, method="POST", body=b"\0" * 5)


def ends(trailers: bytes) -> bytes:
    return HEAD + b"5\r\n\0\0\0\0\0\r\n0\r\n" + trailers + b"\r\n"


def calls(site: HttpSite) -> dict[str, int]:
    """How often each status was counted."""
    found: dict[str, int] = {}
    for (name, labels), n in Scraped(site.site.balancer).samples.items():
        if name == "fastlb_grpc_requests_total":
            code = dict(labels)["grpc_code"]
            found[code] = found.get(code, 0) + int(n)
    return found


@pytest.mark.parametrize(("raw", "code"), [
    (ends(b"grpc-status: 0\r\n"), "OK"),
    (ends(b"x: y\r\nGrpc-Status:  5 \r\ngrpc-message: no\r\n"), "NOT_FOUND"),
    (ends(b"grpc-status: 16\r\n"), "UNAUTHENTICATED"),
    (ends(b"grpc-status: 17\r\n"), "UNKNOWN"),
    (ends(b"grpc-status: \r\n"), "UNKNOWN"),
    (ends(b"grpc-statuses: 0\r\n"), "UNKNOWN"),
    (ends(b""), "UNKNOWN"),
    (answer(b"", "200 OK", "Content-Type: application/grpc", "grpc-status: 8"),
     "RESOURCE_EXHAUSTED"),
    (answer(b"", "503 Service Unavailable"), "UNAVAILABLE"),
    (answer(b"", "418 Teapot"), "UNKNOWN"),
])
def test_calls_are_counted_by_their_status(
    h2: Open, origins: Origins, raw: bytes, code: str
) -> None:
    site, client = h2([origins(lambda wire, request: wire.send(raw)).address])
    for _ in range(2):
        call(client)
    assert calls(site) == {code: 2}


def test_what_breaks_off_is_unavailable_and_what_is_taken_back_cancelled(
    h2: Open, origins: Origins
) -> None:
    def serve(wire: Wire, request: Message) -> bool | None:
        if "cut" in request.line:
            wire.send(HEAD + b"5\r\n\0\0")
            return False
        wire.sock.recv(1)
        return False

    origin = origins(serve)
    site, client = h2([origin.address])
    assert call(client, "/cut").reset is not None
    assert calls(site) == {"UNAVAILABLE": 1}
    stream = client.ask("/wait", GRPC, method="POST", body=b"\0" * 5)
    wait_until(lambda: len(origin.requests) == 2)
    client.h2.reset_stream(stream)
    client.flush()
    wait_until(lambda: calls(site) == {"UNAVAILABLE": 1, "CANCELLED": 1})


@pytest.mark.parametrize("content_type", [
    "application/grpc", "application/grpc+proto", "application/grpc;x=y", "Application/GRPC"])
def test_our_own_errors_are_answers_of_grpc(
    h2: Open, origins: Origins, content_type: str
) -> None:
    origin = origins()
    address = origin.address
    origin.close()
    site, client = h2([address])
    got = client.get("/", ("content-type", content_type), method="POST", body=b"\0" * 5)
    assert got.status == 200
    assert got.fields["content-type"] == "application/grpc"
    assert got.fields["grpc-status"] == "14"
    assert got.fields["grpc-message"] == "Service Unavailable"
    assert got.fields["x-fastlb-error"] == "no_server"
    assert not got.body and not got.trailers
    assert calls(site) == {"UNAVAILABLE": 1}
    other = client.get("/", ("content-type", "application/grpc-web"), method="POST", body=b"\0" * 5)
    assert other.status == 503
    assert calls(site) == {"UNAVAILABLE": 1}


def test_a_call_that_is_refused(h2: Open, origins: Origins) -> None:
    site, client = h2([origins().address], max_body_size="4B")
    got = call(client, "/a.B/C", ("content-length", "5"))
    assert (got.fields["grpc-status"], got.fields["grpc-message"]) == ("2", "Content Too Large")
    assert calls(site) == {"UNKNOWN": 1}


@pytest.mark.parametrize(("timeout", "in_time"), [
    ("50m", False), ("50000u", False), ("50000000n", False), ("1n", False), ("0S", True),
    ("99999999H", True), ("900S", True), ("1M", True), ("", True), ("m", True), ("50", True),
    ("-5m", True), ("123456789m", True), ("50 m", True), ("50M5", True),
])
def test_a_call_ends_in_its_own_time(
    h2: Open, origins: Origins, timeout: str, in_time: bool
) -> None:
    """What isn't a timeout is for the server to refuse."""
    asked = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        if in_time:
            assert not asked.wait(0.15)
            wire.send(ends(b"grpc-status: 0\r\n"))
        else:
            wire.sock.recv(1)

    origin = origins(serve)
    site, client = h2([origin.address])
    got = call(client, "/a.B/C", ("grpc-timeout", timeout))
    if in_time:
        assert origin.requests[0]["grpc-timeout"] == timeout
        assert dict(got.trailers)["grpc-status"] == "0"
        assert calls(site) == {"OK": 1}
    else:
        assert got.status == 200
        assert got.fields["grpc-status"] == "4"
        assert calls(site) == {"DEADLINE_EXCEEDED": 1}


def test_a_route_may_allow_less(h2: Open, origins: Origins) -> None:
    origin = origins(lambda wire, request: wire.sock.recv(1) and None)
    site, client = h2([origin.address], request_timeout="50ms")
    assert call(client, "/a.B/C", ("grpc-timeout", "1H")).fields["grpc-status"] == "4"
    assert calls(site) == {"DEADLINE_EXCEEDED": 1}


@pytest.mark.parametrize("part", [b"", b"5\r\n\0\0\0\0\0\r\n"], ids=["head", "message"])
def test_a_call_whose_time_ends_after_its_head(
    h2: Open, origins: Origins, part: bytes
) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(HEAD + part)
        wire.sock.recv(1)

    site, client = h2([origins(serve).address], body_idle_timeout="1h")
    stream = client.ask("/a.B/C", GRPC, ("te", "trailers"), ("grpc-timeout", "1M"), method="POST",
                        body=b"\0" * 5)
    got = client.answers[stream]
    while not got.fields or len(got.body) < len(part) - 5:      # (without its framing)
        assert client.look()
    time_passes(site.site, "30m")
    client.answer(stream)
    assert got.status == 200
    assert calls(site) == {"DEADLINE_EXCEEDED": 1}
    assert got.trailers == [("grpc-status", "4")] and got.reset is None
