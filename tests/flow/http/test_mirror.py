"""A mirror gets copies, and never holds up what is copied."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Site, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

pytestmark = pytest.mark.h2

Origins = Callable[..., HttpOrigin]


@pytest.fixture
def mirrored(site: Callable[..., Site]) -> Callable[..., HttpSite]:
    def make(origin: str, mirror: str, share: str = "100%", **keys: Any) -> HttpSite:
        config = fastlb.Config.build({
            "listeners": {"l": {"bind": "http://127.0.0.1:0", "routes": [
                {"name": "r", "pool": "pool", "mirror": {"pool": "mirror", "share": share}, **keys},
            ]}},
            # (a busy machine must not look like a server that doesn't accept)
            "pools": {name: {"servers": [server], "connect_timeout": f"{DEADLINE_S:.0f}s"}
                      for name, server in (("pool", origin), ("mirror", mirror))},
        })
        return HttpSite(site([], config=config))

    return make


def dropped(site: HttpSite) -> int:
    return site.totals()["mirrors_dropped"]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 1000, 20_000, 60_000])
def test_copies_are_the_same(
    mirrored: Callable[..., HttpSite], origins: Origins, framing: str, size: int
) -> None:
    origin, mirror = origins(), origins()
    site = mirrored(origin.address, mirror.address)
    client = site.client()
    body = random.Random(size).randbytes(size)
    for i in range(3):
        if framing == "length":
            client.send(get(f"/{i}?q", "X-A: b", method="POST", body=body))
        else:
            client.send(get(f"/{i}?q", "X-A: b", "Transfer-Encoding: chunked", method="POST"))
            for at in range(0, size, 7000):
                part = body[at : at + 7000]
                client.send(b"%x\r\n%s\r\n" % (len(part), part))
            client.send(b"0\r\n\r\n")
        assert client.response().body.endswith(body)
    wait_until(lambda: len(mirror.requests) == 3)
    copies = sorted(mirror.requests, key=lambda request: request.line)    # (on connections apart)
    for one, other in zip(origin.requests, copies, strict=True):
        assert (one.line, one.fields, one.body) == (other.line, other.fields, other.body)
    wait_until(lambda: site.totals()["mirrored"] == 3)
    assert dropped(site) == 0


def test_what_a_mirror_answers_is_for_nobody(
    mirrored: Callable[..., HttpSite], origins: Origins
) -> None:
    replies = [answer(b"evil", "500 Oh"), b"garbage\r\n\r\n", b"", answer(b"e" * 300_000),
               b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
               b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"e")]
    turn = iter(replies * 10)

    def serve(wire: Wire, request: Message) -> bool | None:
        reply = next(turn)
        wire.send(reply)
        return None if reply.startswith(b"HTTP/1.1 500") else False

    origin, mirror = origins(), origins(serve)
    site = mirrored(origin.address, mirror.address)
    client = site.client()
    for i in range(30):
        client.send(get(f"/{i}"))
        assert client.response().body == b"origin GET /%d HTTP/1.1\n" % i
        wait_until(lambda i=i: len(mirror.requests) > i)  # type: ignore[misc]
    wait_until(lambda: site.site.listener.stats()["requests"] >= 30)
    assert site.site.listener.stats()["requests"] == 30


def test_a_share_is_copied(mirrored: Callable[..., HttpSite], origins: Origins) -> None:
    origin, mirror = origins(), origins()
    site = mirrored(origin.address, mirror.address, "25%")
    client = site.client()
    for _ in range(400):
        client.send(get("/"))
        client.response()
    copies = site.totals()["mirrored"]
    assert 60 <= copies <= 145          # five standard deviations around 100


def test_a_mirror_that_hangs_holds_nobody_up(
    mirrored: Callable[..., HttpSite], origins: Origins
) -> None:
    let_go = threading.Event()

    def serve(wire: Wire, request: Message) -> bool:
        let_go.wait(180)                # as long as a test may take: 300 requests may need long
        return False

    origin, mirror = origins(), origins(serve)
    site = mirrored(origin.address, mirror.address)
    client = site.client()
    for i in range(300):
        client.send(get(f"/{i}"))
        assert client.response().body == b"origin GET /%d HTTP/1.1\n" % i
    totals = site.totals()
    assert totals["mirrored"] + totals["mirrors_dropped"] == 300
    assert totals["mirrored"] <= 64 * 2 and totals["mirrors_dropped"] > 0
    let_go.set()


@pytest.mark.plain          # (so much in Python's TLS takes long)
def test_a_mirror_that_does_not_read_is_left_behind(
    mirrored: Callable[..., HttpSite], origins: Origins
) -> None:
    let_go = threading.Event()

    def stuck(wire: Wire) -> Message:
        wire.head()
        let_go.wait(DEADLINE_S)
        raise EOFError

    origin, mirror = origins(), origins()
    site = mirrored(origin.address, mirror.address)
    read, Wire.request = Wire.request, (  # type: ignore[method-assign]
        lambda wire: stuck(wire) if wire in mirror.wires else read(wire))
    try:
        body = bytes(20_000_000)        # more than all socket buffers between
        client = site.client()
        client.send(get("/", method="POST", body=body))
        assert client.response().body.endswith(body)
        wait_until(lambda: dropped(site) == 1)
    finally:
        let_go.set()
        Wire.request = read  # type: ignore[method-assign]


def test_a_large_body_is_copied_as_far_as_the_mirror_keeps_up(
    mirrored: Callable[..., HttpSite], origins: Origins
) -> None:
    origin, mirror = origins(), origins()
    site = mirrored(origin.address, mirror.address)
    body = random.Random(1).randbytes(3_000_000)
    client = site.client()
    client.send(get("/", method="POST", body=body))
    assert client.response().body.endswith(body)
    site.wait_for_idle(site.idle())
    wait_until(lambda: dropped(site) == 1 or len(mirror.requests) == 1)
    assert all(request.body == body for request in mirror.requests)


def test_a_request_that_is_given_up_is_not_finished_in_the_mirror(
    mirrored: Callable[..., HttpSite], origins: Origins
) -> None:
    origin, mirror = origins(), origins()
    site = mirrored(origin.address, mirror.address)
    client = site.client()
    client.send(get("/", "Content-Length: 100000", method="POST") + b"x" * 50_000)
    wait_until(lambda: bool(mirror.wires))
    client.close()
    wait_until(lambda: dropped(site) == 1)
    assert not mirror.requests and not origin.requests


def test_a_body_over_the_limit_is_not_finished_in_the_mirror(
    mirrored: Callable[..., HttpSite], origins: Origins
) -> None:
    """The read that crosses the limit has the end of the body, too."""
    origin, mirror = origins(), origins()
    site = mirrored(origin.address, mirror.address, max_body_size="8KiB")
    client = site.client()
    part = b"1388\r\n" + b"x" * 5_000 + b"\r\n"
    client.send(get("/", "Transfer-Encoding: chunked", method="POST") + part)
    wait_until(lambda: bool(mirror.wires))
    client.send(part + b"0\r\n\r\n")
    assert client.response().status == 413
    client.close()
    wait_until(lambda: dropped(site) == 1)
    assert not mirror.requests and not origin.requests


@pytest.mark.plain
def test_a_copy_without_its_last_part_is_dropped(
    site: Callable[..., Site], origins: Origins
) -> None:
    """While its server is connected to, a copy keeps 64 KiB."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):                  # the port takes no more connections, and refuses none
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(full.getsockname())
    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", "routes": [
            {"name": "r", "pool": "pool", "mirror": "mirror"}]}},
        "pools": {
            "pool": {"servers": [origins().address]},
            "mirror": {"servers": [f"127.0.0.1:{full.getsockname()[1]}"],
                       "connect_timeout": "30s"},
        },
    })
    web = HttpSite(site([], config=config))
    body = bytes(65_536 + 17_000)       # (what comes with the head goes with it)
    assert web.ask(get("/", method="POST", body=body)).body.endswith(body)
    wait_until(lambda: dropped(web) == 1)
    web.wait_idle()
    for one in (full, *waiting):
        one.close()


