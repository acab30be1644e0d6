"""Origins of datagrams do what they are told, and a balancer of udp has them as servers."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fastlb.testing import TestBalancer, UdpOrigin, datagrams
from tests.flow.conftest import wait_until

DEADLINE_S = 30.0
Connect = Callable[[UdpOrigin], socket.socket]


@pytest.fixture
def made() -> Iterator[TestBalancer]:
    with TestBalancer(seed=7) as balancer:
        yield balancer


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A socket that asks an origin directly: what it says comes in its order."""
    with ExitStack() as stack:
        def connected(origin: UdpOrigin) -> socket.socket:
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.settimeout(DEADLINE_S)
            host, port = origin.address.split(":")
            sock.connect((host, int(port)))
            return sock

        yield connected


def ask(sock: socket.socket, data: bytes) -> bytes:
    sock.send(data)
    return sock.recv(1 << 16)


def heard(sock: socket.socket, last: bytes) -> list[bytes]:
    """All that comes, up to the last one."""
    found = []
    while (data := sock.recv(1 << 16)) != last:
        found.append(data)
    return found


def shown(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


def test_it_echoes_and_keeps_what_it_got(made: TestBalancer, connect: Connect) -> None:
    origin = made.udp_origin(name="a")
    one, other = connect(origin), connect(origin)
    for data in (b"hello", b"", b"x" * 65_507):
        assert ask(one, data) == data
    assert ask(other, b"too") == b"too"
    assert [(got.data, got.sender, got.outcome, got.answers) for got in origin.received] == [
        (b"hello", shown(one), "answered", 1), (b"", shown(one), "answered", 1),
        (b"x" * 65_507, shown(one), "answered", 1), (b"too", shown(other), "answered", 1),
    ]
    assert origin.count == 4 and repr(origin) == f"<UdpOrigin a {origin.address}>"


def test_answers_of_all_kinds(made: TestBalancer, connect: Connect) -> None:
    assert ask(connect(made.udp_origin(b"pong")), b"ping") == b"pong"
    assert ask(connect(made.udp_origin(b"")), b"ping") == b""
    answers = {b"one": b"1", b"two": [b"2", b"2 too"], b"none": None, b"empty": []}
    origin = made.udp_origin(lambda data: answers[data])
    sock = connect(origin)
    for data in (b"none", b"two", b"empty", b"one"):
        sock.send(data)
    assert heard(sock, b"1") == [b"2", b"2 too"]
    assert [(got.outcome, got.answers) for got in origin.received] == [
        ("silent", 0), ("answered", 2), ("silent", 0), ("answered", 1),
    ]


def test_answers_that_make_no_sense(connect: Connect) -> None:
    for said in ("text", ["text"], 7, [None]):
        balancer = TestBalancer()
        origin = balancer.udp_origin(lambda data, said=said: said)  # type: ignore[misc]
        connect(origin).send(b"x")
        assert origin.wait(1, DEADLINE_S)[0].outcome == "silent"
        with pytest.raises(TypeError, match="an answer is bytes, a list of them, or None"):
            balancer.stop()
    with TestBalancer() as balancer:
        with pytest.raises(TypeError, match="an answer is bytes or a function of bytes"):
            balancer.udp_origin("text")  # type: ignore[arg-type]


def test_a_function_that_raises_is_reported_at_the_end(connect: Connect) -> None:
    def broken(data: bytes) -> bytes:
        raise ZeroDivisionError("mine")

    balancer = TestBalancer()
    origin, other = balancer.udp_origin(broken), balancer.udp_origin()
    connect(origin).send(b"x")
    assert origin.wait(1, DEADLINE_S)[0].outcome == "silent"
    assert ask(connect(other), b"y") == b"y"            # the others' thread goes on
    with pytest.raises(ZeroDivisionError, match="mine"):
        balancer.stop()


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_that_cannot_be_sent_is_reported(connect: Connect, late: bool) -> None:
    balancer = TestBalancer()
    origin = balancer.udp_origin(b"x" * 65_508)
    origin.fault(delay="1ms" if late else None)
    connect(origin).send(b"x")
    wait_until(lambda: [got.outcome for got in origin.received] == ["silent"])
    with pytest.raises(OSError, match="too long"):
        balancer.stop()


def test_a_delay_function_that_raises_is_reported(connect: Connect) -> None:
    balancer = TestBalancer()
    origin = balancer.udp_origin()
    origin.fault(delay=lambda generator: 1 / 0)
    connect(origin).send(b"x")
    origin.wait(1, DEADLINE_S)
    with pytest.raises(ZeroDivisionError):
        balancer.stop()


def test_delays_take_their_time_and_answers_overtake(
    made: TestBalancer, connect: Connect
) -> None:
    delays = iter([2.0, 0.06])       # (so far apart that a busy machine keeps their order)
    origin = made.udp_origin(lambda data: [b"first", b"second"])
    sock = connect(origin)
    origin.fault(delay=lambda generator: next(delays))
    begin = time.monotonic()
    assert ask(sock, b"x") == b"second" and time.monotonic() - begin >= 0.06
    assert sock.recv(100) == b"first" and time.monotonic() - begin >= 2.0
    assert [(got.outcome, got.answers) for got in origin.received] == [("answered", 2)]


def test_delayed_answers_are_bounded(
    made: TestBalancer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams, "DELAYED_MAX", 2)
    origin = made.udp_origin()
    origin.fault(delay="1h")
    sock = connect(origin)
    for _ in range(3):
        sock.send(b"x")
    assert [got.outcome for got in origin.wait(3, DEADLINE_S)] == ["pending", "pending", "drop"]
    other = made.udp_origin()
    other.fault(delay="1ms")
    assert [ask(connect(other), b"%d" % n) for n in range(9)] == [b"%d" % n for n in range(9)]


def test_a_seed_says_which_answers_are_lost_and_which_are_two() -> None:
    def run(seed: int, n: int = 400) -> list[int]:
        """How often each was answered."""
        with TestBalancer(seed=seed) as balancer, ExitStack() as stack:
            origin = balancer.udp_origin()
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.settimeout(DEADLINE_S)
            where = ("127.0.0.1", int(origin.address.split(":")[1]))
            origin.fault(drop=0.2, duplicate=0.25)
            found = []
            for i in range(n):
                sock.sendto(b"%d" % i, where)
                got = origin.wait(i + 1, DEADLINE_S)[-1]
                found.append(got.answers)
                assert [sock.recv(10) for _ in range(got.answers)] == [b"%d" % i] * got.answers
                assert got.outcome == ("answered" if got.answers else "drop")
            origin.heal()
            sock.sendto(b"end", where)
            assert heard(sock, b"end") == []
            return found

    first = run(1)
    assert run(1) == first and run(2) != first
    for times, share in {0: 0.2, 1: 0.6, 2: 0.2}.items():
        assert abs(first.count(times) / 400 - share) < 0.09, first


def test_one_of_several_answers_may_be_lost(made: TestBalancer, connect: Connect) -> None:
    origin = made.udp_origin(lambda data: [b"%d" % i for i in range(100)])
    origin.fault(drop=0.5)
    sock = connect(origin)
    sock.send(b"x")
    (got,) = origin.wait(1, DEADLINE_S)
    origin.heal()
    assert got.outcome == "answered" and 30 < got.answers < 70
    assert len([sock.recv(10) for _ in range(got.answers)]) == got.answers


def test_a_hang_is_no_answer_and_ends_with_the_fault(
    made: TestBalancer, connect: Connect
) -> None:
    origin = made.udp_origin()
    sock = connect(origin)
    origin.fault(hang=True)
    sock.send(b"x")
    assert origin.wait(1, DEADLINE_S)[0].outcome == "hang"
    origin.heal()
    assert ask(sock, b"y") == b"y"          # and b"x" was never answered


def test_who_refuses_is_known_to_be_gone_and_comes_back_there(
    made: TestBalancer, connect: Connect
) -> None:
    origin = made.udp_origin()
    sock, address = connect(origin), origin.address
    for _ in range(3):
        assert ask(sock, b"x") == b"x"
        origin.fault(refuse=True)
        with pytest.raises(ConnectionRefusedError):
            ask(sock, b"lost")
        origin.fault(refuse=True, delay="1s")
        with pytest.raises(ConnectionRefusedError):
            ask(sock, b"lost")
        origin.heal()
        assert origin.address == address
    assert {got.data for got in origin.received} == {b"x"}


@pytest.mark.parametrize("delay_s", [0.0, 0.001])
def test_answers_under_way_are_lost_with_their_server(
    made: TestBalancer, connect: Connect, delay_s: float
) -> None:
    def dies_meanwhile(generator: object) -> float:
        origin.fault(refuse=True)
        origin.fault(delay="20ms")          # it is there again, and slower than what was lost
        return delay_s

    origin = made.udp_origin()
    sock = connect(origin)
    origin.fault(delay=dies_meanwhile)
    sock.send(b"before")
    origin.wait(1, DEADLINE_S)
    assert ask(sock, b"after") == b"after"
    assert [got.answers for got in origin.received] == [0, 1]


def test_a_port_is_nobody_elses(made: TestBalancer) -> None:
    origin = made.udp_origin()
    where = ("127.0.0.1", int(origin.address.split(":")[1]))
    for refuse in (False, True, False):
        origin.fault(refuse=refuse)
        for reuse in (0, 1):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
                with pytest.raises(OSError, match="in use"):
                    sock.bind(where)


def test_a_function_may_end_its_own_origin(made: TestBalancer, connect: Connect) -> None:
    def last_words(data: bytes) -> bytes:
        origin.fault(refuse=True)
        return data

    origin = made.udp_origin(last_words)
    sock = connect(origin)
    sock.send(b"x")
    (got,) = origin.wait(1, DEADLINE_S)
    with pytest.raises(ConnectionRefusedError):
        ask(sock, b"lost")
    assert (got.outcome, got.answers) == ("drop", 0)


@pytest.mark.parametrize(
    ("limit", "kept"),
    [("REQUESTS_KEPT", [b"5", b"", b"6"]), ("DATAGRAM_BYTES_KEPT", [b"4", b"5", b"", b"6"])],
)
def test_what_is_kept_is_bounded(
    made: TestBalancer, connect: Connect, monkeypatch: pytest.MonkeyPatch, limit: str,
    kept: list[bytes],
) -> None:
    monkeypatch.setattr(datagrams, limit, 3)
    origin = made.udp_origin()
    sock = connect(origin)
    for data in (b"1", b"12", b"", b"123", b"4", b"5", b"", b"6"):
        assert ask(sock, data) == data
    assert [got.data for got in origin.received] == kept
    assert origin.count == 8


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"drop": 2}, "drop: 2 is not a probability from 0 to 1, True or False"),
        ({"duplicate": "1"}, "duplicate: '1' is not a probability"),
        ({"hang": -1}, "hang: -1 is not a probability"),
        ({"delay": 5}, 'delay: 5 has no unit; write "5s" or "5ms"'),
        ({"refuse": 1}, "refuse: 1 is not True or False"),
    ],
)
def test_faults_that_make_no_sense(
    made: TestBalancer, fault: dict[str, object], says: str
) -> None:
    origin = made.udp_origin()
    with pytest.raises(ValueError, match=says):
        origin.fault(**fault)  # type: ignore[arg-type]


