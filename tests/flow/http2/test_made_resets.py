"""Clients that make us reset their streams (CVE-2025-8671, "MadeYouReset"): each reset throws away
a request that a server works for, so it counts as a reset by the client does."""

from __future__ import annotations

import contextlib
import socketserver
import struct
import threading
import time
from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Message, Wire
from tests.flow.http2.conftest import Open, Origins, connect
from tests.flow.http2.peers import DATA, HEADERS, RST_STREAM, WINDOW_UPDATE, Client
from tests.flow.http2.test_hostile import CALM, was_calmed

END_STREAM, END_HEADERS = 1, 4
STREAMS = 500

GRPC = [("te", "trailers"), ("content-type", "application/grpc"), ("grpc-timeout", "1n")]

# What follows a request's head, which announces one byte of a body.
Follow = Callable[[Client, int], bytes]


def _trailers(*fields: tuple[str, str], flags: int = END_HEADERS | END_STREAM) -> Follow:
    return lambda client, stream: (
        client.raw(DATA, 0, stream, b"x")
        + client.raw(HEADERS, flags, stream, client.h2.encoder.encode(list(fields))))


FOLLOWS: dict[str, Follow] = {
    "body longer than announced": lambda client, stream: client.raw(DATA, 0, stream, b"xx"),
    "body shorter than announced": lambda client, stream: client.raw(DATA, END_STREAM, stream),
    "trailers with :path": _trailers((":path", "/")),
    "trailers with connection": _trailers(("connection", "close")),
    "trailers without END_STREAM": _trailers(("x", "1"), flags=END_HEADERS),
    "trailers of 90 KB": _trailers(*[("x", "v" * 3000)] * 30),
    "window beyond 2^31": lambda client, stream: client.raw(
        WINDOW_UPDATE, 0, stream, struct.pack(">I", 0x7FFFFFFF)),
    "a reset by the client": lambda client, stream: client.raw(
        RST_STREAM, 0, stream, struct.pack(">I", 8)),
}


@pytest.mark.parametrize("follow", FOLLOWS.values(), ids=FOLLOWS.keys())
def test_streams_that_fastlb_is_made_to_reset_end_the_connection(
    h2: Open, origins: Origins, pair: tuple[str, str], follow: Follow
) -> None:
    over = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        over.wait(DEADLINE_S)

    site, client = h2([origins(serve).address])
    deadline = time.monotonic() + DEADLINE_S
    while not _is_abused(site, client, follow):
        # (an engine that a busy machine keeps waiting makes fewer than 100 resets in a second)
        assert time.monotonic() < deadline, "nothing ends the connection"
        client.close()
        client = connect(site, pair)
    client.until_end()
    client.close()
    over.set()
    assert was_calmed(site, client)
    wait_until(lambda: not any(site.site.counts().values()))


def _is_abused(site: HttpSite, client: Client, follow: Follow) -> bool:
    """Send all the streams, and wait until fastlb has none of them; whether it counts that as abuse
    of the connection."""
    data = b""
    for i in range(STREAMS):
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [
            (":method", "POST"), (":scheme", "https"), (":path", f"/{i}"),
            (":authority", "site.test"), ("content-length", "1")])
        data += client.h2.data_to_send() + follow(client, stream)
    client.h2.ping(bytes(8))            # what is answered to shows that all before it was read
    begun, started = site.totals()["requests"], time.monotonic()
    with contextlib.suppress(OSError):
        client.sock.sendall(data + client.h2.data_to_send())
    wait_until(lambda: not client.look_if_any() or (
        client.pongs > 0 and site.site.counts()["h2_streams"] == 0))
    # 100 a second, and those that were under way
    most = 100 * (time.monotonic() - started + 1) + 100
    assert site.totals()["requests"] - begun <= most
    return site.totals()["h2_abused"] > 0


@pytest.mark.parametrize("how", ["larger than max_body_size", "a deadline that is over at once"])
def test_requests_that_fastlb_is_made_to_give_up_end_the_connection(
    h2: Open, origins: Origins, how: str
) -> None:
    """No stream has to be reset for it: what counts is that servers work for nothing."""
    begun = 0

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 1024
        daemon_threads = True

    class Servant(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            nonlocal begun
            while b"\r\n\r\n" not in self.request.recv(4096):
                pass
            begun += 1
            with contextlib.suppress(ConnectionResetError):
                while self.request.recv(4096):
                    pass

    late = how.startswith("larger")
    started, asked = time.monotonic(), 0
    with Server(("127.0.0.1", 0), Servant) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        site, client = h2(["{}:{}".format(*server.server_address)], max_body_size="1KiB")
        for _ in range(STREAMS // 50):
            if client.goaway is not None or client.ended:
                break
            streams = [client.ask("/", *([] if late else GRPC), method="POST", ends=not late)
                       for _ in range(50)]
            if late:
                asked += 50
                wait_until(lambda asked=asked: begun >= asked or not client.look_if_any())
                data = b"".join(client.raw(DATA, 0, one, bytes(1100)) for one in streams)
                with contextlib.suppress(OSError):
                    client.sock.sendall(data)
            while client.goaway is None and not all(client.answers[one].fields for one in streams) \
                    and client.look():
                pass
            for stream in streams if late and client.goaway is None else ():
                client.h2.end_stream(stream)
            client.flush()
        client.close()
        server.shutdown()
    # 100 a second, and those that were under way
    assert begun <= 100 * (time.monotonic() - started + 1) + 50
    if client.goaway is not None:
        assert client.goaway == CALM and site.totals()["h2_abused"] == 1
