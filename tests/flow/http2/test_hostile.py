"""What a client may do to make us work for nothing is counted, and ends with ENHANCE_YOUR_CALM."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import h2.errors
import pytest

from tests.flow.conftest import measures_memory, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Message, Wire, answer
from tests.flow.http2.conftest import Open, Origins, connect
from tests.flow.http2.peers import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    PRIORITY,
    SETTINGS,
    WINDOW_UPDATE,
    Client,
)

CALM = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
FRAMES = 20_000


def flood(client: Client, data: bytes, times: int = FRAMES // 100) -> None:
    """Until we are told to go, or the connection ends."""
    try:
        for _ in range(times):
            client.sock.sendall(data)
            if not client.look_if_any():
                break
    except OSError:
        pass
    client.until_end()
    client.close()


def was_calmed(site: HttpSite, client: Client) -> bool:
    """Whether the connection was ended for what its client did. The GOAWAY may be lost to a client
    that goes on sending: what comes after the end resets the connection."""
    return client.ended and client.goaway in (CALM, None) and site.totals()["h2_abused"] == 1


@pytest.mark.parametrize("kind", ["settings", "ping", "priority", "window", "empty"])
def test_floods_of_frames(h2: Open, origins: Origins, kind: str) -> None:
    site, client = h2([origins().address])
    stream = client.ask("/", method="POST", ends=False)
    client.answers.clear()
    frame = {
        "settings": client.raw(SETTINGS, 0, 0),
        "ping": client.raw(PING, 0, 0, bytes(8)),
        "priority": client.raw(PRIORITY, 0, stream, struct.pack(">IB", 0, 7)),
        "window": client.raw(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
        "empty": client.raw(DATA, 0, stream),
    }[kind]
    # (Each record of TLS has more than the 500 frames that a second may have: on a busy machine, an
    # engine may read no more than one in a second. Fails at its deadline if the connection stays.)
    flood(client, frame * 2000, FRAMES // 2000)
    assert was_calmed(site, client)
    wait_until(lambda: not any(site.site.counts().values()))


def test_rapid_reset(h2: Open, origins: Origins) -> None:
    """CVE-2023-44487: requests that are taken back at once."""
    running, most = [0], [0]
    lock = threading.Lock()

    def serve(wire: Wire, request: Message) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.05)
        with lock:
            running[0] -= 1
        wire.send(answer(b"ok"))

    site, client = h2([origins(serve).address])
    data = b""
    for i in range(2000):
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [
            (":method", "GET"), (":scheme", "https"), (":path", f"/{i}"),
            (":authority", "site.test")], end_stream=True)
        client.h2.reset_stream(stream, error_code=8)
        data += client.h2.data_to_send()
    flood(client, data, 1)
    assert was_calmed(site, client)
    assert most[0] <= 100
    wait_until(lambda: not any(site.site.counts().values()))
    assert site.totals()["requests"] <= 200


def test_continuation_without_end(h2: Open, origins: Origins) -> None:
    site, client = h2([origins().address])
    head = client.raw(HEADERS, 1, 1, b"\x82\x84\x87\x41\x01a")      # (no END_HEADERS)
    more = client.raw(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 1000)
    client.sock.sendall(head)
    flood(client, more * 10)
    assert client.ended
    wait_until(lambda: not any(site.site.counts().values()))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@measures_memory
def test_a_bomb_of_header_references(h2: Open, origins: Origins) -> None:
    """One long field in HPACK's table, named thousands of times: none of it is kept."""
    site, client = h2([origins().address])
    client.h2.config.validate_outbound_headers = False
    fields = [("x-long", "v" * 3500)] * 2000
    client.get("/", *fields)
    before = _resident_bytes()
    for _ in range(100):
        try:
            assert client.get("/", *fields).reset is not None
        except (AssertionError, OSError):
            assert client.goaway in (CALM, None)
            break
    assert _resident_bytes() - before < 8 << 20     # (of which most is this client's)
    client.close()
    wait_until(lambda: not any(site.site.counts().values()))
    assert site.totals()["requests"] == 0


@pytest.mark.parametrize(
    "field",
    [("x", "a\r\nevil: 1"), ("x", "a\0b"), ("x\r\ny", "1"), ("X-Upper", "1"), ("x:y", "1"),
     ("connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"),
     ("content-length", "7"), ("content-length", "x"), (":path", "/again"), ("x y", "1")],
)
def test_what_http_1_would_misread_never_goes_on(
    h2: Open, origins: Origins, field: tuple[str, str], pair: tuple[str, str]
) -> None:
    origin = origins()
    site, client = h2([origin.address])
    client.h2.config.validate_outbound_headers = False
    client.h2.config.normalize_outbound_headers = False
    body = b"123456" if field[0] == "content-length" else None
    try:
        got = client.get("/first", field, method="POST" if body else "GET", body=body)
    except AssertionError:
        assert client.goaway not in (None, 0)
    else:
        assert got.reset is not None or got.status == 400
    fresh = connect(site, pair)
    assert fresh.get("/after").status == 200
    assert [one.line for one in origin.requests if "first" not in one.line] == [
        "GET /after HTTP/1.1"]
    fresh.close()


@pytest.mark.parametrize(
    "target", ["", "relative", "/a b", "/a\tb", "/\x7f", "*", "http://evil/"]
)
def test_odd_targets(h2: Open, origins: Origins, target: str) -> None:
    origin = origins()
    _site, client = h2([origin.address])
    client.h2.config.validate_outbound_headers = False
    try:
        got = client.get(target)
        assert got.reset is not None or got.status in (400, 404) or target in ("*", "http://evil/")
    except AssertionError:
        assert client.ended
    for one in origin.requests:
        assert one.line.count(" ") == 2


def test_garbage_is_no_http_2(h2: Open, origins: Origins, pair: tuple[str, str]) -> None:
    site, client = h2([origins().address])
    flood(client, b"\xff" * 100_000, 1)
    wait_until(lambda: not any(site.site.counts().values()))
    assert connect(site, pair).get("/").status == 200


def test_what_is_taken_back_at_once_reaches_no_server(h2: Open, origins: Origins) -> None:
    """Both frames come with one read: there is nobody to answer any more."""
    origin = origins()
    site, client = h2([origin.address])
    assert client.get("/before").status == 200
    for _ in range(50):
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [
            (":method", "GET"), (":scheme", "https"), (":path", "/taken-back"),
            (":authority", "site.test")], end_stream=True)
        client.h2.reset_stream(stream, error_code=8)
    client.flush()
    assert client.get("/after").status == 200
    assert [one.target for one in origin.requests] == ["/before", "/after"]
    assert site.totals()["requests"] == 2
