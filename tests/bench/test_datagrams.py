"""The benchmarks' datagrams: what is lost is counted, and what is wrong is no figure."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import environment
from bench.load import DatagramLoad, DatagramOrigin, Told, errors_of
from bench.model import LOAD_CPU, Datagrams
from bench.process import PROBE

DEADLINE_S = 30.0
HEAD = struct.Struct("=4I3Q")
MAGIC = 0x64677261
PATTERN = bytes(i % 251 for i in range(4000))
WANTED = 50

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or LOAD_CPU not in os.sched_getaffinity(0),
    reason="the generator is C, and has a CPU of its own",
)
Client = tuple[str, int]
Answers = Callable[[bytes, Client], list[tuple[bytes, Client]]]


def datagram(
    flow: int, number: int, run: int = 7, size: int = 100, wants_answer: int = 0
) -> bytes:
    body = (flow * 31 + number) % 251
    head = HEAD.pack(MAGIC, wants_answer, flow, size, run, number, time.monotonic_ns())
    return head + PATTERN[body : body + size - len(head)]


@contextmanager
def server(answers: Answers) -> Iterator[int]:
    """Its port."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, client = sock.recvfrom(4000)
                if client == sock.getsockname():
                    return
                for answer, to in answers(data, client):
                    sock.sendto(answer, to)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            sock.sendto(b"", sock.getsockname())
            thread.join(DEADLINE_S)


