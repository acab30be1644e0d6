"""Sessions over reloads, and over the end of their listener or of all."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import fastlb
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.udp.conftest import Make, Serve, Site
from tests.ports import free_port


def reload(made: Site, **changes: Any) -> None:
    """With other values of the listener, or other pools."""
    raw = made.balancer.config.model_dump(exclude_unset=True)
    raw["listeners"]["l"].update(changes.pop("listener", {}))
    for name, value in changes.items():
        raw[name] = value
    loop = made.balancer._instance.running().loop
    assert loop is not None
    config = fastlb.Config.build(raw)
    asyncio.run_coroutine_threadsafe(made.balancer.reload(config), loop).result(DEADLINE_S)


def test_sessions_survive_a_reload(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address])
    clients = [made.client() for _ in range(5)]
    for client in clients:
        made.ask(b"x", client)
    for n in range(5):
        reload(made, listener={"max_sessions": 100 + n})
        for client in clients:
            assert made.ask(b"%d" % n, client) == b"%d" % n
    assert len(server.peers) == 5 and made.sessions == 5
    for client in clients:
        client.close()


def test_nothing_is_lost_while_reloading(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address])
    client = made.client()
    end = threading.Event()
    asked = 0

    def ask() -> None:
        nonlocal asked
        while not end.is_set():
            assert made.ask(b"%d" % asked, client) == b"%d" % asked
            asked += 1

    thread = threading.Thread(target=ask)
    thread.start()
    for n in range(20):
        before = asked
        reload(made, listener={"max_sessions": 50 + n})
        wait_until(lambda m=before: asked > m)      # type: ignore[misc]
    end.set()
    thread.join(DEADLINE_S)
    assert len(server.heard) == asked and not made.dropped()
    assert len(server.peers) == 1
    client.close()


def test_a_session_goes_by_the_latest_pool_when_it_moves(site: Make, serve: Serve) -> None:
    a, b = serve(lambda data: b"a"), serve(lambda data: b"b")
    made = site([a.address])
    client = made.client()
    assert made.ask(b"x", client) == b"a"
    reload(made, pools={"p": {"servers": [a.address, b.address]}})
    a.close()
    client.settimeout(0.3)
    for _ in range(100):            # (for as long as DEADLINE_S in all)
        client.send(b"x")
        try:
            assert client.recv(10) == b"b"
            break
        except TimeoutError:
            continue
    else:
        raise AssertionError("it never moved")
    client.close()


def test_a_listener_that_goes_still_brings_answers(site: Make, serve: Serve) -> None:
    server = serve(None)
    made = site([server.address], idle_timeout="60s")
    client = made.client()
    client.send(b"slow question")
    wait_until(lambda: len(server.heard) == 1)
    raw = made.balancer.config.model_dump(exclude_unset=True)
    raw["listeners"] = {"other": {"bind": "udp://127.0.0.1:0", "pool": "p"}}
    loop = made.balancer._instance.running().loop
    assert loop is not None
    asyncio.run_coroutine_threadsafe(
        made.balancer.reload(fastlb.Config.build(raw)), loop).result(DEADLINE_S)
    server.socket.sendto(b"slow answer", server.heard[0][1])
    assert client.recv(100) == b"slow answer"
    made.wait_idle()                    # a second of silence, and not idle_timeout


def test_a_stop_waits_for_answers_under_way(mode: int, serve: Serve) -> None:
    server = serve(None)
    lb = fastlb.Balancer(threads=mode, shutdown_timeout="10s")
    listener = lb.listen("udp://127.0.0.1:0", pool=lb.pool("p", [server.address]), name="l",
                         idle_timeout="60s")
    made = Site(lb, listener)
    with lb.background():
        client = made.client()
        client.send(b"question")
        wait_until(lambda: len(server.heard) == 1)
        answer = threading.Timer(
            0.3, server.socket.sendto, (b"answer", server.heard[0][1]))
        answer.start()
    assert client.recv(100) == b"answer"
    client.close()


def test_a_port_may_be_of_tcp_and_of_udp(serve: Serve) -> None:
    server = serve()
    port = free_port(socket.SOCK_STREAM, socket.SOCK_DGRAM)
    lb = fastlb.Balancer(threads=1)
    pool = lb.pool("p", [server.address])
    lb.listen(f"tcp://127.0.0.1:{port}", pool=pool, name="t")
    udp = lb.listen(f"udp://127.0.0.1:{port}", pool=pool, name="u", idle_timeout="10m")
    with lb.background():
        made = Site(lb, udp)
        client = made.client()
        assert made.ask(b"x", client) == b"x"
        client.close()
        made.advance("11m")
        made.wait_idle()
