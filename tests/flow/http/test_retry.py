"""Requests that one server fails, and another one answers: which, when, and how often."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Site, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get
from tests.ports import nobody

pytestmark = [pytest.mark.h2, pytest.mark.modes("h2")]

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]
ONE_FAILURE = {"consecutive_failures": 0}        # nobody is left out in these tests


def reset(wire: Wire, request: Message) -> bool:
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def close(wire: Wire, request: Message) -> bool:
    return False


def half_a_head(wire: Wire, request: Message) -> bool:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    return False


def garbage(wire: Wire, request: Message) -> bool:
    wire.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    return False


def unavailable(wire: Wire, request: Message) -> None:
    wire.send(answer(b"busy", "503 Service Unavailable", "Retry-After: 7"))


def silent(wire: Wire, request: Message) -> None:
    pass


def pool(on: list[str], **retry: Any) -> dict[str, Any]:
    # (a machine that is busy must not look like a server that doesn't accept)
    return {"retry": {"on": on, **retry}, "outliers": ONE_FAILURE, "connect_timeout": "30s"}


def ask_past(site: HttpSite, bad: HttpOrigin, good: HttpOrigin, request: bytes) -> Message:
    """One exchange. Where the bad server got the request and is silent, its time is over then."""
    before, of_bad = len(bad.requests) + len(good.requests), len(bad.requests)
    wire = site.client()
    wire.send(request)
    wait_until(lambda: len(bad.requests) + len(good.requests) > before)
    if len(bad.requests) > of_bad and bad.serve is silent:
        site.advance("11m")
    message = wire.response()
    wire.close()
    return message


FAULTS = [
    (reset, "reset"), (close, "reset"), (half_a_head, "reset"), (garbage, "invalid"),
    (unavailable, "503"), (unavailable, "5xx"), (silent, "timeout"),
]


@pytest.mark.parametrize(("fault", "on"), FAULTS, ids=lambda x: getattr(x, "__name__", x))
def test_another_server_answers(web: Web, origins: Origins, fault: Any, on: str) -> None:
    bad, good = origins(fault), origins(name="good")
    site = web([bad.address, good.address], pool=pool([on]), response_header_timeout="10m")
    for _ in range(4):
        made = ask_past(site, bad, good, get("/x"))
        assert (made.status, made.body) == (200, b"good GET /x HTTP/1.1\n")
    assert len(bad.requests) == 2 and len(good.requests) == 4
    assert site.totals()["retries"] == 2
    site.wait_idle()


@pytest.mark.parametrize(("fault", "on"), FAULTS, ids=lambda x: getattr(x, "__name__", x))
def test_what_is_not_asked_for_is_not_tried_again(
    web: Web, origins: Origins, fault: Any, on: str
) -> None:
    bad, good = origins(fault), origins(name="good")
    others = {"reset", "invalid", "timeout", "503"} - {on, "503" if on == "5xx" else on}
    site = web([bad.address, good.address], pool=pool(sorted(others)),
               response_header_timeout="10m")
    made = sorted(ask_past(site, bad, good, get("/x")).status for _ in range(4))
    assert made[:2] == [200, 200] and made[2] == made[3] in (502, 503, 504)
    assert site.totals()["retries"] == 0
    site.wait_idle()


@pytest.mark.parametrize("on", [[], ["503"], ["reset", "timeout"]], ids=str)
def test_failed_connects_are_tried_again_whatever_is_listed(
    web: Web, origins: Origins, on: list[str]
) -> None:
    good = origins(name="good")
    site = web([nobody(), good.address], pool=pool(on))
    assert [site.ask(get("/x")).status for _ in range(4)] == [200] * 4
    assert site.totals()["retries"] > 0
    site.wait_idle()


def test_failed_connects_are_not_tried_again_where_that_is_switched_off(
    web: Web, origins: Origins
) -> None:
    good = origins(name="good")
    site = web([nobody(), good.address], pool=pool(["503"], connect_failure=False))
    assert sorted(site.ask(get("/x")).status for _ in range(2)) == [200, 503]
    assert site.totals()["retries"] == 0
    site.wait_idle()


def test_what_may_do_something_twice_is_not_tried_again(web: Web, origins: Origins) -> None:
    bad, good = origins(reset), origins(name="good")
    site = web([bad.address, good.address], pool=pool(["reset", "connect_failure", "5xx"]))
    post = b"POST /order HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
    made = sorted(site.ask(post).status for _ in range(4))
    assert made == [200, 200, 502, 502]
    put = post.replace(b"POST", b"PUT")
    assert {site.ask(put).status for _ in range(4)} == {200}


def test_unless_it_is_told_so(web: Web, origins: Origins) -> None:
    bad, good = origins(reset), origins(name="good")
    site = web([bad.address, good.address], pool=pool(["reset"], non_idempotent=True))
    post = b"POST /order HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
    made = [site.ask(post) for _ in range(4)]
    assert {(m.status, m.body) for m in made} == {(200, b"good POST /order HTTP/1.1\nhi")}


def test_a_body_that_is_gone_is_not_sent_again(web: Web, origins: Origins) -> None:
    bad, good = origins(reset), origins(name="good")
    site = web([bad.address, good.address], pool=pool(["reset"], non_idempotent=True))
    put = b"PUT /file HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    made = sorted(site.ask(put).status for _ in range(4))
    assert made == [200, 200, 502, 502]
    assert all(len(one.body) == 200_000 for one in good.requests)


def test_a_connect_is_tried_elsewhere_whatever_the_method(web: Web, origins: Origins) -> None:
    good = origins(name="good")
    dead = nobody()
    site = web([dead, good.address])
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
    assert {site.ask(post).status for _ in range(6)} == {200}
    assert site.totals()["retries"] >= 1


def test_where_nobody_else_is_left_the_answer_is_passed_on(web: Web, origins: Origins) -> None:
    one, two = origins(unavailable), origins(unavailable)
    site = web([one.address, two.address], pool=pool(["503"], attempts=16))
    made = site.ask(get("/"))
    assert made.status == 503 and made.body == b"busy" and made["retry-after"] == "7"
    assert len(one.requests) == len(two.requests) == 1
    made = web([one.address], pool=pool(["503"])).ask(get("/"))
    assert made.status == 503 and made.body == b"busy"


def test_so_many_tries_and_no_more(web: Web, origins: Origins) -> None:
    bad = [origins(unavailable) for _ in range(5)]
    site = web([one.address for one in bad], pool=pool(["503"], attempts=3))
    assert site.ask(get("/")).status == 503
    assert sum(len(one.requests) for one in bad) == 3
    assert site.totals()["retries"] == 2


def test_a_budget_ends_it(web: Web, origins: Origins) -> None:
    bad = [origins(unavailable) for _ in range(3)]
    site = web([one.address for one in bad], pool=pool(["503"], attempts=3, budget="10%"),
               threads=1)
    wire, begin = site.client(), time.monotonic()
    for _ in range(300):
        wire.send(get("/"))
        assert wire.response().status == 503
    total = sum(len(one.requests) for one in bad)
    # 100 are free in 10 s, which are whole ones, the first of them begun; and 10 % of 300
    tens = (time.monotonic() - begin + 1) // 10
    assert 400 <= total <= 431 + 100 * tens
    assert site.totals()["retries"] == total - 300
    assert site.totals()["retries_denied"] > 0
    wire.close()


def test_the_whole_time_is_bounded(web: Web, origins: Origins) -> None:
    slow = [origins(silent) for _ in range(5)]
    site = web([one.address for one in slow], pool=pool(["timeout"], attempts=5),
               response_header_timeout="1m", request_timeout="150s")
    wire = site.client()
    wire.send(get("/"))

    def asked(tries: int) -> bool:
        return sum(len(one.requests) for one in slow) == tries

    for tries, duration in ((1, "65s"), (2, "65s"), (3, "25s")):    # 155 s, of the last try 25
        wait_until(partial(asked, tries))
        site.advance(duration)
    assert wire.response().status == 504
    assert sum(len(one.requests) for one in slow) == 3
    wire.close()
    site.wait_idle()


def test_a_truncated_answer_never_looks_whole(web: Web, origins: Origins) -> None:
    def cut(wire: Wire, request: Message) -> bool:
        if request.target == "/length":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        else:
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        return reset(wire, request) if request["x-end"] == "reset" else False

    site = web([origins(cut).address, origins(cut).address],
               pool=pool(["reset", "invalid", "timeout", "5xx"]))
    for target in ("/length", "/chunked"):
        for end in ("reset", "close"):
            with pytest.raises((EOFError, ConnectionError)):
                site.ask(get(target, f"X-End: {end}"))
    assert site.totals()["retries"] == 0


def test_a_route_says_otherwise(site: Callable[..., Site], origins: Origins) -> None:
    bad, good = origins(unavailable), origins(name="good")
    config = fastlb.Config.model_validate({
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "p", "routes": [
            {"name": "r", "match": {"path": "/often/*"}, "pool": "p", "retry": {"on": ["503"]}},
        ]}},
        "pools": {"p": {
            "servers": [bad.address, good.address], "outliers": {"consecutive_failures": 0},
        }},
    })
    web = HttpSite(site([], config=config))
    assert {web.ask(get("/often/x")).status for _ in range(6)} == {200}
    assert {web.ask(get("/once")).status for _ in range(6)} == {200, 503}


def test_outliers_are_left_out(web: Web, origins: Origins) -> None:
    bad, good = origins(unavailable), origins(name="good")
    outliers = {"consecutive_failures": 3, "ejection_time": "1h"}
    site = web([bad.address, good.address], pool={"outliers": outliers})
    made = [site.ask(get("/")).status for _ in range(20)]
    assert made.count(503) == 3


def test_outliers_come_back(web: Web, origins: Origins) -> None:
    bad, good = origins(unavailable), origins(name="good")
    site = web([bad.address, good.address],
               pool={"outliers": {"consecutive_failures": 3, "ejection_time": "300ms"}})
    for _ in range(20):
        site.ask(get("/"))
    bad.serve = bad._echo
    wait_until(lambda: site.ask(get("/")).body.startswith(b"origin"))
    assert {site.ask(get("/")).body[:4] for _ in range(4)} == {b"orig", b"good"}


def test_the_application_s_own_errors_are_its_own(web: Web, origins: Origins) -> None:
    def broken(wire: Wire, request: Message) -> None:
        wire.send(answer(b"oh", "500 Oh"))

    bad, good = origins(broken), origins(name="good")
    site = web([bad.address, good.address])
    assert [site.ask(get("/")).status for _ in range(20)].count(500) == 10


@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_a_fallback_falls_in(
    site: Callable[..., Site], origins: Origins, scheme: str
) -> None:
    good = origins(name="good")
    dead = nobody()
    config = fastlb.Config.model_validate({
        "listeners": {"web": {"bind": f"{scheme}://127.0.0.1:0", "pool": "first"}},
        "pools": {
            "first": {"servers": [dead], "fallback": "second"},
            "second": {"servers": [], "fallback": "third"},
            "third": {"servers": [good.address], "balance": "ring_hash"},
        },
    })
    web = HttpSite(site([], config=config))
    assert {web.ask(get("/")).status for _ in range(4)} == {200}
    web.wait_idle()


@pytest.mark.parametrize("first", ["ring_hash", "round_robin"])
def test_a_fallback_that_hashes_goes_by_the_first_pools_key_or_else_by_the_client(
    site: Callable[..., Site], origins: Origins, first: str
) -> None:
    dead = nobody()
    names = [b"one", b"two", b"three"]
    config = fastlb.Config.build({
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "first"}},
        "pools": {
            "first": {"servers": [dead], "fallback": "second", "balance": first,
                      **({"hash_on": "header.x-key"} if first == "ring_hash" else {})},
            "second": {"servers": [origins(name=name.decode()).address for name in names],
                       "balance": "ring_hash"},
        },
    })
    made = site([], config=config)

    def asked(host: str, key: int) -> bytes:
        with socket.create_connection(
            ("127.0.0.1", made.listener.port), DEADLINE_S, (host, 0)
        ) as sock:
            wire = Wire(sock)
            wire.send(get("/", f"X-Key: {key}"))
            return wire.response().body

    by_key = [asked("127.0.0.1", key) for key in range(30)]
    by_client = [asked(f"127.0.1.{1 + i}", 0) for i in range(30)]
    other, same = (by_key, by_client) if first == "ring_hash" else (by_client, by_key)
    assert len(set(other)) == 3 and len(set(same)) == 1


@pytest.mark.parametrize("reply", [
    {"body": "back at noon"}, {"status": 200, "body": "[]", "content_type": "application/json",
                               "headers": {"cache-control": "no-store"}},
])
def test_a_fixed_answer_when_nobody_is_there(
    site: Callable[..., Site], reply: dict[str, Any]
) -> None:
    """The last pool's: the one that fell in and has nobody either."""
    dead = nobody()
    config = fastlb.Config.model_validate({
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "first", "routes": [
            {"name": "empty", "match": {"path": "/empty"}, "pool": "empty"},
            {"name": "bare", "match": {"path": "/bare"}, "pool": "bare"},
        ]}},
        "pools": {
            "first": {"servers": [dead], "unavailable": reply},
            "empty": {"servers": [], "fallback": "first", "unavailable": {"body": "not this"}},
            "bare": {"servers": []},
        },
    })
    web = HttpSite(site([], config=config))
    for path in ("/", "/empty"):
        got = web.ask(get(path))
        assert (got.status, got.body) == (reply.get("status", 503), reply["body"].encode())
        assert got["content-type"] == reply.get("content_type", "text/plain; charset=utf-8")
        assert got["x-fastlb-error"] in ("connect_failure", "no_server")
        assert got.all("retry-after") == (["1"] if got.status == 503 else [])
        assert got.all("cache-control") == list(reply.get("headers", {}).values())
    assert web.ask(get("/bare")).body == b"503 Service Unavailable\n"


