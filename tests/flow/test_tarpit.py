"""Denied connections that are held: for how long, how many, and what ends them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb.observe.metrics import Metrics
from tests.flow.conftest import DEADLINE_S, Origin, Site, reset, wait_until
from tests.flow.proxied.headers import begin

pytestmark = pytest.mark.plain

Make = Callable[..., Site]
OTHER = "127.0.0.2"             # a client that is denied; others come from 127.0.0.1


def connect(made: Site, source: str = OTHER) -> socket.socket:
    host, _, port = made.listener.url.partition("://")[2].rpartition(":")
    client = socket.create_connection((host, int(port)), DEADLINE_S, (source, 0))
    made.clients.append(client)
    return client


def held(made: Site) -> int:
    runtime = made.balancer._instance.running()
    return sum(one.held for one in runtime.live.listeners())


def totals(made: Site) -> dict[str, int]:
    """What the first listener has counted."""
    runtime = made.balancer._instance.running()
    return next(iter(runtime.live.listeners())).totals()


def metrics_of(made: Site) -> str:
    return Metrics(made.balancer._instance.running()).render().decode()


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def is_silent(client: socket.socket) -> bool:
    """Whether nothing has come, and the connection is open."""
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    finally:
        client.settimeout(DEADLINE_S)
    return False


@pytest.mark.modes("poll", "inline", "threads")
@pytest.mark.parametrize("scheme", ["tcp", "http"])
def test_denied_client_is_held_and_closed_when_its_time_is_over(
    site: Make, origin: Origin, scheme: str
) -> None:
    made = site([origin.address], bind=f"{scheme}://127.0.0.1:0", deny=OTHER, tarpit="30s")
    client = connect(made)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: held(made) == 1)
    made.advance("29s")
    assert held(made) == 1 and is_silent(client)
    made.advance("2s")
    assert is_closed(client)
    wait_until(lambda: held(made) == 0)
    assert made.totals()["ended_denied"] == 1
    assert totals(made)["held"] == 1


def test_held_client_has_no_place_among_the_connections(site: Make, origin: Origin) -> None:
    made = site([origin.address], deny=OTHER, tarpit="30s", max_connections=1)
    attackers = [connect(made) for _ in range(5)]
    wait_until(lambda: held(made) == 5)
    client = connect(made, "127.0.0.1")
    client.sendall(b"hello")
    assert origin.accept().recv(10) == b"hello"
    assert all(map(is_silent, attackers))


def test_so_many_are_held_and_no_more(site: Make, origin: Origin) -> None:
    made = site([origin.address], deny=OTHER,
                tarpit={"timeout": "30s", "max_connections": 2})
    first, second = connect(made), connect(made)
    wait_until(lambda: held(made) == 2)
    assert is_closed(connect(made))
    assert (totals(made)["held"], totals(made)["not_held"]) == (2, 1)
    first.close()                       # (the place of one that leaves is free)
    wait_until(lambda: held(made) == 1)
    third = connect(made)
    wait_until(lambda: held(made) == 2)
    assert is_silent(second) and is_silent(third)


def test_place_is_free_after_a_reset(site: Make, origin: Origin) -> None:
    made = site([origin.address], deny=OTHER, tarpit="30s")
    client = connect(made)
    wait_until(lambda: held(made) == 1)
    reset(client)
    wait_until(lambda: held(made) == 0)


def test_no_more_than_a_few_bytes_of_a_held_client_are_kept(site: Make, origin: Origin) -> None:
    made = site([origin.address], deny=OTHER, tarpit="30s")
    client = connect(made)
    wait_until(lambda: held(made) == 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while sent < 1 << 20:
            sent += client.send(bytes(4096))
    assert sent < 256 << 10
    assert held(made) == 1
    reset(client)                       # (its end would wait behind what it has sent)


def test_reload_releases_those_that_are_held(site: Make, origin: Origin) -> None:
    config: dict[str, Any] = {
        "listeners": {"web": {"bind": "tcp://127.0.0.1:0", "pool": "p", "deny": OTHER,
                              "tarpit": "30s"}},
        "pools": {"p": {"servers": [origin.address]}},
    }
    made = site([], config=fastlb.Config.build(config))
    client = connect(made)
    wait_until(lambda: held(made) == 1)
    asyncio.run(made.balancer.reload(fastlb.Config.build(config)))
    assert is_closed(client)
    wait_until(lambda: held(made) == 0)


def test_stop_waits_for_nobody_that_is_held(site: Make, origin: Origin) -> None:
    made = site([origin.address], deny=OTHER, tarpit="1h")
    client = connect(made)
    wait_until(lambda: held(made) == 1)
    stopped = threading.Thread(target=lambda: made.balancer.stop().wait())
    stopped.start()
    assert is_closed(client)
    stopped.join(DEADLINE_S)
    assert not stopped.is_alive()


def test_client_that_a_proxy_tells_of_is_held(site: Make, origin: Origin) -> None:
    made = site([origin.address], deny="192.0.2.0/24", tarpit="30s",
                proxy_protocol={"trusted": ["127.0.0.1"]})
    client = begin(made, b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\nhello")
    wait_until(lambda: held(made) == 1)
    assert is_silent(client)
    made.advance("30s")
    assert is_closed(client)


def test_client_is_held_before_tls(site: Make, origin: Origin, pair: tuple[str, str]) -> None:
    cert, key = pair
    made = site([origin.address], bind="tls://127.0.0.1:0", deny=OTHER, tarpit="30s",
                tls={"certificates": [{"cert": cert, "key": key}]})
    connect(made)
    wait_until(lambda: held(made) == 1)
    assert made.totals()["handshakes"] == made.totals()["handshakes_failed"] == 0


def test_connection_that_is_handed_over_is_held_by_the_other_listener(
    site: Make, origin: Origin
) -> None:
    config = fastlb.Config.build({
        "listeners": {
            "edge": {"bind": "tcp://127.0.0.1:0", "pool": "p", "routes": [
                {"name": "web", "match": {"protocol": "http/1.1"}, "listener": "web"}]},
            "web": {"bind": "http://127.0.0.1:0", "pool": "p", "deny": OTHER, "tarpit": "30s"},
        },
        "pools": {"p": {"servers": [origin.address]}},
    })
    made = site([], config=config)
    client = connect(made)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: held(made) == 1)
    runtime = made.balancer._instance.running()
    assert {one.name: (one.held, one.in_flight) for one in runtime.live.listeners()} == {
        "edge": (0, 0), "web": (1, 0)}
    made.advance("30s")
    assert is_closed(client)


def test_report_holds_nobody_and_counts(site: Make, origin: Origin) -> None:
    made = site([origin.address], deny=OTHER, tarpit={"report": True})
    assert is_closed(connect(made))
    assert held(made) == 0
    assert totals(made)["held_reported"] == 1


def test_source_that_is_full_is_closed_at_once(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_connections_per_source=1, tarpit="30s")
    connect(made)
    origin.accept()
    assert is_closed(connect(made))
    assert held(made) == 0


def test_metrics_and_explain_tell_of_it(site: Make, origin: Origin, tmp_path: Path) -> None:
    made = site([origin.address], bind="http://127.0.0.1:0", deny=OTHER, tarpit="30s")
    connect(made)
    wait_until(lambda: held(made) == 1)
    metrics = metrics_of(made)
    assert 'fastlb_tarpit_connections_active{listener="listener"} 1\n' in metrics
    assert 'fastlb_tarpit_connections_total{listener="listener",outcome="held"} 1\n' in metrics
    told = made.balancer.explain("GET", made.listener.url, client=f"{OTHER}:1")
    assert told.answer is not None
    assert told.answer.rule == (
        f"{OTHER} is in {OTHER}, which listener listener denies, and is held for 30s at most")