def test_who_waits_for_more_than_comes_is_told(made: TestBalancer, connect: Connect) -> None:
    origin = made.udp_origin(name="a")
    assert ask(connect(origin), b"x") == b"x"
    assert origin.wait(1, DEADLINE_S) == origin.received
    with pytest.raises(TimeoutError, match=r"<UdpOrigin a .*> got 1 of 2 in 0.01 s"):
        origin.wait(2, timeout=0.01)


# --- through a balancer ---


def test_sessions_go_to_servers_through_a_balancer(made: TestBalancer) -> None:
    a, b = made.udp_origin(), made.udp_origin(lambda data: b"b " + data)
    site = made.listen("udp://127.0.0.1:0", pool=made.pool("p", [a, b]), max_sessions=2)
    assert site.url == f"udp://127.0.0.1:{site.port}"
    first, second = made.connect(site, timeout=DEADLINE_S), made.connect(site, timeout=DEADLINE_S)
    assert (ask(first, b"1"), ask(second, b"2"), ask(first, b"3")) == (b"1", b"b 2", b"3")
    assert [got.data for got in a.received] == [b"1", b"3"]
    assert len({got.sender for got in a.received}) == 1     # a session has one socket
    made.connect(site, timeout=DEADLINE_S).send(b"one too many")
    wait_until(lambda: site.stats()["datagrams_dropped"] == 1)
    assert (a.count, b.count) == (2, 1)


