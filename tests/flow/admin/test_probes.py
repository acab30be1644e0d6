"""Probes are answered whoever else holds connections, and broken requests leave no trace."""

from __future__ import annotations

import json
import logging
import random
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from fastlb.admin import probes
from fastlb.admin import server as admin_server
from fastlb.config.limits import ADMIN_CONNECTIONS_MAX
from tests.flow.admin.conftest import Admin
from tests.flow.conftest import read_to_end, wait_until

Make = Callable[..., Admin]
NOBODY = "127.0.0.1:1"


def ask(running: Admin, head: str) -> tuple[int, bytes]:
    """Status and body."""
    with running.raw() as client:
        client.sendall(head.encode())
        head_bytes, _, body = read_to_end(client).partition(b"\r\n\r\n")
    return int(head_bytes.split(b" ", 2)[1]), body


def fill(running: Admin, stack: ExitStack) -> None:
    """Hold every place, with connections that say nothing."""
    for _ in range(ADMIN_CONNECTIONS_MAX):
        stack.enter_context(running.raw())
    wait_until(lambda: ask(running, "GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n")[0] == 503)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that say nothing stay, however long a test takes."""
    monkeypatch.setattr(admin_server, "ADMIN_REQUEST_S", 600.0)


@pytest.mark.usefixtures("patient")
def test_probes_are_answered_when_all_places_are_taken(admin: Make) -> None:
    running = admin([NOBODY])
    with ExitStack() as stack:
        fill(running, stack)
        assert ask(running, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n") == (
            200, b'{"status":"ok"}\n')
        assert ask(running, "GET /readyz?verbose HTTP/1.0\r\n\r\n") == (
            200, b'{"status":"serving"}\n')
        assert ask(running, "HEAD /readyz HTTP/1.1\r\nhost: x\r\n\r\n") == (200, b"")
        status, body = ask(running, "POST /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (status, json.loads(body)["error"]) == (503, "too many connections are open")


@pytest.mark.usefixtures("patient")
def test_silent_connections_beyond_the_limit_keep_no_probe_out(admin: Make) -> None:
    running = admin([NOBODY])
    with ExitStack() as stack:
        fill(running, stack)
        for _ in range(3 * probes.PLACES):
            stack.enter_context(running.raw())
            assert ask(running, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")[0] == 200


BROKEN = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    b"GET / HTTP/9.9\r\n\r\n", b"G\x00T / HTTP/1.1\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    b"PUT /config HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    b"PUT /config HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello",
    b"PUT /config HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: 100\r\n\r\n{",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nx: " + b"a" * 20_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("sent", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_request_is_refused_without_a_trace(
    admin: Make, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    running = admin([NOBODY])
    before = len(caplog.records)
    with running.raw() as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        try:
            answer = read_to_end(client)
        except ConnectionError:
            answer = b""
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert [one for one in caplog.records[before:] if one.levelno >= logging.INFO] == []
    assert running.http.get("/healthz").status_code == 200


ODD: list[Any] = [
    None, True, 0, -1, 10**30, 0.5, "", "x", "\x00", "\ud800", "a" * 5000, [], [None], [[]], [{}],
    {}, {"": None}, {"a": {}}, "127.0.0.1:1", "127.0.0.1:2", "unix:/x", "[::1]:1", "1s", "-1s",
    [{"address": None}], [{"address": "127.0.0.1:2", "weight": "x"}], [{"dns": ""}], [{"dns": 1}],
    [{"weight": 1}], ["127.0.0.1:2", "127.0.0.1:2"], [{"address": "127.0.0.1:2", "dns": "a:1"}],
]
KEYS = ("servers", "drain_timeout", "weight", "state", "url", "method", "headers", "body", "client",
        "listener", "tls", "proxy", "says", "body_base64", "call_policy", "pools", "listeners", "")
PATHS = (
    "/config", "/config?dry_run=1", "/config?dry_run=x", "/reload", "/pools/api/servers",
    "/pools/nope/servers", f"/pools/api/servers/{NOBODY}", "/pools/api/servers/%00",
    f"/pools/api/servers/{NOBODY}/drain", f"/pools/api/servers/{NOBODY}/enable",
    "/pools/api/reset", "/changes/x", "/changes/1?wait=x", "/explain", "/pools/%ff", "/nope",
)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_is_sent_is_an_error_of_ours(
    admin: Make, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    running = admin([NOBODY])
    for _ in range(250):
        method = chance.choice(("GET", "PUT", "POST", "DELETE", "PATCH"))
        path = chance.choice(PATHS)
        made: Any = chance.choice(ODD)
        if chance.random() < 0.8:
            made = {chance.choice(KEYS): chance.choice(ODD) for _ in range(chance.randint(0, 3))}
        content = json.dumps(made).encode()
        if chance.random() < 0.1:
            content = chance.choice([b"", b"[", b"{", b"\xff", b"NaN", b'{"servers": NaN}',
                                     b"[" * 5000, b"9" * 5000])
        answer = running.http.request(
            method, path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code < 500 or answer.status_code == 501, (
            method, path, made, answer.text)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(("method", "body", "problem"), [
    ("DELETE", {"servers": [{}]}, ("servers[0]", "{} is not an address")),
    ("DELETE", {"servers": [NOBODY, None]}, ("servers[1]", "null is not an address")),
])
def test_addresses_that_are_none_are_refused(
    admin: Make, method: str, body: Any, problem: tuple[str, str]
) -> None:
    running = admin([NOBODY])
    status, _, problems = running.refused(method, "/pools/api/servers", json=body)
    assert (status, [(one["path"], one["message"]) for one in problems]) == (422, [problem])


@pytest.mark.parametrize("servers", [
    [{}], [{"weight": 2}], [{"address": None}], [{"address": None, "dns": None}]])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_server_without_an_address_is_refused(
    admin: Make, method: str, servers: list[Any]
) -> None:
    running = admin([NOBODY])
    status, _, problems = running.refused(method, "/pools/api/servers", json={"servers": servers})
    place = 0 if method == "PUT" else 1
    assert (status, problems[0]["path"]) == (422, f"pools.api.servers[{place}]")
    assert [one["address"] for one in running.get("/pools/api")["servers"]] == [NOBODY]
