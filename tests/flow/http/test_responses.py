"""What servers send that is unusual, and right or harmless: it arrives, as by HAProxy 2.8 and nginx
1.31. And answers to clients that close early, or send too much."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, Origin, read_to_end, reset, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def says(raw: bytes) -> Callable[[Wire, Message], None]:
    return lambda wire, request: wire.send(raw)


@pytest.mark.parametrize("line", [b"HTTP/1.1 200\r\n", b"HTTP/1.1 200 \r\n"])
def test_status_line_may_lack_a_reason_phrase(web: Web, origins: Origins, line: bytes) -> None:
    origin = origins(says(line + b"Content-Length: 2\r\n\r\nok"))
    client = web([origin.address]).client()
    for _ in range(2):
        client.send(get())
        assert client.until(b"\r\n") == b"HTTP/1.1 200 \r\n"
        client.until(b"\r\n\r\n")
        assert client.exactly(2) == b"ok"
    assert origin.connections <= 2              # (it is kept: one an engine)


CHUNKS = {
    "blanks": b"5  \r\nhello\r\n0 \r\n\r\n",
    "tab": b"5\t\r\nhello\r\n0\t\r\n\r\n",
    "extension": b"5 ; a=b\r\nhello\r\n0;c\r\n\r\n",
    "odd-extension": b"5;bad[=x\r\nhello\r\n0;\r\n\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunk_sizes_of_servers_may_have_blanks(web: Web, origins: Origins, name: str) -> None:
    origin = origins(says(CHUNKED + CHUNKS[name]))
    client = web([origin.address]).client()
    for _ in range(2):
        client.send(get())
        assert client.response().body == b"hello"       # (framed as strictly as ever)


def test_chunk_sizes_that_come_in_pieces_may_have_blanks(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(CHUNKED)
        for byte in CHUNKS["extension"]:
            wire.send(bytes([byte]))

    client = web([origins(serve).address]).client()
    client.send(get())
    assert client.response().body == b"hello"


# --- of 1xx ---


def test_interim_responses_restart_the_timeout(web: Web, origins: Origins) -> None:
    """They come every six minutes, for longer than the timeout is."""
    go_on = threading.Semaphore(0)

    def serve(wire: Wire, request: Message) -> None:
        for _ in range(3):
            wire.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            assert go_on.acquire(timeout=DEADLINE_S)
        wire.send(answer(b"done"))

    site = web([origins(serve).address], response_header_timeout="10m")
    client = site.client()
    client.send(get())
    for _ in range(3):
        assert client.response().status == 102
        site.advance("6m")
        go_on.release()
    got = client.response()
    assert (got.status, got.body) == (200, b"done")


def test_any_number_of_interim_responses_may_come(web: Web, origins: Origins) -> None:
    n = 60

    def serve(wire: Wire, request: Message) -> None:
        for _ in range(n):
            wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        wire.send(answer(b"done"))

    client = web([origins(serve).address]).client()
    for _ in range(2):
        client.send(get())
        for _ in range(n):
            got = client.response()
            assert (got.status, got["link"]) == (103, "</a>")
        assert client.response().body == b"done"


# --- Upgrade ---


def test_426_keeps_its_upgrade(web: Web, origins: Origins) -> None:
    origin = origins(says(answer(b"no", "426 Upgrade Required", "Upgrade: TLS/1.3, HTTP/2.0",
                                 "Connection: Upgrade")))
    client = web([origin.address]).client()
    client.send(get())
    got = client.response()
    assert (got.status, got["upgrade"], got["connection"]) == (
        426, "TLS/1.3, HTTP/2.0", "Upgrade")


def test_426_keeps_all_lines_of_its_upgrade(web: Web, origins: Origins) -> None:
    origin = origins(says(answer(b"no", "426 Upgrade Required", "Upgrade: websocket",
                                 "Connection: Upgrade", "Upgrade: foo/1")))
    client = web([origin.address]).client()
    client.send(get())
    assert client.response()["upgrade"] == "websocket, foo/1"


def test_other_answers_dont_keep_it(web: Web, origins: Origins) -> None:
    origin = origins(says(answer(b"ok", "200 OK", "Upgrade: h2,h2c", "Connection: Upgrade")))
    client = web([origin.address]).client()
    client.send(get())
    got = client.response()
    assert "upgrade" not in got and "connection" not in got


# --- TE ---

TRAILED = CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
TAKES = {
    "trailers": True, "deflate, trailers": True, "deflate;q=0.5,\ttrailers": True,
    "Trailers": True, "gzip,, trailers ,": True,
    "trailersx": False, "xtrailers": False, "deflate": False, "": False, "trailers2, gzip": False,
}


@pytest.mark.parametrize("value", TAKES)
def test_te_is_a_list(web: Web, origins: Origins, value: str) -> None:
    client = web([origins(says(TRAILED)).address]).client()
    client.send(get("/", f"TE: {value}", "Connection: TE"))
    assert client.response().trailers == ([("X-Sum", "1")] if TAKES[value] else [])


@pytest.mark.parametrize(("accept", "json"), [
    ("application/json", True), ("text/html, Application/JSON;q=0.9", True),
    ("text/html;a=b,application/json ; q=0.1", True), ("application/json;q=0", False),
    ("application/json; q=0.000, text/html", False), ("application/jsonx", False),
    ("text/x-application/json", False), ("*/*", False),
])
def test_accept_is_a_list(web: Web, accept: str, json: bool) -> None:
    client = web(["127.0.0.1:1"]).client()
    client.send(get("/", f"Accept: {accept}"))
    got = client.response()
    assert got["content-type"] == ("application/json" if json else "text/plain; charset=utf-8")


@pytest.mark.parametrize(("first", "second"), [
    ("application/json", "text/html"), ("text/html", "application/json")])
def test_accept_may_have_several_lines(web: Web, first: str, second: str) -> None:
    client = web(["127.0.0.1:1"]).client()
    client.send(get("/", f"Accept: {first}", f"Accept: {second}"))
    assert client.response()["content-type"] == "application/json"


# --- sizes ---


def big(n: int) -> bytes:
    return answer(b"ok", "200 OK", "X-Big: " + "b" * n)


@pytest.mark.parametrize(("size", "limit"), [(20_000, None), (32_000, None), (60_000, "60KiB")])
def test_response_heads_up_to_the_limit_arrive(
    web: Web, origins: Origins, size: int, limit: str | None
) -> None:
    pool = {"max_response_header_size": limit} if limit else {}
    client = web([origins(says(big(size))).address], pool=pool).client()
    for _ in range(2):
        client.send(get())
        got = client.response()
        assert (got.body, len(got["x-big"])) == (b"ok", size)


@pytest.mark.parametrize(("size", "limit"), [(33_000, "32KiB"), (2_000, "1KiB"), (900, "1KiB")])
def test_larger_response_heads_are_502_and_logged(
    web: Web, origins: Origins, caplog: pytest.LogCaptureFixture, size: int, limit: str
) -> None:
    caplog.set_level(logging.WARNING, "fastlb.health")
    origin = origins(says(big(size)))
    site = web([origin.address], pool={
        "max_response_header_size": limit, "retry": {"attempts": 1}})
    client = site.client()
    client.send(get())
    got = client.response()
    if size < 1024:
        assert got.status == 200
        return
    assert (got.status, got["x-fastlb-error"]) == (502, "response_too_large")
    wait_until(lambda: "max_response_header_size allows fewer" in caplog.text)
    said = next(r.getMessage() for r in caplog.records if "allows fewer" in r.getMessage())
    assert said.startswith(
        f"pool pool: the head or the trailers of a response of {origin.address} have ")
    assert int(said.split(" have ")[1].split(" bytes")[0]) >= {"32KiB": 32768, "1KiB": 1024}[limit]


@pytest.mark.parametrize("size", [100, 9_000, 31_000])
def test_trailers_have_the_limit_of_heads(web: Web, origins: Origins, size: int) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: ")
        for _ in range(size // 100):
            wire.send(b"s" * 100)
        wire.send(b"\r\n\r\n")

    client = web([origins(serve).address]).client()
    for _ in range(2):
        client.send(get("/", "TE: trailers", "Connection: TE"))
        got = client.response()
        assert (got.body, got.trailers) == (b"ok", [("X-Sum", "s" * size)])


def test_larger_trailers_cut_the_response(web: Web, origins: Origins) -> None:
    raw = CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: " + b"s" * 40_000 + b"\r\n\r\n"
    client = web([origins(says(raw)).address]).client()
    client.send(get("/", "TE: trailers", "Connection: TE"))
    with pytest.raises((EOFError, ConnectionResetError)):
        client.response()


# --- Content-Length ---


def test_zeros_before_a_length_are_not_passed_on(web: Web, origins: Origins) -> None:
    origin = origins(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0002\r\nX: y\r\n\r\nok"))
    client = web([origin.address]).client()
    client.send(b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 010\r\n\r\n0123456789")
    got = client.response()
    assert (got.body, got["content-length"], got["x"]) == (b"ok", "2", "y")
    assert (origin.requests[0].body, origin.requests[0]["content-length"]) == (b"0123456789", "10")


# --- clients that close their sending side ---


@pytest.mark.modes("tls")
@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("what", ["cancel", "drain"])
def test_client_that_half_closes_gets_its_answer(
    web: Web, origins: Origins, what: str, late: bool
) -> None:
    closed = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        assert closed.wait(DEADLINE_S)
        wire.send(answer(b"late"))

    origin = origins(serve)
    site = web([origin.address], on_client_close=what)
    client = site.site.connect()
    client.sendall(get())
    if late:                            # its end comes after the request has gone on
        wait_until(lambda: len(origin.requests) == 1)
    client.shutdown(socket.SHUT_WR)
    closed.set()
    assert read_to_end(client).endswith(b"\r\n\r\nlate")


@pytest.mark.plain
def test_client_that_resets_cancels_its_request(web: Web, origins: Origins) -> None:
    ended = threading.Event()

    def serve(wire: Wire, request: Message) -> bool:
        with contextlib.suppress(ConnectionResetError):
            assert wire.some() == b""
        ended.set()
        return False

    origin = origins(serve)
    site = web([origin.address])
    client = site.site.connect()
    client.sendall(get())
    wait_until(lambda: len(origin.requests) == 1)
    client.shutdown(socket.SHUT_WR)     # (which alone changes nothing)
    reset(client)
    assert ended.wait(DEADLINE_S)
    wait_until(lambda: site.totals()["ended_client_reset"] == 1)


@pytest.mark.plain
def test_half_close_cancels_where_it_is_told_to(web: Web, origins: Origins) -> None:
    ended = threading.Event()

    def serve(wire: Wire, request: Message) -> bool:
        with contextlib.suppress(ConnectionResetError):
            assert wire.some() == b""
        ended.set()
        return False

    origin = origins(serve)
    site = web([origin.address], on_client_close="cancel_on_fin")
    client = site.site.connect()
    client.sendall(get())
    wait_until(lambda: len(origin.requests) == 1)
    client.shutdown(socket.SHUT_WR)
    assert ended.wait(DEADLINE_S)
    assert read_to_end(client) == b""


# --- answers before the request's end ---


@pytest.mark.modes("tls")
@pytest.mark.parametrize("who", ["fastlb", "server"])
def test_early_answer_can_be_read_by_whoever_sends_all_first(
    web: Web, origins: Origins, who: str
) -> None:
    """As browsers do: far more than sockets hold is sent before anything is read."""
    size = 20 << 20

    def serve(wire: Wire, request: Message) -> bool:
        raise AssertionError("the body isn't whole")

    keys = {"max_body_size": "1MiB"} if who == "fastlb" else {}
    early = Origin()
    site = web([early.address if who == "server" else origins(serve).address], **keys)
    client = site.client()
    client.send(get("/", "Transfer-Encoding: chunked" if who == "server" else
                    f"Content-Length: {size}", method="POST"))
    if who == "server":
        peer = Wire(early.accept())
        peer.head()
        peer.send(answer(b"", "413 Content Too Large", "Connection: close"))
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n" if who == "server" else b"x" * 65536
    for _ in range(size // 65536):
        client.send(piece)
    assert client.response().status == 413
    early.close()


def test_no_more_is_discarded_than_allowed(web: Web, origins: Origins) -> None:
    site = web([origins().address], max_body_size="1KiB", max_discard_size="256KiB")
    client = site.client()
    client.send(get("/", f"Content-Length: {1 << 30}", method="POST"))
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        for _ in range(1 << 14):
            client.send(b"x" * 65536)


# --- chunks that were here before a server was asked ---


@pytest.mark.parametrize("body", [
    b"5;\r\nhello\r\n0\r\n\r\n", b"5;bad[=x\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n",
    b"zz\r\n", b"5\r\nhelloXX", b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    b"1\r\na\r\n" * 100 + b"-1\r\n",
])
def test_nothing_of_a_broken_request_reaches_a_server(
    web: Web, origins: Origins, body: bytes
) -> None:
    origin = origins()
    site = web([origin.address])
    client = site.client()
    client.send(get("/", "Transfer-Encoding: chunked", method="POST") + body)
    assert client.response().status == 400
    assert (origin.connections, site.totals()["connect_failures"]) == (0, 0)


def test_chunk_extensions_of_clients_are_read_and_thrown_away(web: Web, origins: Origins) -> None:
    origin = origins()
    client = web([origin.address]).client()
    client.send(get("/", "Transfer-Encoding: chunked", method="POST")
                + b'5;a;b=c ; d = "e\\";" ;f="";g\r\nhello\r\n0;z="9"\r\n\r\n')
    assert client.response().status == 200
    assert origin.requests[0].body == b"hello"
