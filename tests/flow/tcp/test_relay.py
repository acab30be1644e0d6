"""Bytes and endings, both ways."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flow.conftest import Origin, Site, read_exactly, read_to_end, reset, wait_until

pytestmark = pytest.mark.modes("poll", "tls", "tls-servers", "tls-both")

Make = Callable[..., Site]


def test_bytes_pass_both_ways(site: Make, origin: Origin) -> None:
    client, server = site([origin.address]).pair(origin)
    client.sendall(b"question")
    assert read_exactly(server, 8) == b"question"
    server.sendall(b"answer")
    assert read_exactly(client, 6) == b"answer"
    origin.close()


def test_the_server_may_speak_first(site: Make, origin: Origin) -> None:
    client, server = site([origin.address]).pair(origin)
    server.sendall(b"220 welcome\r\n")
    assert read_exactly(client, 13) == b"220 welcome\r\n"
    origin.close()


def test_what_was_sent_before_the_connect_is_not_lost(site: Make, origin: Origin) -> None:
    made = site([origin.address])
    client = made.connect()
    client.sendall(b"early")
    client.shutdown(socket.SHUT_WR)
    server = origin.accept()
    assert read_to_end(server) == b"early"
    server.sendall(b"late")
    server.close()
    assert read_to_end(client) == b"late"


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 65536, 1 << 20, 20_000_001])
def test_any_size_arrives_unaltered(site: Make, origin: Origin, size: int) -> None:
    client, server = site([origin.address]).pair(origin)
    up, down = os.urandom(size), os.urandom(size)
    got: dict[str, bytes] = {}

    def serve() -> None:
        sender = threading.Thread(target=lambda: (server.sendall(down), server.shutdown(1)))
        sender.start()
        got["up"] = read_to_end(server)
        sender.join()

    def ask() -> None:
        client.sendall(up)
        client.shutdown(socket.SHUT_WR)

    threads = [threading.Thread(target=serve), threading.Thread(target=ask)]
    for thread in threads:
        thread.start()
    got["down"] = read_to_end(client)
    for thread in threads:
        thread.join()
    assert got["up"] == up
    assert got["down"] == down
    origin.close()


def test_half_close_of_the_client_reaches_the_server(site: Make, origin: Origin) -> None:
    made = site([origin.address])
    client, server = made.pair(origin)
    client.sendall(b"all I have")
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b"all I have"
    assert made.counts()["exchanges"] == 1          # the other direction still stands
    server.sendall(b"and all I have")
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b"and all I have"


def test_half_close_of_the_server_reaches_the_client(site: Make, origin: Origin) -> None:
    made = site([origin.address])
    client, server = made.pair(origin)
    server.sendall(b"bye")
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b"bye"
    assert made.counts()["exchanges"] == 1
    client.sendall(b"wait, one more thing")
    client.close()
    assert read_to_end(server) == b"wait, one more thing"


def test_half_close_without_a_byte(site: Make, origin: Origin) -> None:
    client, server = site([origin.address]).pair(origin)
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    server.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""


def test_reset_by_the_client_reaches_the_server(site: Make, origin: Origin) -> None:
    made = site([origin.address])
    client, server = made.pair(origin)
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    reset(client)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    wait_until(lambda: made.totals()["ended_client_reset"] == 1)


def test_reset_by_the_server_reaches_the_client(site: Make, origin: Origin) -> None:
    made = site([origin.address])
    client, server = made.pair(origin)
    server.sendall(b"x")
    assert client.recv(1) == b"x"
    reset(server)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_until(lambda: made.totals()["ended_server_reset"] == 1)


def test_reset_after_a_half_close_is_carried(site: Make, origin: Origin) -> None:
    client, server = site([origin.address]).pair(origin)
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    reset(server)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_what_came_before_a_reset_is_delivered(site: Make, origin: Origin) -> None:
    client, server = site([origin.address]).pair(origin)
    server.sendall(b"the answer")
    reset(server)
    assert read_exactly(client, 10) == b"the answer"


def fill(made: Site, server: socket.socket) -> int:
    """Send until everything between here and a client that doesn't read is full."""
    server.setblocking(False)
    sent = 0

    def blocked() -> bool:
        nonlocal sent
        try:
            while True:
                sent += server.send(bytes(1 << 16))
        except BlockingIOError:
            return made.counts()["chunks"] + made.counts()["pipes"] == 1

    wait_until(blocked)
    return sent