@pytest.mark.parametrize("limited", [True, False])
def test_so_many_are_retried_at_a_time(web: Web, origins: Origins, limited: bool) -> None:
    opened = threading.Event()

    def slow(wire: Wire, request: Message) -> None:
        opened.wait(DEADLINE_S)
        wire.send(answer(b"slow"))

    bad, good = origins(reset), origins(slow)
    site = web(
        [fastlb.Server(bad.address), fastlb.Server(good.address, priority=1)],
        pool={"outliers": ONE_FAILURE, "limits": {"max_retries": 2} if limited else {}},
    )
    live = site.site.balancer._instance.runtime.live          # type: ignore[union-attr]
    wires = []
    for n in range(1, 3):
        wires.append(site.client())
        wires[-1].send(get("/"))
        wait_until(lambda n=n: len(good.requests) == n)          # type: ignore[misc]
    if limited:
        assert sum(pool.retrying for pool in live.pools()) == 2
        got = site.ask(get("/"))
        assert (got.status, got["x-fastlb-error"]) == (502, "server_reset")
    opened.set()
    assert [wire.response().status for wire in wires] == [200, 200]
    wait_until(lambda: sum(pool.retrying for pool in live.pools()) == 0)
    assert site.ask(get("/")).status == 200
    wait_until(lambda: sum(pool.retrying for pool in live.pools()) == 0)