def test_records_of_sessions(made: TestBalancer) -> None:
    origin = made.udp_origin()
    site = made.listen(
        "udp://127.0.0.1:0", name="l", pool=made.pool("p", [origin]), idle_timeout="10m")
    assert ask(made.connect(site, timeout=DEADLINE_S), b"hello") == b"hello"
    made.clock.advance("11m")
    wait_until(lambda: len(made.records) == 1)
    (record,) = made.records
    assert (record.kind, record.listener, record.pool, record.server) == (
        "udp", "l", "p", origin.address)
    assert (record.bytes_in, record.bytes_out) == (5, 5)
    assert "\n    udp, " in made.describe()


def test_messages_without_answers_are_waited_for(made: TestBalancer) -> None:
    logs = made.udp_origin(lambda data: None)
    site = made.listen("udp://127.0.0.1:0", pool=made.pool("logs", [logs]), answers=0)
    client = made.connect(site, timeout=DEADLINE_S)
    for n in range(100):
        client.send(b"%d" % n)
    assert [got.data for got in logs.wait(100, DEADLINE_S)] == [b"%d" % n for n in range(100)]


def test_a_session_moves_when_its_server_refuses_and_others_stay(made: TestBalancer) -> None:
    a, b = made.udp_origin(b"a"), made.udp_origin(b"b")
    pool = made.pool("p", [a, b])
    site = made.listen("udp://127.0.0.1:0", pool=pool)
    of_a, of_b = made.connect(site, timeout=DEADLINE_S), made.connect(site, timeout=DEADLINE_S)
    assert (ask(of_a, b"1"), ask(of_b, b"1")) == (b"a", b"b")
    a.fault(refuse=True)
    of_a.send(b"lost, and tells")
    wait_until(lambda: pool.stats()[a.address]["connect_failures"] == 1)
    assert (ask(of_a, b"2"), ask(of_b, b"2")) == (b"b", b"b")
    assert [got.data for got in a.received] == [b"1"]
    assert {got.data for got in b.received} == {b"1", b"2"}
    a.heal()
    wait_until(lambda: ask(made.connect(site, timeout=DEADLINE_S), b"3") == b"a")
    assert ask(of_a, b"4") == b"b"