def test_a_reset_is_not_held_up_by_a_reader_that_stopped(site: Make, origin: Origin) -> None:
    made = site([origin.address])
    client, server = made.pair(origin)
    fill(made, server)
    reset(server)
    with pytest.raises(ConnectionResetError):
        read_to_end(client)


def test_a_slow_reader_costs_one_buffer_and_stops_the_sender(site: Make, origin: Origin) -> None:
    made = site([origin.address])
    client = made.connect(SO_RCVBUF=4096)
    server = origin.accept()
    sent = fill(made, server)
    server.setblocking(True)
    finisher = threading.Thread(target=lambda: (server.sendall(b"end"), server.close()))
    finisher.start()
    got = read_to_end(client)
    finisher.join()
    assert len(got) == sent + 3
    assert got.endswith(b"\0end")


@pytest.mark.plain
def test_urgent_data_stays_in_line_and_loses_nothing(site: Make, origin: Origin) -> None:
    client, server = site([origin.address]).pair(origin)
    client.sendall(b"ab")
    client.send(b"c", socket.MSG_OOB)
    client.sendall(b"de")
    assert read_exactly(server, 5) == b"abcde"
    server.sendall(b"1")
    assert read_exactly(client, 1) == b"1"
    server.send(b"2", socket.MSG_OOB)
    server.sendall(b"3")
    server.close()
    assert read_to_end(client)[-1:] == b"3"


@pytest.mark.plain
def test_ipv6_on_both_sides(site: Make) -> None:
    origin = Origin(socket.AF_INET6)
    made = site([origin.address], bind="tcp://[::1]:0")
    assert made.listener.url.startswith("tcp://[::1]:")
    client, server = made.pair(origin)
    client.sendall(b"six")
    assert read_exactly(server, 3) == b"six"
    origin.close()


def test_unix_sockets_on_both_sides(site: Make, tmp_path: Path) -> None:
    origin = Origin(socket.AF_UNIX, str(tmp_path / "origin.sock"))
    made = site([origin.address], bind=f"tcp://unix:{tmp_path}/listen.sock", mode="0600")
    assert (tmp_path / "listen.sock").stat().st_mode & 0o777 == 0o600
    client, server = made.pair(origin)
    data = os.urandom(300_000)
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    assert read_exactly(server, len(data)) == data
    sender.join()
    server.sendall(b"x")
    server.close()
    assert read_to_end(client) == b"x"


@pytest.mark.plain
def test_a_passed_descriptor_does_not_stall_a_unix_relay(site: Make, tmp_path: Path) -> None:
    # Reads stop where a descriptor was passed; it can't be passed on, and the bytes must be.
    origin = Origin(socket.AF_UNIX, str(tmp_path / "origin.sock"))
    made = site([origin.address], bind=f"tcp://unix:{tmp_path}/listen.sock")
    client, server = made.pair(origin)
    with open(os.devnull) as file:
        socket.send_fds(client, [b"one"], [file.fileno()])
    client.sendall(b"two")
    assert read_exactly(server, 6) == b"onetwo"
    origin.close()


def test_nodelay_and_keepalive_are_set_on_both_sides(site: Make, origin: Origin) -> None:
    keepalive = {"idle": "3600s", "interval": "10s", "count": 3}
    made = site([origin.address], keepalive=keepalive, pool={"keepalive": keepalive})
    client, server = made.pair(origin)
    for byte in (b"1", b"2"):           # the server's side is tuned with its second write
        client.sendall(byte)
        assert server.recv(1) == byte
    for port in (made.listener.port, server.getpeername()[1]):
        # (While an ACK is still to come, another timer is shown.)
        wait_until(lambda p=port: bool(re.search(       # type: ignore[misc]
            r"timer:\(keepalive,(60|5\d)min", timers(p))), lambda p=port: timers(p))


def timers(port: int) -> str:
    """What ss(8) shows of the connections of a local port."""
    return os.popen(f"ss -Htno state established '( sport = :{port} )'").read()