def test_a_mirror_that_is_down_is_nothing_to_others(
    mirrored: Callable[..., HttpSite], origins: Origins
) -> None:
    origin = origins()
    site = mirrored(origin.address, "127.0.0.1:1")
    for i in range(20):
        assert site.ask(get(f"/{i}")).status == 200


def test_a_stop_does_not_wait_for_mirrors(
    mirrored: Callable[..., HttpSite], origins: Origins
) -> None:
    let_go = threading.Event()
    mirror = origins(lambda wire, request: let_go.wait(DEADLINE_S) and False)
    site = mirrored(origins().address, mirror.address)
    assert site.ask(get("/")).status == 200
    wait_until(lambda: len(mirror.requests) == 1)
    site.site.balancer.stop(timeout=1000).wait(DEADLINE_S)
    let_go.set()


@pytest.mark.parametrize(("route", "problem"), [
    ({"mirror": "none", "pool": "p"}, "there is no pool 'none'"),
    ({"mirror": "p", "respond": {"status": 200}}, "this route has none"),
    ({"mirror": {"pool": "p", "share": "200%"}, "pool": "p"}, "is not a share"),
])
def test_what_is_wrong_with_a_mirror_is_said(route: dict[str, Any], problem: str) -> None:
    with pytest.raises(fastlb.ConfigError, match=problem):
        fastlb.Config.build({
            "listeners": {"l": {"bind": "http://127.0.0.1:0", "routes": [{"name": "r", **route}]}},
            "pools": {"p": {"servers": ["127.0.0.1:1"]}},
        })
