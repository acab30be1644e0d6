"""Every key of HTTP listeners, for clients of HTTP/2: what it does there, or why it can't."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from fastlb.config.http import HttpKeys, HttpListener
from tests.flow.conftest import wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer
from tests.flow.http2.conftest import Open, Origins
from tests.flow.http2.peers import Answer, Client

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Do = Callable[[HttpSite, Client, HttpOrigin], object]


def _slow(wire: Wire, request: Message) -> bool:
    """No answer, until the client of ours goes."""
    wire.sock.recv(1)
    return False


def _begun(wire: Wire, request: Message) -> bool:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun")
    wire.sock.recv(1)
    return False


def _status(wanted: int, *fields: tuple[str, str], path: str = "/", **keys: Any) -> Do:
    def do(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
        got: Answer = client.get(path, *fields, **keys)
        assert got.status == wanted

    return do


def _told(name: str, wanted: str | None, *fields: tuple[str, str]) -> Do:
    """What the server is told."""
    def do(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
        assert client.get("/", *fields).status == 200
        assert origin.requests[0].all(name) == ([wanted] if wanted else [])

    return do


def _reset(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
    assert client.get("/").reset is not None


def _path(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
    client.get("/a//b")
    assert origin.requests[0].target == "/a//b"


def _error_header(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
    assert "x-why" in client.get("/" + "a" * 200).fields


def _edited(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
    assert client.get("/").fields["x-new"] == "1"


def _page(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
    got = client.get("/" + "a" * 200)
    assert (got.status, got.body) == (414, b"a page")


def _drained(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
    """The server's connection is kept, though its client has gone."""
    stream = client.ask("/")
    wait_until(lambda: len(origin.requests) == 1)
    client.h2.reset_stream(stream, error_code=8)
    client.flush()
    wait_until(lambda: site.site.counts()["requests"] == 0)
    assert client.get("/").status == 200
    assert origin.connections == 1


def _late(wire: Wire, request: Message) -> None:
    """An answer that comes in parts, for the client to go in between."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun")
    wire.send(b"ended")


def _switch(wire: Wire, request: Message) -> bool:
    made = hashlib.sha1(request["sec-websocket-key"].encode() + GUID).digest()
    wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              b"Sec-WebSocket-Accept: " + base64.b64encode(made) + b"\r\n\r\n")
    wire.sock.recv(1)
    return False


def _silent_websocket(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
    while not client.h2.remote_settings.enable_connect_protocol:
        client.look()
    stream = client.ask("/", (":protocol", "websocket"), ("sec-websocket-version", "13"),
                        method="CONNECT", ends=False)
    got = client.answer(stream)
    assert got.status == 200
    assert got.reset is not None


def _text(wire: Wire, request: Message) -> None:
    wire.send(answer(b"some text", "200 OK", "Content-Type: text/plain"))


def _coded(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
    got = client.answer(client.ask("/", ("accept-encoding", "gzip")))
    assert got.fields["content-encoding"] == "gzip"
    assert gzip.decompress(bytes(got.body)) == b"some text"


def _limited(site: HttpSite, client: Client, origin: HttpOrigin) -> None:
    assert [client.get("/").status for _ in range(2)] == [200, 429]


# Key: its value, other keys, the origin, and what is to be seen.
KEYS: dict[str, tuple[Any, dict[str, Any], Any, Do]] = {
    "response_header_timeout": ("100ms", {}, _slow, _status(504)),
    "request_timeout": ("100ms", {}, _slow, _status(504)),
    "body_idle_timeout": ("100ms", {}, _begun, _reset),
    "max_header_size": ("1KiB", {}, None, _status(431, ("x", "v" * 2000))),
    "max_headers": (5, {}, None, _status(431, *[(f"x-{i}", "v") for i in range(9)])),
    "max_uri_length": ("64B", {}, None, _status(414, path="/" + "a" * 100)),
    "max_body_size": ("10B", {}, None, _status(413, method="POST", body=b"x" * 11)),
    "forwarded": ({"headers": ["x-forwarded-host"]}, {}, None,
                  _told("x-forwarded-host", "site.test")),
    "request_id": (False, {}, None, _told("x-request-id", None)),
    "traceparent": (False, {}, None, _told("traceparent", None)),
    "via": ("lb", {}, None, _told("via", "2.0 lb")),
    "error_header": ("x-why", {"max_uri_length": "64B"}, None, _error_header),
    "on_client_close": ("drain", {}, _late, _drained),
    "websocket_timeout": ("100ms", {}, _switch, _silent_websocket),
    "merge_slashes": (False, {}, None, _path),
    "underscores": ("refuse", {}, None, _status(400, ("x_a", "1"))),
    "path_parameters": ("refuse", {}, None, _status(400, path="/a;b")),
    "methods": (["GET"], {}, None, _status(501, method="DELETE")),
    "request_headers": ({"set": {"x-new": "1"}}, {}, None, _told("x-new", "1")),
    "response_headers": ({"set": {"x-new": "1"}}, {}, None, _edited),
    "rate_limit": ({"limit": "1/h"}, {}, None, _limited),
    "compress": ({"min_size": "0B"}, {}, _text, _coded),
    "errors": ({"4xx": {"body": "a page"}}, {"max_uri_length": "64B"}, None, _page),
}
# Keys with tests of their own, and where these are.
ELSEWHERE = {
    "request_header_timeout": "test_timeouts.py",
    "keepalive_timeout": "test_timeouts.py",
    "max_requests": "test_leaving.py",
    "max_h2_window": "test_windows.py",
    "h2c": "test_connections.py",
    "min_request_rate": "http/test_slow_requests.py",
    "max_discard_size": "a stream that is answered early is reset (NO_ERROR): nothing is drained",
    "max_match_body": "routes look at bodies as the text of HTTP/1.1 that they are",
}


def test_every_key_is_looked_at() -> None:
    keys = set(HttpListener.model_fields) | set(HttpKeys.model_fields)
    assert keys - {"routes"} == set(KEYS) | set(ELSEWHERE)


@pytest.mark.parametrize("key", KEYS)
def test_keys(h2: Open, origins: Origins, key: str) -> None:
    value, others, serve, do = KEYS[key]
    origin = origins(serve or (lambda wire, request: wire.send(answer(b"ok"))))
    site, client = h2([origin.address], **{key: value}, **others)
    do(site, client, origin)
