"""Health checks in HTTP/2: of a path, and gRPC's own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastlb
from fastlb.config.health import EffectiveHealth, Health, effective_health
from fastlb.control.checks import Report, Visits
from tests.flow.conftest import wait_until
from tests.flow.http2.servers.origin import Call, H2Origin
from tests.flow.test_checks import Speaker
from tests.flow.tls.conftest import authority
from tests.flow.tls.peers import Authority

__all__ = ["authority"]

Farm = Callable[..., H2Origin]
SERVING = b"\0\0\0\0\2\x08\1"


@pytest.fixture
def farm() -> Iterator[Farm]:
    made: list[H2Origin] = []

    def make(*args: Any, **keys: Any) -> H2Origin:
        made.append(H2Origin(*args, **keys))
        return made[-1]

    yield make
    for one in made:
        one.close()


def health(**keys: Any) -> EffectiveHealth:
    return effective_health(Health(**{"timeout": "2s", **keys}), "h2")


def check(address: str, wanted: EffectiveHealth, report: Report | None = None) -> str | None:
    host, _, port = address.rpartition(":")

    async def ask() -> str | None:
        visits = Visits()
        try:
            return await visits.make(
                (host, int(port)), wanted, "api.test:80", report or Report())
        finally:
            visits.close()

    return asyncio.run(ask())


def answers(*args: Any, status: int = 200) -> Callable[[Call], None]:
    return lambda call: call.answer(b"fine", status, *args)


def serving(message: bytes, status: str = "0") -> Callable[[Call], None]:
    def serve(call: Call) -> None:
        call.head(200, ("content-type", "application/grpc"))
        if message:
            call.data(message)
        call.end(("grpc-status", status))

    return serve


def test_a_path(farm: Farm) -> None:
    origin = farm(answers(("x-in-flight", "7")))
    report = Report()
    assert check(origin.address, health(http="/healthz", method="HEAD"), report) == ""
    assert report.in_flight == 7
    asked = origin.requests[0].fields
    assert (asked[":method"], asked[":path"], asked[":authority"], asked[":scheme"]) == (
        "HEAD", "/healthz", "api.test:80", "http")
    assert check(origin.address, health(http="/", body="fine")) == ""
    assert check(origin.address, health(http="/", body="well")) == "its answer has no 'well'"
    assert check(origin.address, health(http="/", host="else.test")) == ""
    assert origin.requests[-1].fields[":authority"] == "else.test"


def test_a_status_that_is_not_good(farm: Farm) -> None:
    assert check(farm(answers(status=503)).address, health(http="/")) == "it answered 503"


def test_a_reset(farm: Farm) -> None:
    origin = farm(lambda call: call.refuse(2))
    assert check(origin.address, health(http="/")) == "it reset the request"
    assert check(origin.address, health(grpc=True)) == "it reset the request"


def test_silence(farm: Farm) -> None:
    origin = farm(lambda call: None)
    assert check(origin.address, health(http="/", timeout="200ms")) == "no answer within 0.2 s"


@pytest.mark.parametrize("said", [
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n" * 9, b"\0" * 99])
def test_what_is_no_http_2(said: bytes) -> None:
    one = Speaker(lambda: iter([said]))
    # (what begins as a long frame would shows by its end)
    assert check(f"127.0.0.1:{one.address[1]}", health(http="/")) in (
        "its answer is no HTTP/2", "it closed without an answer")
    one.close()


def test_who_hangs_up() -> None:
    one = Speaker(lambda: iter([]))
    assert check(f"127.0.0.1:{one.address[1]}", health(grpc=True)) in (
        "it closed without an answer", "connection reset by peer")
    one.close()


@pytest.mark.parametrize(("serve", "why"), [
    (serving(SERVING), ""),
    (serving(b"\0\0\0\0\2\x08\2"), "it says NOT_SERVING"),
    (serving(b"\0\0\0\0\2\x08\3"), "it says SERVICE_UNKNOWN"),
    (serving(b"\0\0\0\0\2\x08\7"), "it says 7"),
    (serving(b"\0\0\0\0\0"), "it says UNKNOWN"),
    (serving(b""), "it says UNKNOWN"),
    (serving(b"\1" + SERVING[1:]), "it says UNKNOWN"),
    (serving(SERVING, "5"), "it answered 200 with grpc-status 5"),
    (serving(b"", "12"), "it answered 200 with grpc-status 12"),
    (answers(), "it answered 200 with grpc-status none"),
    (answers(("grpc-status", "0"), status=404), "it answered 404 with grpc-status 0"),
])
def test_grpc(farm: Farm, serve: Callable[[Call], None], why: str) -> None:
    origin = farm(serve)
    assert check(origin.address, health(grpc=True)) == why
    asked = origin.requests[0]
    assert asked.line == "POST /grpc.health.v1.Health/Check"
    assert (asked.fields["content-type"], asked.fields["te"]) == ("application/grpc", "trailers")
    assert bytes(asked.body) == b"\0\0\0\0\0"


@pytest.mark.parametrize(("service", "message"), [
    ("a.B", b"\0\0\0\0\5\x0a\3a.B"),
    ("s" * 200, b"\0\0\0\0\xcb\x0a\xc8\1" + b"s" * 200),
])
def test_a_service_of_grpc(farm: Farm, service: str, message: bytes) -> None:
    origin = farm(serving(SERVING))
    assert check(origin.address, health(grpc=service)) == ""
    assert bytes(origin.requests[0].body) == message


def test_grpc_needs_http_2() -> None:
    with pytest.raises(fastlb.ConfigError, match="gRPC is HTTP/2, and protocol is"):
        fastlb.Config.build({"pools": {"p": {
            "servers": ["127.0.0.1:1"], "health": {"grpc": True}}}})


def test_over_tls_a_server_goes_down_and_up(
    farm: Farm, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pool has it: by ALPN, with its name and its authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    monkeypatch.setattr(
        "tests.flow.http2.servers.origin.as_server",
        lambda sock: context.wrap_socket(sock, server_side=True))
    state = [SERVING]
    origin = farm(lambda call: serving(state[0])(call))
    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "p"}},
        "pools": {"p": {
            "servers": [origin.address], "protocol": "h2", "tls": {"ca": authority.cert},
            "health": {"grpc": True, "interval": "50ms", "rise": 1, "fall": 1}}},
    }), threads=1)
    with balancer.background():
        server = balancer.pools["p"].servers[origin.address]
        wait_until(lambda: len(origin.requests) > 1)
        assert server.state == "up"
        state[0] = b"\0\0\0\0\2\x08\2"
        wait_until(lambda: server.state == "down")
        state[0] = SERVING
        wait_until(lambda: server.state == "up")
        context.set_alpn_protocols(["http/1.1"])
        wait_until(lambda: server.state == "down")
