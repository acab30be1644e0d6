"""Requests that wait, and are sent to a second server too: whoever answers first."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Site, wait_until
from tests.flow.conftest import reset as break_off
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

pytestmark = pytest.mark.h2

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]
ALL = {"hedge": {"delay": "30ms", "budget": "100%"}, "outliers": {"consecutive_failures": 0}}


class Slow:
    """Answers when the test says so, or its client has gone."""

    def __init__(self, origins: Origins, say: bytes = b"slow") -> None:
        self.go = threading.Event()
        self.say = answer(say)
        self.cancelled = 0
        self.origin = origins(self._serve, "slow")

    def _serve(self, wire: Wire, request: Message) -> bool | None:
        wire.sock.settimeout(0.005)
        while not self.go.is_set():
            try:
                if not wire.sock.recv(1):
                    self.cancelled += 1
                    return False
            except TimeoutError:
                pass
            except OSError:
                self.cancelled += 1
                return False
        wire.sock.settimeout(DEADLINE_S)
        if not self.say:
            return False
        wire.send(self.say)
        return None


def two(web: Web, first: str, second: str, **pool: Any) -> HttpSite:
    """The first request goes to the first server."""
    return web([first, second], pool={**ALL, **pool})


def test_the_second_server_answers(web: Web, origins: Origins) -> None:
    slow, fast = Slow(origins), origins(name="fast")
    site = two(web, slow.origin.address, fast.address)
    begin = time.monotonic()
    made = site.ask(get("/x"))
    assert (made.status, made.body) == (200, b"fast GET /x HTTP/1.1\n")
    assert time.monotonic() - begin > 0.025
    wait_until(lambda: slow.cancelled == 1)
    site.wait_idle()
    totals = site.totals()
    assert (totals["hedged"], totals["hedges_won"], totals["requests"]) == (1, 1, 1)


def test_the_first_server_answers_after_all(web: Web, origins: Origins) -> None:
    first, second = Slow(origins, b"first"), Slow(origins, b"second")
    site = two(web, first.origin.address, second.origin.address)
    wire = site.client()
    wire.send(get("/"))
    wait_until(lambda: len(second.origin.requests) == 1)
    first.go.set()
    assert wire.response().body == b"first"
    wait_until(lambda: second.cancelled == 1)
    wire.send(get("/"))                         # (the connection is as good as ever)
    second.go.set()
    assert wire.response().body in (b"first", b"second")
    wire.close()
    site.wait_idle()
    assert site.totals()["hedges_won"] <= 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_changes_something_is_sent_once(web: Web, origins: Origins, method: str) -> None:
    slow, fast = Slow(origins), origins(name="fast")
    site = two(web, slow.origin.address, fast.address)
    wire = site.client()
    wire.send(f"{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi".encode())
    time.sleep(0.1)
    slow.go.set()
    assert wire.response().body == b"slow"
    assert not fast.requests and site.totals()["hedged"] == 0
    wire.close()
    site.wait_idle()


def test_who_answers_in_time_is_asked_alone(web: Web, origins: Origins) -> None:
    a, b = origins(name="oa"), origins(name="ob")
    site = two(web, a.address, b.address, hedge={"delay": "1m", "budget": "100%"})
    for _ in range(10):
        assert site.ask(get("/")).status == 200
    assert site.totals()["hedged"] == 0 and len(a.requests) + len(b.requests) == 10


def test_a_head_and_a_body_along_with_it(web: Web, origins: Origins) -> None:
    slow, fast = Slow(origins), origins(name="fast")
    site = two(web, slow.origin.address, fast.address)
    wire = site.client()
    wire.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.response("HEAD").status == 200
    wire.send(b"GET /y HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
    assert wire.response().status == 200
    assert [r.body for r in fast.requests][-1] == b"hello"
    wire.close()
    site.wait_idle()


def test_the_budget(web: Web, origins: Origins) -> None:
    slow, fast = Slow(origins), origins(name="fast")
    site = web([slow.origin.address, fast.address],
               pool={**ALL, "hedge": {"delay": "5s", "budget": "20%"}}, threads=1)
    wires = [site.client() for _ in range(20)]
    begin = time.monotonic()
    for wire in wires:
        wire.send(get("/"))
    servers = site.site.balancer.pools["pool"].servers
    # (a fast one that a busy machine keeps waiting would be due as well)
    wait_until(lambda: len(slow.origin.requests) == 10 == len(fast.requests)
               and servers[fast.address].in_flight == 0)
    # A budget is of the last 10 s, in whole ones: where these 20 took longer than 4 s, and then
    # 5 s by the clock, the first of them may count no more, or have had their turn before.
    was_quick = time.monotonic() - begin < 4
    site.advance("5s")
    wait_until(lambda: site.totals()["hedged"] + site.totals()["hedges_denied"] == 10)
    hedged = site.totals()["hedged"]
    assert hedged == 4 if was_quick else hedged <= 4
    slow.go.set()
    bodies = [wire.response().body for wire in wires]
    assert site.totals()["hedged"] == hedged
    assert sum(body == b"slow" for body in bodies) >= 6
    for wire in wires:
        wire.close()
    site.wait_idle()


def test_the_second_server_is_gone(web: Web, origins: Origins) -> None:
    slow, gone = Slow(origins), origins(name="gone")
    site = two(web, slow.origin.address, gone.address)
    gone.close()
    wire = site.client()
    wire.send(get("/"))
    wait_until(lambda: site.totals()["hedged"] == 1)
    time.sleep(0.05)
    slow.go.set()
    assert wire.response().body == b"slow"
    wire.close()
    site.wait_idle()


def test_a_second_try_stays_in_its_pool(origins: Origins) -> None:
    slow, other = Slow(origins), origins(name="other")
    gone = origins(name="gone")
    balancer = fastlb.Balancer(threads=1)
    balancer.pool("spare", [other.address])
    main = balancer.pool("main", [slow.origin.address, gone.address], fallback="spare",
                         retry={"attempts": 3}, **ALL)
    gone.close()
    listener = balancer.listen("http://127.0.0.1:0", pool=main)
    with balancer.background():
        site = HttpSite(Site(balancer, listener))
        wire = site.client()
        wire.send(get("/"))
        wait_until(lambda: site.totals()["hedged"] == 1)
        time.sleep(0.05)
        slow.go.set()
        assert wire.response().body == b"slow" and not other.requests
        wire.close()
        site.wait_idle()


def reset(wire: Wire) -> bool:
    return False


def garbage(wire: Wire) -> bool:
    wire.send(b"nothing that is HTTP\r\n\r\n")
    return False


def busy(wire: Wire) -> None:
    wire.send(answer(b"busy", "503 Busy"))


@pytest.mark.parametrize("fail", [reset, garbage, busy])
def test_where_the_first_server_fails_the_second_goes_on(
    web: Web, origins: Origins, fail: Callable[[Wire], bool | None]
) -> None:
    both = threading.Event()

    def late(wire: Wire, request: Message) -> bool | None:
        assert both.wait(DEADLINE_S)
        return fail(wire)

    bad, slow = origins(late), Slow(origins)
    site = two(web, bad.address, slow.origin.address, retry={"attempts": 1})
    wire = site.client()
    wire.send(get("/"))
    wait_until(lambda: len(slow.origin.requests) == 1)
    both.set()
    time.sleep(0.2)
    slow.go.set()
    made = wire.response()
    assert (made.status, made.body) == (200, b"slow")
    wire.close()
    site.wait_idle()


def quick_503(wire: Wire, request: Message) -> None:
    wire.send(answer(b"busy", "503 Busy"))


def quick_close(wire: Wire, request: Message) -> bool:
    return False


def quick_garbage(wire: Wire, request: Message) -> bool:
    wire.send(b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
    return False


@pytest.mark.parametrize("fail", [quick_503, quick_close, quick_garbage])
def test_where_the_second_server_fails_the_first_goes_on(
    web: Web, origins: Origins, fail: Any
) -> None:
    slow, bad = Slow(origins), origins(fail)
    site = two(web, slow.origin.address, bad.address)
    wire = site.client()
    wire.send(get("/"))
    wait_until(lambda: len(bad.requests) == 1)
    time.sleep(0.05)
    slow.go.set()
    assert wire.response().body == b"slow"
    assert site.totals()["hedges_won"] == 0
    wire.close()
    site.wait_idle()


def test_a_client_that_leaves_ends_both(web: Web, origins: Origins) -> None:
    a, b = Slow(origins), Slow(origins)
    site = two(web, a.origin.address, b.origin.address)
    wire = site.client()
    wire.send(get("/"))
    wait_until(lambda: len(a.origin.requests) + len(b.origin.requests) == 2)
    break_off(wire.sock)
    wait_until(lambda: a.cancelled + b.cancelled == 2)
    site.wait_idle()


def test_a_timeout_ends_both(web: Web, origins: Origins) -> None:
    a, b = Slow(origins), Slow(origins)
    site = web([a.origin.address, b.origin.address], pool=ALL, request_timeout="10m",
               response_header_timeout="1h")
    wire = site.client()
    wire.send(get("/"))
    wait_until(lambda: len(a.origin.requests) + len(b.origin.requests) == 2)
    site.advance("11m")
    assert wire.response().status == 504
    wire.close()
    wait_until(lambda: a.cancelled + b.cancelled == 2)
    site.wait_idle()


def test_an_answer_that_comes_in_pieces(web: Web, origins: Origins) -> None:
    def pieces(wire: Wire, request: Message) -> None:
        whole = answer(b"p" * 300)
        for i in range(0, len(whole), 5):
            wire.send(whole[i : i + 5])
            time.sleep(0.002)

    slow, fast = Slow(origins), origins(pieces)
    site = two(web, slow.origin.address, fast.address)
    assert site.ask(get("/")).body == b"p" * 300
    site.wait_idle()


def test_a_percentile_is_learnt(web: Web, origins: Origins) -> None:
    """A hedge of the request before may take the flag for itself: then it is set once more."""
    slow, is_known = threading.Event(), threading.Event()

    def serve(wire: Wire, request: Message) -> bool | None:
        is_slow = slow.is_set()
        slow.clear()
        if is_slow and is_known.is_set():
            while wire.some():                  # until it is cancelled
                pass
            return False
        time.sleep(1.0 if is_slow else 0.002)
        wire.send(answer(b"slow" if is_slow else b"ok"))
        return None

    a, b = origins(serve), origins(serve)
    site = web([a.address, b.address], threads=1,
               pool={**ALL, "hedge": {"percentile": "90%", "budget": "100%"}})
    wire = site.client()

    def ask() -> bytes:
        wire.send(get("/"))
        return wire.response().body

    def the_other_answers() -> bool:
        won = site.totals()["hedges_won"]
        slow.set()
        assert ask() == b"ok"
        return site.totals()["hedges_won"] > won

    slow.set()
    assert ask() == b"slow"                     # nothing is known yet
    for _ in range(70):
        ask()
    is_known.set()
    wait_until(the_other_answers)
    wire.close()
    site.wait_idle()


def test_everybody_gets_the_answer_to_their_own_request(web: Web, origins: Origins) -> None:
    choose = random.Random(7)

    def serve(wire: Wire, request: Message) -> bool | None:
        luck = choose.random()
        time.sleep(luck * 0.02)
        if luck > 0.97:
            return False
        wire.send(answer(request.target.encode() * 20,
                         "503 Busy" if 0.9 < luck < 0.92 else "200 OK"))
        return None

    servers = [origins(serve, f"o{i}") for i in range(3)]
    site = web([one.address for one in servers],
               pool={**ALL, "hedge": {"delay": "5ms", "budget": "100%"}})
    wrong: list[Any] = []

    def client(number: int) -> None:
        wire = site.client()
        for i in range(60):
            target = f"/{number}-{i}"
            try:
                wire.send(get(target))
                made = wire.response()
            except (OSError, EOFError) as error:
                wrong.append(error)
                return
            if made.status == 200 and made.body != target.encode() * 20:
                wrong.append((target, made.body))
            if "connection" in made:
                wire.close()
                wire = site.client()
        wire.close()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert site.totals()["hedges_won"] > 5
    site.wait_idle()
