"""Reloads, drains, stops and forks while TLS is spoken."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import (
    DEADLINE_S,
    Origin,
    Site,
    forks_with_threads,
    read_exactly,
    read_to_end,
    wait_until,
)
from tests.flow.tls.peers import GET, Authority, TlsOrigin, answers, ask, serving, shake

Make = Callable[..., Site]


@pytest.fixture
def origin(authority: Authority) -> Iterator[TlsOrigin]:
    made = TlsOrigin(answers, serving(authority.issue("site.test")))
    yield made
    made.close()


@pytest.fixture
def to_servers(authority: Authority) -> dict[str, Any]:
    return {"tls": {"ca": authority.cert, "server_name": "site.test"}}


def ask_on(client: Any) -> None:
    client.sendall(GET)
    got = b""
    while not got.endswith(b"ok"):
        piece = client.recv(1000)
        assert piece
        got += piece


def test_reloads_under_load_cost_nobody_anything(
    secure_site: Make, authority: Authority, origin: TlsOrigin, to_servers: dict[str, Any]
) -> None:
    """Certificates and what servers are asked for change, while clients come and stay."""
    made = secure_site([origin.address], pool=to_servers, threads=2)
    ended = threading.Event()
    failures: list[str] = []
    done = [0, 0]

    def stay() -> None:
        try:
            with shake(made, authority.trusting()) as client:
                while not ended.is_set():
                    ask_on(client)
                    done[0] += 1
        except (OSError, AssertionError) as error:
            failures.append(f"stays: {error!r}")

    def come() -> None:
        context = authority.trusting()
        session: ssl.SSLSession | None = None
        try:
            while not ended.is_set():
                with shake(made, context, session=session) as client:
                    ask_on(client)
                    session = client.session
                done[1] += 1
        except (OSError, AssertionError) as error:
            failures.append(f"comes: {error!r}")

    threads = [threading.Thread(target=act) for act in (stay, stay, come, come)]
    for thread in threads:
        thread.start()
    raw = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    for turn in range(12):
        raw["listeners"]["listener"]["tls"]["certificates"] = [authority.files("site.test")]
        raw["pools"]["pool"]["tls"] = {**to_servers["tls"], **(
            {"max_version": "1.2"} if turn % 3 == 1 else {})}
        asyncio.run(made.balancer.reload(fastlb.Config.build(raw)))
        before = list(done)
        wait_until(lambda: failures != [] or min(
            a - b for a, b in zip(done, before, strict=True)) > 3)  # noqa: B023
    ended.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_drain_tells_who_waits_and_lets_who_is_busy_end(
    secure_site: Make, authority: Authority
) -> None:
    go = threading.Event()

    def serve(peer: Any) -> None:
        while data := peer.recv(65536):
            if b"/slow" in data:
                go.wait(DEADLINE_S)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin = TlsOrigin(serve)
    made = secure_site([origin.address])
    idle = ask(made, authority.trusting())
    idle.suppress_ragged_eofs = False
    busy = made.connect()
    busy.sendall(GET.replace(b"/ ", b"/slow "))
    wait_until(lambda: made.counts()["requests"] == 1)
    stopping = made.balancer.stop(timeout=DEADLINE_S)
    assert idle.recv(1) == b""          # by an end of TLS, not by a cut
    go.set()
    assert read_to_end(busy).endswith(b"ok")
    stopping.wait(DEADLINE_S)
    origin.close()


def test_who_is_cut_by_a_stop_knows_it(
    secure_site: Make, authority: Authority, origin: TlsOrigin, to_servers: dict[str, Any]
) -> None:
    made = secure_site([origin.address], "tls://127.0.0.1:0", pool=to_servers)
    client = ask(made, authority.trusting())
    client.suppress_ragged_eofs = False
    made.balancer.stop(timeout=0).wait(DEADLINE_S)
    with pytest.raises(OSError, match=r"reset|EOF occurred in violation"):
        client.recv(1)
    wait_until(lambda: len(origin.failures) == 1)


@forks_with_threads
@pytest.mark.parametrize("threads", [0, 1])
def test_a_forked_child_says_nothing_on_our_connections(
    secure_site: Make, authority: Authority, threads: int,
    origin: TlsOrigin, to_servers: dict[str, Any]
) -> None:
    made = secure_site([origin.address], pool=to_servers, threads=threads,
                       request_header_timeout="10m")
    waiting = ask(made, authority.trusting())           # (its server's connection is kept)
    half = shake(made, authority.trusting())
    half.sendall(GET[:10])
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    ask_on(waiting)
    half.sendall(GET[10:])
    got = b""
    while not got.endswith(b"ok"):
        got += half.recv(1000)
    ask(made, authority.trusting()).close()
    assert made.totals()["server_handshakes"] <= 3


def test_a_client_that_reads_slowly_costs_a_bounded_number_of_records(
    secure_site: Make, authority: Authority
) -> None:
    """And gets all of them, whatever comes meanwhile."""
    origin = Origin()
    made = secure_site([origin.address], "tls://127.0.0.1:0", threads=1)
    client = made.connect(SO_RCVBUF=4096)
    server = origin.accept()
    data = os.urandom(1 << 20) * 24
    sender = threading.Thread(target=lambda: (server.sendall(data), server.close()))
    sender.start()
    wait_until(lambda: made.counts()["chunks"] > 0)
    for n in range(20):
        client.sendall(b"%02d" % n)
        assert read_exactly(server, 2) == b"%02d" % n
        assert made.counts()["chunks"] <= 2
        time.sleep(0.002)
    assert read_to_end(client) == data
    sender.join()
    client.close()
    made.wait_idle()
    origin.close()
