"""A real browser over HTTP/2: many requests at once, events without end, and a WebSocket in a
stream, as RFC 8441 has it."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator

import pytest

from tests.flow.admin.browser import PROGRAM, Browser
from tests.flow.conftest import BUILD, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer
from tests.flow.http2.conftest import Open, Origins
from tests.flow.modes import fixture_of

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="there is no chromium (apt-get install chromium)"),
    pytest.mark.skipif(BUILD == "asan", reason="a browser says nothing about our memory"),
    pytest.mark.timeout(400),
]
RESOURCES = 50
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"     # RFC 6455, 1.3
PAGE = "<!doctype html><title>page</title><link rel=icon href=data:,>" + "".join(
    f"<script src=/{i}.js></script>" for i in range(RESOURCES))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium"), "--ignore-certificate-errors") as made:
        yield made


mode = fixture_of("thread", "threads")


class Server:
    """What the page asks for. `events` and `words` are what was seen of them."""

    def __init__(self) -> None:
        self.words: list[bytes] = []
        self.upgrades: list[Message] = []
        self.gone = threading.Event()

    def serve(self, wire: Wire, request: Message) -> bool | None:
        if request.target == "/":
            wire.send(answer(PAGE.encode(), "200 OK", "Content-Type: text/html"))
        elif request.target.endswith(".js"):
            number = request.target[1:-3]
            body = f"(window.made ??= []).push({number});//".ljust(20_000, "x").encode()
            wire.send(answer(body, "200 OK", "Content-Type: text/javascript"))
        elif request.target == "/events":
            return self._events(wire)
        elif request.target == "/chat":
            return self._chat(wire, request)
        elif request.target == "/echo":
            wire.send(answer(request.body))
        else:
            wire.send(answer(b"", "404 Not Found"))
        return None

    def _events(self, wire: Wire) -> bool:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        try:
            n = 0
            while not self.gone.wait(0.02):
                n += 1
                wire.send(b"data: %d\n\n" % n)
        except OSError:
            self.gone.set()
        return False

    def _chat(self, wire: Wire, request: Message) -> bool:
        self.upgrades.append(request)
        made = hashlib.sha1(request["sec-websocket-key"].encode() + GUID).digest()
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket"
                  b"\r\nSec-WebSocket-Accept: " + base64.b64encode(made) + b"\r\n\r\n")
        while True:
            head = wire.exactly(2)
            size = head[1] & 127
            if size >= 126:
                size = int.from_bytes(wire.exactly(2 if size == 126 else 8), "big")
            mask = wire.exactly(4)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(wire.exactly(size)))
            if head[0] & 15 == 8:       # closing
                wire.send(b"\x88" + bytes([len(data)]) + data)
                return False
            self.words.append(data)
            length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
            wire.send(head[:1] + length + data)


@pytest.fixture
def opened(h2: Open, origins: Origins, browser: Browser) -> Iterator[tuple[Server, HttpSite]]:
    """The page, as the browser has loaded it."""
    server = Server()
    origin: HttpOrigin = origins(server.serve)
    site, client = h2([origin.address], keepalive_timeout="10m")
    client.close()
    browser.open(f"https://localhost:{site.site.listener.port}/")
    browser.wait(f"document.readyState === 'complete' && window.made?.length === {RESOURCES}")
    yield server, site
    browser.open("about:blank")
    browser.wait("location.href === 'about:blank'")
    browser.call("Network.clearBrowserCache")

    def has_left() -> bool:             # (it is told to by and by: a notice, and then the end)
        site.site.advance("11m")
        return not any(site.site.counts().values())

    wait_until(has_left)


def test_a_page_of_many_parts(browser: Browser, opened: tuple[Server, HttpSite]) -> None:
    _server, site = opened
    assert browser.run("window.made") == list(range(RESOURCES))
    assert browser.run("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    assert browser.run("performance.getEntriesByType('resource').filter("
                       "one => one.nextHopProtocol === 'h2' && one.responseStatus === 200"
                       ").length") == RESOURCES
    assert site.totals()["accepted"] <= 3           # (ours, its own, and one it gave up for it)


def test_an_upload_comes_back(browser: Browser, opened: tuple[Server, HttpSite]) -> None:
    assert browser.run("""(async () => {
        const sent = new Uint8Array(3_000_000).map((_, i) => i * 7 + (i >> 8));
        const got = new Uint8Array(
            await (await fetch('/echo', {method: 'POST', body: sent})).arrayBuffer());
        return got.length === sent.length && got.every((byte, i) => byte === sent[i]);
    })()""") is True


def test_events_come_while_others_are_asked(
    browser: Browser, opened: tuple[Server, HttpSite]
) -> None:
    server, site = opened
    browser.run("window.seen = []; window.source = new EventSource('/events');"
                "source.onmessage = event => seen.push(+event.data)")
    browser.wait("seen.length >= 5")
    assert browser.run("fetch('/echo', {method: 'POST', body: 'beside'})"
                       ".then(answer => answer.text())") == "beside"
    browser.wait("seen.length >= 20")
    assert browser.run("seen.every((n, i) => n === i + 1)") is True
    browser.run("source.close()")
    wait_until(server.gone.is_set)      # the stream was reset, and its server hears of that
    wait_until(lambda: site.site.counts()["h2_streams"] == 0)


def test_a_websocket_in_a_stream(browser: Browser, opened: tuple[Server, HttpSite]) -> None:
    """RFC 8441: on the connection that is there, and no other."""
    server, site = opened
    before = site.totals()["accepted"]
    browser.run("""window.heard = []; window.chat = new WebSocket(
        `wss://${location.host}/chat`); chat.onmessage = event => heard.push(event.data);
        chat.onopen = () => { chat.send('first'); chat.send('x'.repeat(60_000)); };
        chat.onclose = event => { window.farewell = event.code + ' ' + event.wasClean; };""")
    browser.wait("heard.length === 2")
    assert browser.run("heard[0]") == "first"
    assert browser.run("heard[1] === 'x'.repeat(60_000)") is True
    assert site.totals()["accepted"] == before
    wait_until(lambda: site.site.counts()["h2_streams"] == 1)
    browser.run("chat.close(4001)")
    assert browser.wait("window.farewell") == "4001 true"
    assert server.words == [b"first", b"x" * 60_000]
    asked = server.upgrades[0]
    assert asked.line == "GET /chat HTTP/1.1"
    assert asked["sec-websocket-version"] == "13"
    wait_until(lambda: site.site.counts()["h2_streams"] == 0)
