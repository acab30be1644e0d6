"""Servers that answer wrongly, too little, too much or too late: nobody else gets any of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.flow.conftest import DEADLINE_S, reset, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.hostile.conftest import Innocent
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

pytestmark = [pytest.mark.h2, pytest.mark.modes("h2")]

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]
Beside = Callable[[HttpSite], Innocent]


class Evil:
    """An origin that answers /evil as it is told, and all else properly."""

    def __init__(self, origins: Origins, act: Callable[[Wire], bool | None]) -> None:
        self.act = act
        self.wires: list[Wire] = []     # that /evil came on
        self.ended = 0
        self.origin = origins(self._serve)

    def _serve(self, wire: Wire, request: Message) -> bool | None:
        if wire in self.wires:          # it was used again after what it did
            raise AssertionError(request.line)
        if "evil" not in request.line:
            self.origin._echo(wire, request)
            return None
        self.wires.append(wire)
        try:
            if self.act(wire) is False:
                return False
            try:
                again = wire.sock.recv(1) if not wire.ahead else wire.ahead
            except ConnectionResetError:
                again = b""
            assert not again, "it was used again after what it did"
        finally:
            self.ended += 1
        return False


def says(raw: bytes, *, then_close: bool = False) -> Callable[[Wire], bool | None]:
    def act(wire: Wire) -> bool | None:
        wire.send(raw)
        return False if then_close else None

    return act


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

UNBELIEVABLE = {
    "garbage": b"\x00\x01\x02garbage\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "no-status": b"HTTP/1.1\r\n\r\n",
    "http-2": b"HTTP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "http-1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "icy": b"ICY 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "rtsp": b"RTSP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "status-99": b"HTTP/1.1 99 Odd\r\nContent-Length: 4\r\n\r\nevil",
    "status-099": b"HTTP/1.1 099 Odd\r\nContent-Length: 4\r\n\r\nevil",
    "status-600": b"HTTP/1.1 600 Odd\r\nContent-Length: 4\r\n\r\nevil",
    "status-1000": b"HTTP/1.1 1000 Odd\r\nContent-Length: 4\r\n\r\nevil",
    "status-words": b"HTTP/1.1 two OK\r\nContent-Length: 4\r\n\r\nevil",
    "status-minus": b"HTTP/1.1 -200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "gap-before-status": b"HTTP/1.1  200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "control-in-reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 4\r\n\r\nevil",
    "length-and-coding": OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
                              b"4\r\nevil\r\n0\r\n\r\n",
    "two-lengths": OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nevil!",
    "length-plus": OK + b"Content-Length: +4\r\n\r\nevil",
    "length-hex": OK + b"Content-Length: 0x4\r\n\r\nevil",
    "length-list": OK + b"Content-Length: 4, 4\r\n\r\nevil",
    "length-empty": OK + b"Content-Length:\r\n\r\nevil",
    "length-minus": OK + b"Content-Length: -4\r\n\r\nevil",
    "length-overflow": OK + b"Content-Length: 18446744073709551620\r\n\r\nevil",
    "coding-gzip": OK + b"Transfer-Encoding: gzip\r\n\r\nevil",
    "coding-gzip-chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    "coding-twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
                         b"4\r\nevil\r\n0\r\n\r\n",
    "coding-of-1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    "space-before-colon": OK + b"X : y\r\nContent-Length: 4\r\n\r\nevil",
    "obs-fold": OK + b"X: y\r\n z\r\nContent-Length: 4\r\n\r\nevil",
    "nul-in-value": OK + b"X: y\x00z\r\nContent-Length: 4\r\n\r\nevil",
    "bare-cr": OK + b"X: y\rz: a\r\nContent-Length: 4\r\n\r\nevil",
    "bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 4\n\nevil",
    "no-colon": OK + b"nonsense\r\nContent-Length: 4\r\n\r\nevil",
    "no-name": OK + b": y\r\nContent-Length: 4\r\n\r\nevil",
    "large-head": OK + b"X: " + b"y" * 40_000 + b"\r\nContent-Length: 4\r\n\r\nevil",
    "many-fields": OK + b"X: y\r\n" * 300 + b"Content-Length: 4\r\n\r\nevil",
    "endless-head": OK + b"X: " + b"y" * 100_000,
    "101-unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\n"
                   b"Connection: Upgrade\r\n\r\n",
    "interim-without-end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 400,
    "chunk-size": CHUNKED + b"zz\r\nevil\r\n0\r\n\r\n",
    "chunk-overflow": CHUNKED + b"fffffffffffffffff\r\nevil\r\n0\r\n\r\n",
    "chunk-line": CHUNKED + b"4\nevil\r\n0\r\n\r\n",
    "chunk-gap": CHUNKED + b"4 x\r\nevil\r\n0\r\n\r\n",
}


TOO_LARGE = dict.fromkeys(("large-head", "endless-head"), "response_too_large")


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_an_answer_that_cannot_be_believed_is_502(
    web: Web, origins: Origins, innocent: Beside, name: str
) -> None:
    evil = Evil(origins, says(UNBELIEVABLE[name]))
    site = web([evil.origin.address])
    beside = innocent(site)
    beside.check()
    client = site.client()
    for i in range(3):
        client.send(get(f"/evil/{i}", "Accept: application/json"))
        got = client.response()
        while got.status == 103:        # passed on, up to a number
            got = client.response()
        assert got.status == 502, got
        assert got["x-fastlb-error"] == TOO_LARGE.get(name, "bad_response")
        assert got.body == b'{"status":502,"error":"Bad Gateway"}\n'
        beside.check()
        client.send(get("/own"))        # the client's own connection is as good as before
        assert client.response().body == b"origin GET /own HTTP/1.1\n"
    wait_until(lambda: evil.ended == 3)


CUT = {
    "nothing": b"",
    "half-a-line": b"HTTP/1.1 20",
    "half-a-head": OK + b"Content-Le",
    "head-without-end": OK + b"Content-Length: 4\r\n",
    "interim-alone": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "short-body": OK + b"Content-Length: 10\r\n\r\nevil",
    "no-body": OK + b"Content-Length: 10\r\n\r\n",
    "no-last-chunk": CHUNKED + b"4\r\nevil\r\n",
    "half-a-chunk": CHUNKED + b"8\r\nevil",
    "half-a-size": CHUNKED + b"8",
    "no-end-of-trailers": CHUNKED + b"4\r\nevil\r\n0\r\n",
    "half-a-trailer": CHUNKED + b"4\r\nevil\r\n0\r\nX: y",
    "large-short-body": OK + b"Content-Length: 1000000\r\n\r\n" + b"e" * 500_000,
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", CUT)
def test_a_cut_answer_never_looks_whole(
    web: Web, origins: Origins, innocent: Beside, name: str, how: str
) -> None:
    raw = CUT[name]
    read = threading.Event()

    def act(wire: Wire) -> bool:
        wire.send(raw)
        if how == "reset":
            if b"\r\n\r\n" in raw and b"103" not in raw:
                read.wait(DEADLINE_S)            # (a reset overtakes what was not read yet)
            reset(wire.sock)
        return False

    evil = Evil(origins, act)
    site = web([evil.origin.address])
    beside = innocent(site)
    beside.check()
    client = site.client()
    client.send(get("/evil", method="POST"))
    if b"\r\n\r\n" in raw and b"103" not in raw:
        with pytest.raises((EOFError, ConnectionResetError)):
            got = client.head()         # (over HTTP/2 the reset may overtake it)
            read.set()
            assert got.status == 200
            if "content-length" in got:
                client.exactly(int(got["content-length"]))
            else:
                client.chunks(got)
        read.set()
    else:
        got = client.head()
        while got.status == 103:
            got = client.head()
        assert got.status == 502
        assert client.exactly(int(got["content-length"])) == b"502 Bad Gateway\n"
        client.send(get("/own"))
        assert client.response().body == b"origin GET /own HTTP/1.1\n"
    beside.check()


@dataclass
class Odd:
    """An answer that is whole, on a connection that nobody may use again."""

    raw: bytes
    method: str = "GET"
    status: int = 200
    body: bytes = b"fine"


FINE = answer(b"fine")
WHOLE = {
    "extra-bytes": Odd(FINE + b"x"),
    "extra-line-end": Odd(FINE + b"\r\n"),
    "two-answers": Odd(FINE + answer(b"evil")),
    "nine-answers": Odd(FINE + answer(b"evil") * 8),
    "extra-after-chunks": Odd(CHUNKED + b"4\r\nfine\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"),
    "answer-after-chunks": Odd(CHUNKED + b"4\r\nfine\r\n0\r\n\r\n" + answer(b"evil")),
    "body-on-head": Odd(FINE, "HEAD", body=b""),
    "chunks-on-head": Odd(CHUNKED + b"4\r\nfine\r\n0\r\n\r\n", "HEAD", body=b""),
    "body-on-204": Odd(b"HTTP/1.1 204 No Content\r\n\r\nevil", status=204, body=b""),
    "length-on-204": Odd(b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", status=204,
                         body=b""),
    "body-on-304": Odd(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil", status=304,
                       body=b""),
    "body-on-100": Odd(b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + FINE + b"evil"),
    "answer-to-nobody": Odd(answer(b"fine", "404 Not Found") + FINE, status=404),
    "close": Odd(answer(b"fine", "200 OK", "Connection: close")),
    "close-among-others": Odd(answer(b"fine", "200 OK", "Connection: x, CLOSE ,y")),
    "old": Odd(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_connection_with_something_odd_is_not_used_again(
    web: Web, origins: Origins, innocent: Beside, name: str
) -> None:
    odd = WHOLE[name]
    evil = Evil(origins, says(odd.raw))
    site = web([evil.origin.address])
    beside = innocent(site)
    client = site.client()
    for i in range(3):
        beside.check()
        client.send(get(f"/evil/{i}", method=odd.method))
        got = client.response(odd.method)
        if got.status == 100:
            got = client.response(odd.method)
        assert (got.status, got.body) == (odd.status, odd.body)
        client.send(get("/own"))
        assert client.response().body == b"origin GET /own HTTP/1.1\n"
    beside.check()
    wait_until(lambda: evil.ended == 3)


@pytest.mark.parametrize("late", [answer(b"evil"), b"x", b"\r\n", b"", "reset"],
                         ids=["answer", "byte", "line", "fin", "reset"])
def test_what_comes_of_a_waiting_connection_ends_it(
    web: Web, origins: Origins, innocent: Beside, late: bytes | str
) -> None:
    waiting = threading.Event()

    def act(wire: Wire) -> bool:
        wire.send(FINE)
        waiting.wait(DEADLINE_S)
        if late == "reset":
            reset(wire.sock)
        elif late:
            wire.send(late)  # type: ignore[arg-type]
            assert wire.sock.recv(1) == b""
        return False

    evil = Evil(origins, act)
    site = web([evil.origin.address])
    client = site.client()
    for _ in range(3):
        waiting.clear()
        client.send(get("/evil"))
        assert client.response().body == b"fine"
        site.wait_for_idle(1)
        waiting.set()
        site.wait_for_idle(0)
        innocent(site).check()
        client.send(get("/own", "Connection: close"))
        assert client.response().body == b"origin GET /own HTTP/1.1\n"
        client = site.client()
        evil.origin.close_wires()
        site.wait_for_idle(0)


def test_answers_cut_into_single_bytes(web: Web, origins: Origins, innocent: Beside) -> None:
    raw = (b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n"
           b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n")

    def act(wire: Wire) -> bool:
        for i in range(len(raw)):
            wire.send(raw[i:i + 1])
        return False

    evil = Evil(origins, act)
    site = web([evil.origin.address])
    beside = innocent(site)
    for _ in range(5):
        beside.check()
        client = site.client()
        client.send(get("/evil"))
        assert client.response().status == 103
        assert client.response().body == b"abcde"
        evil.origin.close_wires()
        site.wait_for_idle(0)       # what follows is sent on no connection that is being closed


def test_hostile_trailers_are_dropped(web: Web, origins: Origins) -> None:
    trailers = (b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: evil\r\n"
                b"Set-Cookie: a=b\r\nX-Sum: 1\r\n")
    raw = CHUNKED + b"4\r\nfine\r\n0\r\n" + trailers + b"\r\n"
    evil = Evil(origins, says(raw, then_close=True))
    site = web([evil.origin.address])
    got = site.ask(get("/evil", "TE: trailers", "Connection: TE"))
    assert got.body == b"fine"
    assert [name.lower() for name, _ in got.trailers] in (["x-sum"], ["set-cookie", "x-sum"])
    assert site.ask(get("/evil")).trailers == []


def test_there_are_some_dozens_of_them() -> None:
    assert len(UNBELIEVABLE) + len(CUT) * 2 + len(WHOLE) >= 40
