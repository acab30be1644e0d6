"""Servers that can't be connected to: the client never notices while another one is there."""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, Dress, Origin, Site, read_exactly, wait_until
from tests.ports import nobody

pytestmark = pytest.mark.modes("tls-servers")

Make = Callable[..., Site]


@pytest.fixture
def refusing() -> str:
    return nobody()


def test_a_refused_connect_goes_on_to_another_server(
    site: Make, origin: Origin, refusing: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    made = site([refusing, origin.address])
    for _ in range(6):
        client, server = made.pair(origin)
        client.sendall(b"hello")
        assert read_exactly(server, 5) == b"hello"
        client.close()
        server.close()
    wait_until(lambda: "can't be connected to" in caplog.text)
    said = [r.getMessage() for r in caplog.records if "can't be connected to" in r.getMessage()]
    assert said == [
        f"pool pool: server {refusing} can't be connected to (connection refused)"
    ]


def test_a_connect_that_hangs_goes_on_to_another_server(
    site: Make, origin: Origin, hanging: str, dress: Dress
) -> None:
    made = site([hanging, origin.address], pool={"connect_timeout": "10m"})
    for _ in range(2):
        before = made.totals()["handshakes"]
        client = made.connect()
        wait_until(lambda n=before: made.totals()["handshakes"]     # type: ignore[misc]
                   >= n + dress.clients)
        # (Less than connect_timeout: a connect to the origin that has begun outlasts it, and is
        # here when we look again.)
        while not select.select([origin.listener], [], [], 0.05)[0]:
            made.advance("6m")
        server = origin.accept()
        client.sendall(b"hello")
        assert read_exactly(server, 5) == b"hello"
    assert made.totals()["connect_failures"] >= 1
    origin.close()


def test_a_failing_server_is_left_out_for_a_while(
    site: Make, origin: Origin, refusing: str
) -> None:
    made = site([refusing, origin.address])
    begin = time.monotonic()
    for _ in range(20):
        client, server = made.pair(origin)
        client.close()
        server.close()
    # At most one try a second of each engine, and its first.
    assert 1 <= made.totals()["connect_failures"] <= 2 * (2 + time.monotonic() - begin)


def test_a_server_that_comes_back_is_used_again(
    site: Make, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    late = Origin()
    where = late.listener.getsockname()
    late.close()
    made = site([f"{where[0]}:{where[1]}", origin.address])
    for _ in range(2):
        made.pair(origin)
    late = Origin(socket.AF_INET, where)
    late.listener.setblocking(False)
    deadline = time.monotonic() + DEADLINE_S
    while True:
        made.connect()
        try:
            late.accept()
            break
        except BlockingIOError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    wait_until(lambda: "accepts connections again" in caplog.text)
    late.close()
    origin.close()


def test_the_client_is_closed_at_once_when_all_servers_are_down(
    site: Make, refusing: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    made = site([refusing])
    for _ in range(50):
        assert made.connect().recv(1) == b""
    wait_until(lambda: "no server can be connected to" in caplog.text)
    wait_until(lambda: made.listener.stats()["refused"] == 50)
    wait_until(lambda: sorted(r.getMessage() for r in caplog.records
                              if r.name == "fastlb.health") == [
        "pool pool: no server can be connected to",
        f"pool pool: server {refusing} can't be connected to (connection refused)",
    ])


def test_a_pool_that_is_empty_closes_its_clients(site: Make) -> None:
    made = site([])
    assert made.connect().recv(1) == b""


def test_a_server_that_resets_right_away_counts_as_a_reset(site: Make, origin: Origin) -> None:
    made = site([origin.address])
    origin.close()
    assert made.connect().recv(1) == b""


def test_a_server_that_accepts_and_never_answers_only_holds_its_own_client(
    site: Make, origin: Origin
) -> None:
    made = site([origin.address])
    stuck, _ = made.pair(origin)
    stuck.sendall(b"anyone?")
    client, server = made.pair(origin)
    client.sendall(b"hello")
    assert read_exactly(server, 5) == b"hello"
    origin.close()