def test_health_checks_are_answered_by_the_same_function(made: TestBalancer) -> None:
    origin = made.udp_origin(lambda data: b"pong" if data == b"ping" else data)
    pool = made.pool("p", [origin], health={
        "udp": {"send": "ping", "expect": "pong"}, "interval": "50ms", "rise": 1, "fall": 1,
    })
    made.listen("udp://127.0.0.1:0", pool=pool)
    made.start()
    origin.fault(refuse=True)
    wait_until(lambda: pool.servers[origin.address].state == "down")
    origin.heal()
    wait_until(lambda: pool.servers[origin.address].state == "up")
    assert {got.data for got in origin.received} == {b"ping"}


def test_it_describes_datagrams(made: TestBalancer, connect: Connect) -> None:
    origin = made.udp_origin(name="u")
    sock = connect(origin)
    for n in range(30):
        assert ask(sock, b"%d" % n) == b"%d" % n
    origin.fault(hang=True)
    sock.send(b"x" * 61)
    origin.wait(31, DEADLINE_S)
    assert made.describe().splitlines() == [
        "seed 7", "0 requests", f"u {origin.address}: 31 datagrams",
        *(f"    b'{n}' of {shown(sock)} -> answered" for n in range(11, 30)),
        f"    {b'x' * 60!r}... of {shown(sock)} -> hang",
    ]


def test_nothing_is_left_of_them() -> None:
    def once() -> None:
        with TestBalancer() as balancer:
            a, b = balancer.udp_origin(), balancer.udp_origin()
            site = balancer.listen("udp://127.0.0.1:0", pool=balancer.pool("p", [a, b]))
            assert ask(balancer.connect(site, timeout=DEADLINE_S), b"x") == b"x"
            a.fault(delay="1h")
            b.fault(refuse=True)
            balancer.connect(site, timeout=DEADLINE_S).send(b"y")
            balancer.udp_origin().fault(refuse=True)

    once()
    before = set(os.listdir("/proc/self/fd"))
    threads = set(threading.enumerate())
    for _ in range(50):
        once()
    # (What tests before this one have left may end meanwhile.)
    wait_until(lambda: set(os.listdir("/proc/self/fd")) <= before)
    wait_until(lambda: set(threading.enumerate()) <= threads)
