"""Servers that come and go, while clients must not notice."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import threading
from typing import Any

import fastlb
from tests import ports
from tests.flow.conftest import DEADLINE_S, Dress, Origin, Site, read_exactly, reset
from tests.flow.secure import TlsSocket, as_server


class Echo:
    """An origin that echoes, and can be taken down and brought back on its address."""

    def __init__(self) -> None:
        self.where = ("127.0.0.1", 0)
        self.up()

    def up(self) -> None:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.where[1]:
            self.listener.bind(self.where)
        else:
            ports.bind(self.listener)       # (one that stays free while it is down)
        self.where = self.listener.getsockname()
        self.listener.listen(4096)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def down(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)        # wakes the accept that waits
        self.listener.close()

    @property
    def address(self) -> str:
        return f"{self.where[0]}:{self.where[1]}"

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        try:
            connection = as_server(connection)
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            pass
        finally:
            connection.close()


def connect(port: int, dress: Dress) -> Any:
    sock = socket.create_connection(("127.0.0.1", port), timeout=3 * DEADLINE_S)
    return contextlib.closing(TlsSocket(sock, dress.context) if dress.context else sock)


def ask(port: int, dress: Dress, payload: bytes) -> bytes:
    with connect(port, dress) as client:
        client.sendall(payload)
        return read_exactly(client, len(payload))


def exchange(port: int, dress: Dress, payload: bytes) -> bytes:
    """Send and read at the same time, so that neither side waits for the other."""
    with connect(port, dress) as client:
        sender = threading.Thread(target=client.sendall, args=(payload,))
        sender.start()
        try:
            return read_exactly(client, len(payload))
        finally:
            sender.join()


def test_flapping_servers_cost_no_client_as_long_as_one_is_up(dress: Dress) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    choose = random.Random(seed)
    servers = [Echo() for _ in range(3)]
    up = [True, True, True]
    balancer = fastlb.Balancer(threads=2)
    pool = balancer.pool("p", [server.address for server in servers], **dress.pool)
    listener = balancer.listen(pool=pool, **dress.listener("tcp://127.0.0.1:0"))
    with balancer.background():
        site = Site(balancer, listener)
        for turn in range(400):
            if turn % 8 == 0:
                victim = choose.randrange(3)
                if up[victim] and sum(up) > 1:
                    servers[victim].down()
                    up[victim] = False
                elif not up[victim]:
                    servers[victim].up()
                    up[victim] = True
            payload = choose.randbytes(choose.randrange(1, 3000))
            assert ask(listener.port, dress, payload) == payload
        site.wait_idle()
    for server, is_up in zip(servers, up, strict=True):
        if is_up:
            server.down()


def test_a_storm_of_resets_leaves_the_neighbours_whole(origin_echo: Echo, dress: Dress) -> None:
    balancer = fastlb.Balancer(threads=2)
    pool = balancer.pool("p", [origin_echo.address], **{"connect_timeout": "20s", **dress.pool})
    listener = balancer.listen(pool=pool, **dress.listener("tcp://127.0.0.1:0"))
    with balancer.background():
        site = Site(balancer, listener)
        ended = threading.Event()

        def storm() -> None:
            for n in itertools.count():     # faster, and the origin is what can't keep up
                if ended.wait(0.005):
                    return
                client = socket.create_connection(("127.0.0.1", listener.port), DEADLINE_S)
                with contextlib.suppress(OSError):      # (what isn't TLS is refused)
                    if dress.context is not None and n % 2:
                        client = TlsSocket(client, dress.context)  # type: ignore[assignment]
                    client.sendall(b"x" * 50_000)
                reset(client)

        threads = [threading.Thread(target=storm) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for size in (1, 1000, 100_000, 1_000_000):
                for _ in range(5):
                    payload = os.urandom(size)
                    assert exchange(listener.port, dress, payload) == payload, site.totals()
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        site.wait_idle()


def test_half_open_clients_hold_nobody_up(origin: Origin, dress: Dress) -> None:
    """Two hundred clients that connect and say nothing, beside one that works."""
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("p", [origin.address], **dress.pool)
    listener = balancer.listen(pool=pool, **dress.listener("tcp://127.0.0.1:0"))
    with balancer.background():
        site = Site(balancer, listener)
        site.context = dress.context
        silent = [site.pair(origin) for _ in range(200)]
        client, server = site.pair(origin)
        for _ in range(100):
            client.sendall(b"ping")
            assert read_exactly(server, 4) == b"ping"
            server.sendall(b"pong")
            assert read_exactly(client, 4) == b"pong"
        for one, other in [*silent, (client, server)]:
            one.close()
            other.close()
        site.wait_idle()
