"""Health checks in HTTP/2: of a path, and gRPC's own."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastlb
from fastlb.config.health import EffectiveHealth, Health, effective_health
from fastlb.control import checks
from fastlb.control.checks import Report, Visits
from fastlb.control.secured import Secure, anybody
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http2.servers.origin import Call, H2Origin, frame
from tests.flow.test_checks import Speaker
from tests.flow.tls.conftest import authority
from tests.flow.tls.peers import Authority

__all__ = ["authority"]

Farm = Callable[..., H2Origin]
SERVING = b"\0\0\0\0\2\x08\1"
# What servers say, in frames (RFC 9113, 6) and fields of HPACK's table (RFC 7541, A).
SETTINGS = frame(4, 0, 0)
STATUS_200, STATUS_500 = b"\x88", b"\x8e"
GRPC_STATUS_0 = b"\0\x0bgrpc-status\x010"
GOES_AFTER_1 = frame(7, 0, 0, b"\0\0\0\1" + b"\0\0\0\0")
GOES_SOON = frame(7, 0, 0, b"\x7f\xff\xff\xff" + b"\0\0\0\0")
HEAD, ALL = 4, 5                # END_HEADERS, and END_STREAM too


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
    return effective_health(Health(**{"timeout": "30s", **keys}), "h2")


def check(
    address: str, wanted: EffectiveHealth, report: Report | None = None,
    secure: Secure | None = None,
) -> str | None:
    host, _, port = address.rpartition(":")

    async def ask() -> str | None:
        visits = Visits()
        try:
            return await visits.make(
                (host, int(port)), wanted, "api.test:80", report or Report(), secure)
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


def test_silence(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LATE_SHARE", float("inf"))     # (however late our own loop is)
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


@pytest.fixture
def script() -> Iterator[Callable[[bytes], str]]:
    """The address of a server that says these bytes, and stays."""
    over = threading.Event()
    made: list[Speaker] = []

    def say(said: bytes) -> str:
        def pieces() -> Iterator[bytes]:
            yield said
            over.wait(DEADLINE_S)

        made.append(Speaker(pieces))
        return f"127.0.0.1:{made[-1].address[1]}"

    yield say
    over.set()
    for one in made:
        one.close()


@pytest.mark.parametrize(("said", "why"), [
    (GOES_AFTER_1 + frame(1, ALL, 1, STATUS_200), ""),
    (GOES_SOON + frame(1, ALL, 1, STATUS_200), ""),
    (GOES_AFTER_1 + frame(1, ALL, 1, STATUS_500), "it answered 500"),
    (frame(7, 0, 0, bytes(8)), "it said that it goes"),
    (frame(7, 0, 0, b"\0\0\0\1" + b"\0\0\0\x0b"), "it said that it goes"),
    (frame(7, 0, 0, b"\0\0\0\1"), "its answer is no HTTP/2"),
])
def test_who_goes_may_answer_first(script: Callable[[bytes], str], said: bytes, why: str) -> None:
    """As servers do that end their connections after so many requests."""
    assert check(script(SETTINGS + said), health(http="/")) == why


def test_grpc_of_who_goes(script: Callable[[bytes], str]) -> None:
    said = (frame(1, HEAD, 1, STATUS_200) + frame(0, 0, 1, SERVING) + GOES_AFTER_1
            + frame(1, ALL, 1, GRPC_STATUS_0))
    assert check(script(SETTINGS + said), health(grpc=True)) == ""


def test_what_is_pushed_is_no_answer(script: Callable[[bytes], str]) -> None:
    """It was said that nothing may be."""
    promise = frame(5, HEAD, 1, b"\0\0\0\2" + b"\x82\x86\x84\x41\1x")
    pushed = frame(1, HEAD, 2, STATUS_200) + frame(0, 1, 2, b"fine")
    own = frame(1, HEAD, 1, STATUS_500) + frame(0, 1, 1, b"not so")
    for said in (promise + pushed + own, pushed + own):
        assert check(script(SETTINGS + said), health(http="/", body="fine")) == (
            "its answer is no HTTP/2")


@pytest.mark.parametrize(("said", "why"), [
    (frame(1, ALL, 1, b"\x08\3abc"), "its answer is no HTTP/2"),
    (frame(1, ALL, 1, b"\x08\x042000"), "its answer is no HTTP/2"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "its answer is no HTTP/2"),
    (SETTINGS * 5000, "its answer has no end"),
])
def test_who_stays_after_nonsense(script: Callable[[bytes], str], said: bytes, why: str) -> None:
    """Is found out before the time is over."""
    assert check(script(SETTINGS + said), health(http="/")) == why


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
    (serving(b"\0\0\0\0\0\x08\1"), "it says UNKNOWN"),
    (serving(b"\0\0\0\0\3\x08\1"), "it says UNKNOWN"),
    (serving(SERVING, "x" * 999), "it answered 200 with grpc-status that is no number"),
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


@pytest.fixture
def context(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Of the origins."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    monkeypatch.setattr(
        "tests.flow.http2.servers.origin.as_server",
        lambda sock: context.wrap_socket(sock, server_side=True))
    return context


def test_a_path_over_tls(farm: Farm, context: ssl.SSLContext) -> None:
    origin = farm(answers())
    secure = Secure(anybody(("h2", "http/1.1")), "")
    assert check(origin.address, health(http="/healthz"), secure=secure) == ""
    assert origin.requests[0].fields[":scheme"] == "https"
    context.set_alpn_protocols(["http/1.1"])
    assert check(origin.address, health(http="/healthz"), secure=secure) == "it doesn't choose h2"
    assert check(origin.address, health(grpc=True), secure=secure) == "it doesn't choose h2"


def test_h2_is_offered_where_no_certificate_can_be_looked_at(
    farm: Farm, context: ssl.SSLContext, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(tls: object) -> ssl.SSLContext:
        raise ValueError("no such cipher here")

    monkeypatch.setattr("fastlb.control.secured.context_of", other)
    origin = farm(answers())
    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "p"}},
        "pools": {"p": {
            "servers": [origin.address], "protocol": "h2", "tls": {"ca": authority.cert},
            "health": {"http": "/healthz", "interval": "50ms", "timeout": "30s"}}},
    }), threads=1)
    with balancer.background():
        wait_until(lambda: len(origin.requests) > 1)
        assert balancer.pools["p"].servers[origin.address].state == "up"


def test_over_tls_a_server_goes_down_and_up(
    farm: Farm, context: ssl.SSLContext, authority: Authority
) -> None:
    """As a pool has it: by ALPN, with its name and its authority."""
    state = [SERVING]
    origin = farm(lambda call: serving(state[0])(call))
    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "p"}},
        "pools": {"p": {
            "servers": [origin.address], "protocol": "h2", "tls": {"ca": authority.cert},
            "health": {"grpc": True, "interval": "50ms", "timeout": "30s", "rise": 1,
                       "fall": 1}}},
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
