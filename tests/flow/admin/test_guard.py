"""Who is let in, and what is made of what can't be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from fastlb.admin import server as admin_server
from tests.flow.admin.conftest import TOKEN, Admin
from tests.flow.conftest import read_to_end

Make = Callable[..., Admin]
NOBODY = "127.0.0.1:1"
JSON = {"content-type": "application/json"}


def test_a_token_is_asked_for(admin: Make) -> None:
    running = admin([NOBODY], token=TOKEN)
    assert running.http.get("/status").status_code == 200
    for given in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}",
                  TOKEN):
        refused = running.http.get("/status", headers={"authorization": given})
        assert refused.status_code == 401, given
        assert refused.headers["www-authenticate"] == 'Bearer realm="fastlb"'
        assert refused.json()["problems"][0]["path"] == "authorization"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/dashboard.js", "/dashboard.css"])
def test_some_things_are_for_everybody(admin: Make, path: str) -> None:
    """Whether we live, and the page that asks for the token; nothing of what it shows."""
    running = admin([NOBODY], token=TOKEN)
    answer = running.http.get(path, headers={"authorization": ""})
    assert answer.status_code == 200
    assert NOBODY not in answer.text


def test_the_right_token_makes_any_host_right(admin: Make) -> None:
    """Who has it is no page that was rebound."""
    running = admin([NOBODY], token=TOKEN)
    assert running.http.get("/status", headers={"host": "lb.example.com"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:9000", ""])
def test_another_name_for_this_address_is_refused(admin: Make, host: str) -> None:
    running = admin([NOBODY])
    status, error, problems = running.refused("GET", "/status", headers={"host": host})
    assert status == 403 and "which is not this address" in error
    assert problems[0]["path"] == "host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "127.9.9.9", "[::1]"])
def test_names_of_this_machine_are_fine(admin: Make, host: str) -> None:
    assert admin([NOBODY]).http.get("/status", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
     {"sec-fetch-site": "same-site"}],
)
@pytest.mark.parametrize("ask", [("GET", "/status"), ("POST", "/reload"), ("PUT", "/config")])
def test_pages_of_other_sites_get_nothing(
    admin: Make, headers: dict[str, str], ask: tuple[str, str]
) -> None:
    status, error, _ = admin([NOBODY]).refused(*ask, headers=headers)
    assert (status, error) == (403, "the page of another site asked for this")


def test_a_link_of_another_site_opens_the_page(admin: Make) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    running = admin([NOBODY])
    page = running.http.get("/", headers=headers)
    assert page.status_code == 200
    assert page.headers["x-frame-options"] == "DENY"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_form_changes_nothing(admin: Make, kind: str) -> None:
    status, _, problems = admin([NOBODY]).refused(
        "PUT", "/pools/api/servers", content=b'{"servers":[]}', headers={"content-type": kind})
    assert status == 415
    assert problems[0]["valid"] == ["application/json", "application/toml", "text/toml"]


BAD: list[tuple[str, str, Any, int, str, str]] = [
    ("GET", "/nothing", None, 404, "", ""),
    ("DELETE", "/status", None, 405, "", ""),
    ("GET", "/pools/nope", None, 404, "pool", "one of: api"),
    ("GET", "/pools/api/servers/1.2.3.4:5", None, 404, "server", f"one of: {NOBODY}"),
    ("GET", "/config?format=xml", None, 422, "format", "one of: json, toml"),
    ("GET", "/changes/77", None, 404, "", ""),
    ("PUT", "/pools/api/servers", b"{", 400, "", "expecting property name"),
    ("PUT", "/pools/api/servers", b"[]", 400, "", "not an object"),
    ("PUT", "/pools/api/servers", b"[" * 100_000, 400, "", ""),
    ("PUT", "/pools/api/servers", b"\xff\xfe", 400, "", "not UTF-8"),
    ("PUT", "/pools/api/servers", b"{}", 422, "servers", "this key is missing"),
    ("PUT", "/pools/api/servers", b'{"server":[]}', 422, "server", "'server' is not a key here"),
    ("PUT", "/pools/api/servers", b'{"servers":"a:1"}', 422, "servers", '"a:1" is not a list'),
    ("PUT", "/pools/api/servers", b'{"servers":["a"]}', 422, "pools.api.servers[0]",
     "'a' is not an address with a port"),
    ("PUT", "/pools/api/servers", b'{"servers":[{"address":"a:1","weight":-1}]}', 422,
     "pools.api.servers[0].weight", "-1 is out of range: at least 0"),
    ("PUT", "/pools/api/servers", b'{"servers":[],"drain_timeout":"5"}', 422, "drain_timeout",
     "'5' is not a duration"),
    ("PUT", "/pools/api/servers?wait=2h", b'{"servers":[]}', 422, "wait", "longer than 1h"),
    ("PATCH", f"/pools/api/servers/{NOBODY}", b'{"weight":true}', 422, "weight",
     "true is not a whole number"),
    ("PATCH", f"/pools/api/servers/{NOBODY}", b'{"weight":257}', 422, "weight",
     "257 is not from 0 to 256"),
    ("PATCH", f"/pools/api/servers/{NOBODY}", b'{"state":"off"}', 422, "state",
     "'off' is not a state; one of: draining, maintenance, up"),
    ("PATCH", "/pools/api/servers/1.2.3.4:5", b'{"weight":1}', 404, "server", "one of:"),
    ("DELETE", "/pools/api/servers", b'{"servers":["1.2.3.4:5"]}', 404, "server", "one of:"),
    ("POST", "/explain", b"{}", 422, "url", "this key is missing"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "key", "told"), BAD)
def test_bad_input_is_told_with_its_field(
    admin: Make, method: str, path: str, body: bytes | None, status: int, key: str, told: str
) -> None:
    running = admin([NOBODY])
    got, error, problems = running.refused(method, path, content=body, headers=JSON)
    assert got == status and error
    if told:
        assert problems[0]["path"] == key
        assert told in problems[0]["message"]
    assert list(running.balancer.pools["api"].servers) == [NOBODY]


def test_a_body_beyond_all_measure_is_refused(
    admin: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_server, "FILE_BYTES_MAX", 1000)
    status, error, _ = admin([NOBODY]).refused("PUT", "/config", content=b" " * 1001, headers=JSON)
    assert (status, error) == (413, "the body is too large")


def test_who_says_nothing_is_cut_off(admin: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_server, "ADMIN_REQUEST_S", 0.05)
    running = admin([NOBODY])
    silent = running.raw()
    silent.sendall(b"GET /status HTTP/1.1\r\nhost: localhost\r\n")
    assert read_to_end(silent) == b""
    silent.close()
    monkeypatch.undo()                  # (who asks may take longer)
    assert running.get("/healthz") == {"status": "ok"}


def test_connections_are_limited(admin: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_server, "ADMIN_CONNECTIONS_MAX", 2)
    monkeypatch.setattr(admin_server, "ADMIN_REQUEST_S", 600.0)     # (they stay)
    running = admin([NOBODY])
    others = [running.raw() for _ in range(2)]
    for other in others:
        other.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert other.recv(100).startswith(b"HTTP/1.1 200")
    third = running.raw()
    third.sendall(b"GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n")
    told = read_to_end(third)
    assert told.startswith(b"HTTP/1.1 503") and b"too many connections are open" in told
    for one in (*others, third):
        one.close()


def test_streams_are_limited(admin: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlb.admin import streams

    monkeypatch.setattr(streams, "ADMIN_STREAMS_MAX", 1)
    running = admin([NOBODY])
    with running.http.stream("GET", "/events") as answer:
        assert answer.status_code == 200
        status, error, _ = running.refused("GET", "/stream")
    assert status == 503 and "streams are open" in error


def test_an_address_that_is_taken_is_told_and_nothing_starts(admin: Make) -> None:
    running = admin([NOBODY])
    second = fastlb.Balancer(threads=1, admin={"bind": running.url})
    second.listen("tcp://127.0.0.1:0", pool=second.pool("api", [NOBODY]))
    with pytest.raises(fastlb.BindError, match=r"^admin\.bind: http://127\.0\.0\.1:\d+: the port"):
        second.background()


def test_an_embedding_program_gets_none_unasked() -> None:
    lb = fastlb.Balancer(threads=1)
    lb.listen("tcp://127.0.0.1:0", pool=lb.pool("api", [NOBODY]))
    with lb.background():
        assert lb.admin_url is None