def watch(told: Told, done: Callable[[dict[str, float]], object]) -> dict[str, float]:
    """The first window of which that is true."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = told.window()
        if done(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.005)       # (a program tells of itself when it is asked)


def generated(
    tmp_path: Path, answers: Answers, done: Callable[[dict[str, float]], object]
) -> dict[str, float]:
    """What a generator of two flows counts, until that is true."""
    binary = environment.compile_c("datagrams")
    with server(answers) as port, DatagramLoad(
        binary, port, Datagrams(2, 100), tmp_path / "log"
    ) as load:
        return watch(load, done)


def test_answers_as_they_should_be_are_counted(tmp_path: Path) -> None:
    found = generated(tmp_path, lambda data, client: [(data, client)],
                      lambda found: found["requests"] >= WANTED)
    assert errors_of(found) == "" and found["lost"] == found["late"] == 0
    assert 0 <= found["sent"] - found["requests"] <= 2
    assert 0 < found["p50_us"] <= found["p99_us"]


CHANGED: dict[str, Callable[[bytes], list[bytes]]] = {
    "duplicated": lambda data: [data, data],
    "bytes": lambda data: [data[:-1] + bytes([data[-1] ^ 1])],
    "bytes, too few": lambda data: [data[:-1]],
    "bytes, too many": lambda data: [data + b"\0"],
    "bytes, none": lambda _: [b""],
    "misdelivered, of another run": lambda data: [
        HEAD.pack(*HEAD.unpack_from(data)[:4], 1, *HEAD.unpack_from(data)[5:]) + data[HEAD.size:]],
    "misdelivered, of tomorrow": lambda data: [
        datagram(HEAD.unpack_from(data)[2], 2**40, HEAD.unpack_from(data)[4], wants_answer=1)],
}


@pytest.mark.parametrize("change", CHANGED)
def test_an_answer_that_is_not_as_it_should_be_is_an_error(tmp_path: Path, change: str) -> None:
    found = generated(
        tmp_path, lambda data, client: [(one, client) for one in CHANGED[change](data)], errors_of
    )
    assert {kind.split()[1] for kind in errors_of(found).split(", ")} == {change.split(",")[0]}


def test_an_answer_to_another_flow_is_an_error(tmp_path: Path) -> None:
    seen: dict[Client, None] = {}

    def answers(data: bytes, client: Client) -> list[tuple[bytes, Client]]:
        seen[client] = None
        return [(data, one) for one in seen if one != client or len(seen) < 2]

    assert "misdelivered" in errors_of(generated(tmp_path, answers, errors_of))


def test_what_is_not_answered_is_lost_and_no_error(tmp_path: Path) -> None:
    found = generated(
        tmp_path,
        lambda data, client: [(data, client)] if HEAD.unpack_from(data)[5] > 2 else [],
        lambda found: found["requests"] >= WANTED and found["lost"] >= 4,
    )
    assert (found["lost"], found["late"], errors_of(found)) == (4, 0, "")


def test_an_answer_to_what_was_given_up_is_late_and_no_error(tmp_path: Path) -> None:
    first: dict[Client, bytes] = {}

    def answers(data: bytes, client: Client) -> list[tuple[bytes, Client]]:
        if client not in first:
            first[client] = data
            return []
        kept, first[client] = first[client], b""
        return [(one, client) for one in (kept, data) if one]

    found = generated(
        tmp_path, answers, lambda found: found["requests"] >= WANTED and found["late"] >= 2
    )
    assert (found["lost"], found["late"], errors_of(found)) == (2, 2, "")


class Origin:
    """datagram_origin.c with two ports, and a client of it."""

    def __init__(self, told: DatagramOrigin, ports: tuple[int, int]) -> None:
        self.told = told
        self.ports = ports
        self.client = socket.socket(type=socket.SOCK_DGRAM)
        self.client.settimeout(DEADLINE_S)

    def send(self, data: bytes, port: int = 0) -> None:
        self.client.sendto(data, ("127.0.0.1", self.ports[port]))

    def counts(self, received: int) -> tuple[str, float]:
        """Its errors, and what came out of order, once all of that has come."""
        found = watch(self.told, lambda found: found["received"] >= received
                      and (not self.wrong or errors_of(found)))
        return errors_of(found), found["reordered"]

    wrong = False


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    with socket.socket(type=socket.SOCK_DGRAM) as a, socket.socket(type=socket.SOCK_DGRAM) as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        ports = a.getsockname()[1], b.getsockname()[1]
    binary = environment.compile_c("datagram_origin")
    with DatagramOrigin(binary, ports, tmp_path / "log") as told:
        made = Origin(told, ports)
        yield made
        made.client.close()


def test_what_wants_an_answer_gets_it(origin: Origin) -> None:
    for data in (PROBE, datagram(1, 1, wants_answer=1), datagram(3, 9, 5, 1200, 1)):
        for port in (0, 1):
            origin.send(data, port)
            assert origin.client.recvfrom(4000) == (data, ("127.0.0.1", origin.ports[port]))
    assert origin.counts(0) == ("", 0)


def test_flows_are_counted_in_whatever_order(origin: Origin) -> None:
    for number in (1, 2, 5, 4, 3, 70_000, 4_500):
        origin.send(datagram(1, number), 0)
        origin.send(datagram(2, number), 1)
    assert origin.counts(14) == ("", 6)
    origin.told.begin_window()
    origin.send(datagram(1, 1, run=8), 1)
    assert origin.counts(1) == ("", 0)


@pytest.mark.parametrize(("data", "port", "error"), [
    (datagram(1, 1), 0, "1 duplicated"),
    (datagram(1, 2, run=8), 0, "1 strange"),
    (datagram(5000, 2), 0, "1 strange"),
    (datagram(1, 2), 1, "1 moved"),
    (datagram(1, 2)[:-1], 0, "1 bytes"),
    (datagram(1, 2)[:10], 0, "1 bytes"),
    (datagram(1, 2)[:-1] + b"\0", 0, "1 bytes"),
    (datagram(1, 2) + b"x" * 3000, 0, "1 bytes"),
    (b"", 0, "1 bytes"),
], ids=["again", "other run", "other flow", "other port", "cut", "cut to a header", "changed",
        "longer", "empty"])
def test_what_is_not_as_it_should_be_is_an_error(
    origin: Origin, data: bytes, port: int, error: str
) -> None:
    origin.send(datagram(1, 1), 0)
    origin.counts(1)
    origin.send(data, port)
    origin.wrong = True
    assert origin.counts(1)[0] == error


def test_another_source_of_a_flow_is_an_error(origin: Origin) -> None:
    origin.send(datagram(1, 1))
    origin.counts(1)
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.sendto(datagram(1, 2), ("127.0.0.1", origin.ports[0]))
        origin.wrong = True
        assert origin.counts(2)[0] == "1 moved"


def test_a_stream_arrives_as_it_was_sent(origin: Origin, tmp_path: Path) -> None:
    """At its rate and no faster, each datagram once, also after a pause."""
    rate = 5000
    binary = environment.compile_c("datagrams")
    with DatagramLoad(
        binary, origin.ports[0], Datagrams(8, 1200, rate), tmp_path / "load"
    ) as load:
        watch(load, lambda found: found["sent"] >= WANTED)
        load.pause()
        origin.told.begin_window()
        load.begin_window()
        load.go_on()
        watch(load, lambda found: found["sent"] >= 20 * WANTED)
        load.pause()
        sent = load.window()
    assert errors_of(sent) == "" and sent["unsent"] == 0
    assert sent["sent"] <= sent["seconds"] * rate + 1
    assert origin.counts(int(sent["sent"])) == ("", 0)
    found = origin.told.window()
    assert found["received"] == sent["sent"] and 0 < found["p50_us"] <= found["p99_us"]
