"""How many connections and sessions one source may begin in a time."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb.testing import TestBalancer
from tests.flow.conftest import DEADLINE_S, Origin, Site, wait_until
from tests.flow.http.conftest import origins
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get
from tests.flow.proxied.headers import begin
from tests.flow.test_tarpit import connect, held, is_closed, is_silent, metrics_of

__all__ = ["origins"]
pytestmark = pytest.mark.plain

Make = Callable[..., Site]
HERE = "127.0.0.1"


def serve(wire: Wire, request: Message) -> None:
    wire.send(answer(b"ok"))


def is_served(made: Site, source: str = HERE) -> bool:
    with connect(made, source) as client:
        wire = Wire(client)
        try:
            wire.send(get("/"))
            return wire.response().status == 200
        except (OSError, EOFError):
            return False


@pytest.mark.modes("inline", "threads")
def test_source_begins_so_many_connections_and_no_more(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = site([origins(serve).address], bind="http://127.0.0.1:0",
                max_connection_rate_per_source="3/h")
    assert [is_served(made) for _ in range(5)] == [True, True, True, False, False]
    assert is_served(made, "127.0.0.2")
    assert made.totals()["ended_source_rate"] == 2
    made.advance("20m")
    assert [is_served(made) for _ in range(2)] == [True, False]
    made.advance("1h")
    assert [is_served(made) for _ in range(4)] == [True, True, True, False]


def test_burst_is_how_many_may_begin_at_once(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = site([origins(serve).address], bind="http://127.0.0.1:0",
                max_connection_rate_per_source={"limit": "60/h", "burst": 2})
    assert [is_served(made) for _ in range(3)] == [True, True, False]
    made.advance("1m")
    assert [is_served(made) for _ in range(2)] == [True, False]


def test_connection_that_goes_on_is_not_counted_again(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = site([origins(serve).address], bind="http://127.0.0.1:0",
                max_connection_rate_per_source="1/h")
    wire = Wire(connect(made, HERE))
    for _ in range(5):
        wire.send(get("/"))
        assert wire.response().status == 200


def test_sources_are_those_that_a_proxy_tells_of(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_connection_rate_per_source="1/h",
                proxy_protocol={"trusted": [HERE]})
    begin(made, b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n")
    origin.accept()
    assert is_closed(begin(made, b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"))
    begin(made, b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n")
    origin.accept()
    assert is_closed(begin(made, b"PROXY TCP6 2001:db8::ffff:1 ::1 1 2\r\n"))     # its /64
    begin(made, b"PROXY TCP6 2001:db8:0:1::1 ::1 1 2\r\n")
    origin.accept()


def test_clients_of_unix_sockets_are_not_counted(
    site: Make, origin: Origin, tmp_path: Path
) -> None:
    made = site([origin.address], bind=f"tcp://unix:{tmp_path}/s",
                max_connection_rate_per_source="1/h")
    for _ in range(3):
        made.connect().sendall(b"x")
        assert origin.accept().recv(1) == b"x"


def test_too_many_are_closed_before_tls(site: Make, origin: Origin, pair: tuple[str, str]) -> None:
    cert, key = pair
    made = site([origin.address], bind="tls://127.0.0.1:0", max_connection_rate_per_source="1/h",
                tls={"certificates": [{"cert": cert, "key": key}]})
    connect(made, HERE)
    wait_until(lambda: made.counts()["exchanges"] == 1)
    assert is_closed(connect(made, HERE))
    assert made.totals()["handshakes"] == 0


def test_refused_client_is_held_by_a_tarpit(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_connection_rate_per_source="1/h", tarpit="30s")
    connect(made, HERE)
    origin.accept()
    client = connect(made, HERE)
    wait_until(lambda: held(made) == 1)
    assert is_silent(client)


def test_report_serves_and_counts(site: Make, origins: Callable[..., HttpOrigin]) -> None:
    made = site([origins(serve).address], bind="http://127.0.0.1:0",
                max_connection_rate_per_source={"limit": "1/h", "report": True})
    assert [is_served(made) for _ in range(3)] == [True] * 3
    metrics = metrics_of(made)
    assert 'fastlb_source_rate_total{listener="listener",outcome="reported"} 2\n' in metrics
    assert ('fastlb_rate_limit_requests_total{limit="listener:connections",outcome="reported"} 2\n'
            in metrics)


def test_refusals_are_logged_once_a_minute(
    site: Make, origins: Callable[..., HttpOrigin], caplog: pytest.LogCaptureFixture
) -> None:
    made = site([origins(serve).address], bind="http://127.0.0.1:0",
                max_connection_rate_per_source="1/d")

    def lines() -> list[str]:
        return [one.getMessage() for one in caplog.records if "beyond the rate" in one.message]

    with caplog.at_level(logging.WARNING, "fastlb"):
        assert [is_served(made) for _ in range(20)] == [True] + [False] * 19
        wait_until(lambda: len(lines()) == 1)
        assert lines()[0].startswith("listener listener: connections or sessions: ")
        assert lines()[0].endswith("refused beyond the rate of their source; the last one of"
                                   " 127.0.0.1")
        assert not is_served(made)      # (the first line may be about all others)
        assert len(lines()) == 1
        made.advance("1m")
        wait_until(lambda: len(lines()) == 2)
        said = [int(one.split(": ")[2].split()[0]) for one in lines()]
        assert sum(said) == 20


def test_explain_says_what_is_left_and_takes_nothing(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = site([origins(serve).address], bind="http://127.0.0.1:0",
                max_connection_rate_per_source={"limit": "1/h", "burst": 2})

    def told() -> Any:
        return made.balancer.explain("GET", made.listener.url, client="127.0.0.1:1")

    for _ in range(3):
        assert told().notes[-1] == \
            "connections of 127.0.0.1 at listener listener: 2 of 2 left"
    assert is_served(made)
    assert "1 of 2 left, full again in " in told().notes[-1]
    assert is_served(made)
    refused = told().answer
    assert refused is not None and refused.reason == "source_rate"
    assert refused.rule.startswith("connections of 127.0.0.1 at listener listener: 0 of 2 left")
    assert refused.rule.endswith(", so that it is refused")


def test_reload_forgets_nothing(site: Make, origins: Callable[..., HttpOrigin]) -> None:
    config: dict[str, Any] = {
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "p",
                              "max_connection_rate_per_source": "2/h"}},
        "pools": {"p": {"servers": [origins(serve).address]}},
    }
    made = site([], config=fastlb.Config.build(config))
    assert [is_served(made) for _ in range(3)] == [True, True, False]
    asyncio.run(made.balancer.reload(fastlb.Config.build(config)))
    assert not is_served(made)
    config["listeners"]["web"]["max_connection_rate_per_source"] = "3/h"
    asyncio.run(made.balancer.reload(fastlb.Config.build(config)))
    assert [is_served(made) for _ in range(2)] == [True, False]


def test_counts_are_exact_over_threads(site: Make, origins: Callable[..., HttpOrigin]) -> None:
    made = site([origins(serve).address], bind="http://127.0.0.1:0", threads=2,
                max_connection_rate_per_source="100/d")
    served = [0] * 8

    def run(number: int) -> None:
        for _ in range(25):
            served[number] += is_served(made)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(served) == 100
    assert made.totals()["ended_source_rate"] == 100


@pytest.mark.parametrize("threads", [0, 2])
def test_sessions_of_udp_are_counted_when_they_begin(threads: int) -> None:
    with TestBalancer(threads=threads) as balancer:
        origin = balancer.udp_origin()
        made = balancer.listen("udp://127.0.0.1:0", pool=balancer.pool(servers=[origin]),
                               max_session_rate_per_source="2/h")
        where = ("127.0.0.1", int(made.url.rpartition(":")[2]))

        def ask(client: socket.socket, source: str = HERE) -> None:
            client.bind((source, 0))
            client.settimeout(DEADLINE_S)
            client.sendto(source.encode(), where)

        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
        runtime = balancer.balancer._instance.running()
        for client in clients[:2]:
            ask(client)
            assert client.recv(100) == HERE.encode()
        ask(clients[2])
        wait_until(lambda: sum(one.totals()["dropped_source_rate"]
                               for one in runtime.engines.all) == 1)
        clients[0].sendto(b"again", where)          # (a session that goes on)
        assert clients[0].recv(100) == b"again"
        ask(clients[3], "127.0.0.2")
        assert clients[3].recv(100) == b"127.0.0.2"
        for client in clients:
            client.close()