CHUNKED = {
    "empty": (b"0\r\n\r\n", b""),
    "one": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "several": (b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n", b"hello"),
    "large": (b"3000\r\n" + b"x" * 0x3000 + b"\r\n0\r\n\r\n", b"x" * 0x3000),
}


@pytest.mark.http1
@pytest.mark.parametrize("body", CHUNKED)
@pytest.mark.parametrize("cut", [False, True], ids=["with-its-head", "after-its-head"])
def test_chunked_bodies(web: Web, origins: Origins, body: str, cut: bool) -> None:
    """One that was here with its head goes again, and whole; another one doesn't."""
    bad, good = origins(close), origins(name="good")
    site = web([bad.address, good.address], pool=pool(["reset"]))
    raw, content = CHUNKED[body]
    for i in range(4):
        client = site.client()
        head = b"PUT /%d HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n" % i
        if cut:
            client.send(head)
            wait_until(lambda i=i: site.totals()["requests"] > i)  # type: ignore[misc]
            client.send(raw + get("/next"))
        else:
            client.send(head + raw + get("/next"))
        got = client.response()
        if got.status == 200:
            assert got.body == b"good PUT /%d HTTP/1.1\n" % i + content
            assert client.response().body == b"good GET /next HTTP/1.1\n"
        else:
            assert (got.status, cut) == (502, True)
        client.close()
    assert all(one.body == content for one in bad.requests if one.line.startswith("PUT"))
    assert cut or len([one for one in good.requests if one.line.startswith("PUT")]) == 4
    site.wait_idle()


@pytest.mark.http1
def test_a_chunked_body_that_is_too_large_is_refused(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address], max_body_size="4B")
    assert site.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"5\r\nhello\r\n0\r\n\r\n").status == 413
    assert not origin.requests


def test_a_connect_that_hangs_and_may_not_be_tried_again_is_answered(
    web: Web, hanging: str
) -> None:
    """(One client lost its connection instead, as if it had been idle.)"""
    site = web([hanging, nobody()], pool={"retry": {"attempts": 1}, "connect_timeout": "100ms"})
    made = site.ask(get("/"))
    while made["x-fastlb-error"] != "connect_timeout":      # (which of the two comes first)
        assert (made.status, made["x-fastlb-error"]) == (503, "connect_failure")
        made = site.ask(get("/"))
    assert made.status == 504
    site.wait_idle()
