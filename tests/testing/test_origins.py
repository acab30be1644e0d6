"""Origins do what they are told: answers, scripts and faults, seen by a plain client."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import connect

from fastlb.testing import Answer, Fault, Origin, TcpOrigin, TestBalancer
from fastlb.testing.faults import delay_of
from tests.flow.conftest import wait_until

DEADLINE_S = 30.0


@pytest.fixture
def made() -> Iterator[TestBalancer]:
    with TestBalancer(seed=7) as balancer:
        yield balancer


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=DEADLINE_S) as client:
        yield client


def connected(origin: Origin | TcpOrigin) -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", int(origin.address.split(":")[1])), DEADLINE_S)


def statuses(client: httpx.Client, origin: Origin, n: int) -> list[int]:
    """0 where there was no answer."""
    found = []
    for _ in range(n):
        try:
            found.append(client.get(origin.url).status_code)
        except httpx.TransportError:
            found.append(0)
    return found


def test_it_answers_its_name_and_keeps_what_it_got(
    made: TestBalancer, client: httpx.Client
) -> None:
    origin = made.origin(name="a")
    got = client.post(f"{origin.url}/x/y?z=1", json={"k": "v"}, headers={"X-Tier": "premium"})
    assert (got.status_code, got.text, got.headers["content-type"]) == (200, "a\n", "text/plain")
    (request,) = origin.requests
    assert (request.method, request.target) == ("POST", "/x/y?z=1")
    assert (request.path, request.query, request.outcome) == ("/x/y", "z=1", "200")
    assert request.headers["x-TIER"] == "premium" and request.json() == {"k": "v"}
    assert request.body_size == 9 and request.connection == 1


def test_chunked_bodies_and_continue(made: TestBalancer, client: httpx.Client) -> None:
    origin = made.origin()
    pieces = [b"a" * 70_000, b"b", b"c" * 3_000_000]
    assert client.post(origin.url, content=iter(pieces)).status_code == 200
    assert origin.requests[0].body_size == 3_070_001
    assert len(origin.requests[0].body) == 1 << 20      # the rest is counted, not kept
    with connected(origin) as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hiGET /next HTTP/1.1\r\nConnection: close\r\n\r\n")
        rest = b""
        while piece := sock.recv(1000):
            rest += piece
    assert rest.count(b"HTTP/1.1 200 OK") == 2
    assert [request.body for request in origin.requests[1:]] == [b"hi", b""]


def test_answers_of_all_kinds(made: TestBalancer, client: httpx.Client) -> None:
    assert client.get(made.origin(204).url).status_code == 204
    assert client.get(made.origin("text").url).text == "text"
    assert client.get(made.origin(b"\xff").url).content == b"\xff"
    said = client.get(made.origin(Answer(201, json=[1], headers={"X-A": "b"})).url)
    assert (said.status_code, said.json(), said.headers["x-a"]) == (201, [1], "b")
    assert said.headers["content-type"] == "application/json"
    origin = made.origin(lambda request: request.path if request.path != "/no" else 404)
    assert client.get(f"{origin.url}/yes").text == "/yes"
    assert client.get(f"{origin.url}/no").status_code == 404
    head = client.head(made.origin("hello").url)
    assert (head.headers["content-length"], head.content) == ("5", b"")
    assert client.get(made.origin(599).url).status_code == 599


def test_a_function_that_raises_is_reported_at_the_end(client: httpx.Client) -> None:
    def broken(request: object) -> int:
        raise ZeroDivisionError("mine")

    balancer = TestBalancer()
    got = client.get(balancer.origin(broken).url)
    assert got.status_code == 500 and "mine" in got.text
    with pytest.raises(ZeroDivisionError, match="mine"):
        balancer.stop()


def test_a_script_is_followed_once(made: TestBalancer, client: httpx.Client) -> None:
    origin = made.origin("usual")
    origin.fault(status=502)
    origin.script([503, Answer(201, "made"), "text", "reset", Fault(truncate=1.0), "garbage"])
    assert client.get(origin.url).status_code == 503
    assert client.get(origin.url).text == "made"
    assert client.get(origin.url).text == "text"
    for error in (httpx.ReadError, httpx.RemoteProtocolError, httpx.RemoteProtocolError):
        with pytest.raises(error):
            client.get(origin.url)
    assert client.get(origin.url).status_code == 502            # the fault, again
    origin.heal()
    assert client.get(origin.url).text == "usual"
    assert [request.outcome for request in origin.requests] == [
        "503", "201", "200", "reset", "truncate", "garbage", "502", "200",
    ]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"reset": 1.0}, httpx.ReadError),
        ({"truncate": True}, httpx.RemoteProtocolError),
        ({"garbage": 1}, httpx.RemoteProtocolError),
        ({"refuse": True}, httpx.ConnectError),
    ],
)
def test_faults_that_always_strike(
    made: TestBalancer, client: httpx.Client, fault: dict[str, object], error: type[Exception]
) -> None:
    origin = made.origin()
    assert client.get(origin.url).status_code == 200
    origin.fault(**fault)  # type: ignore[arg-type]
    if "refuse" in fault:
        with pytest.raises(httpx.TransportError):       # of the connection that was kept
            client.get(origin.url)
    for _ in range(3):
        with pytest.raises(error):
            client.get(origin.url)
    origin.heal()
    assert client.get(origin.url).status_code == 200


def test_half_of_a_body_comes(made: TestBalancer) -> None:
    origin = made.origin("0123456789")
    origin.fault(truncate=1.0)
    with connected(origin) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        got = b""
        while piece := sock.recv(1000):
            got += piece
    assert got == b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234"


def test_probabilities_are_kept_and_a_seed_repeats_them(client: httpx.Client) -> None:
    def run(seed: int) -> list[int]:
        with TestBalancer(seed=seed) as balancer:
            origin = balancer.origin()
            origin.fault(reset=0.2, status={503: 0.1, 429: 0.3})
            return statuses(client, origin, 400)

    first = run(1)
    assert run(1) == first and run(2) != first
    shares = {status: first.count(status) / 400 for status in (0, 200, 503, 429)}
    for status, share in {0: 0.2, 503: 0.08, 429: 0.24, 200: 0.48}.items():
        assert abs(shares[status] - share) < 0.09, shares


def test_a_hang_lasts_until_the_client_goes(made: TestBalancer) -> None:
    origin = made.origin()
    origin.fault(hang=True)
    timeout = httpx.Timeout(DEADLINE_S, read=0.05)
    with httpx.Client(trust_env=False, timeout=timeout) as client, \
            pytest.raises(httpx.ReadTimeout):
        client.get(origin.url)
    wait_until(lambda: [request.outcome for request in origin.requests] == ["hang"])


def test_delays_and_bandwidth_take_their_time(made: TestBalancer, client: httpx.Client) -> None:
    origin = made.origin(b"x" * 4096)
    for fault, least_s in (({"delay": "60ms"}, 0.06), ({"bandwidth": "32KiB"}, 0.1)):
        origin.fault(**fault)  # type: ignore[arg-type]
        begin = time.monotonic()
        assert client.get(origin.url).content == b"x" * 4096
        assert time.monotonic() - begin >= least_s


@pytest.mark.parametrize(
    ("delay", "low", "median", "high"),
    [
        ("50ms", 0.05, 0.05, 0.05),
        (("10ms", "30ms"), 0.01, 0.02, 0.03),
        ("uniform(10ms, 30ms)", 0.01, 0.02, 0.03),
        ("lognormal(50ms, 0.5)", 0.005, 0.05, 0.5),
        ("normal(50ms, 10ms)", 0.0, 0.05, 0.1),
        ("exponential(50ms)", 0.0, 0.0347, 1.0),
        ({"1s": 0.9}, 0.0, 1.0, 1.0),
        (lambda generator: generator.choice([0.25, 0.25]), 0.25, 0.25, 0.25),
    ],
)
def test_delays_are_drawn_from(delay: object, low: float, median: float, high: float) -> None:
    draw = delay_of(delay)  # type: ignore[arg-type]
    assert draw is not None
    generator = random.Random(5)
    drawn = sorted(draw(generator) for _ in range(2001))
    assert low <= drawn[0] and drawn[-1] <= high
    assert drawn[1000] == pytest.approx(median, rel=0.1)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"reset": 2}, "reset: 2 is not a probability from 0 to 1, True or False"),
        ({"truncate": "1"}, "truncate: '1' is not a probability"),
        ({"status": 99}, "status: 99 is not a status from 200 to 599"),
        ({"status": {503: 0.6, 429: 0.6}}, "status: the probabilities are more than 1 together"),
        ({"delay": 5}, 'delay: 5 has no unit; write "5s" or "5ms"'),
        ({"delay": "gamma(1, 2)"}, r"delay: 'gamma\(1, 2\)' is not known; write"),
        ({"delay": "soon"}, "delay: 'soon' is not a duration"),
        ({"delay": ("2s", "1s")}, "delay: a range ends before it begins"),
        ({"delay": "lognormal(1s, x)"}, "delay: 'x' is not a number"),
        ({"bandwidth": "fast"}, "bandwidth: 'fast' is not a size"),
        ({"bandwidth": "0B"}, "bandwidth: nothing at all is hang=True"),
        ({"refuse": 0.5}, "refuse: 0.5 is not True or False"),
    ],
)
def test_faults_that_make_no_sense(
    made: TestBalancer, fault: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        made.origin().fault(**fault)  # type: ignore[arg-type]


def test_scripts_that_make_no_sense(made: TestBalancer) -> None:
    with pytest.raises(TypeError, match="an answer is an Answer, a status, text or bytes"):
        made.origin().script([None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="refuse: a request has been accepted"):
        made.origin().script([Fault(refuse=True)])


def test_a_delay_function_that_raises_is_reported(client: httpx.Client) -> None:
    balancer = TestBalancer()
    origin = balancer.origin()
    origin.fault(delay=lambda generator: 1 / 0)
    with pytest.raises(httpx.TransportError):
        client.get(origin.url)
    with pytest.raises(ZeroDivisionError):
        balancer.stop()


def test_connections_can_be_reset_by_the_test(made: TestBalancer) -> None:
    origin = made.tcp_origin(greeting=b"hello")
    with connected(origin) as sock:
        assert sock.recv(5) == b"hello"
        origin.reset_connections()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert origin.connections == 1


def test_tcp_origins_echo_with_faults(made: TestBalancer) -> None:
    origin = made.tcp_origin()
    where = ("127.0.0.1", int(origin.address.split(":")[1]))
    with socket.create_connection(where, DEADLINE_S) as sock:
        sock.sendall(b"x" * 300_000)
        sock.shutdown(socket.SHUT_WR)
        got = 0
        while piece := sock.recv(1 << 16):
            got += len(piece)
        assert got == 300_000
    assert origin.received == b"x" * 300_000
    origin.fault(bandwidth="20KiB", delay="20ms")
    with socket.create_connection(where, DEADLINE_S) as sock:
        begin = time.monotonic()
        sock.sendall(b"y" * 2048)
        got = 0
        while got < 2048:
            got += len(sock.recv(1 << 16))
        assert time.monotonic() - begin >= 0.1
    origin.fault(reset=True)
    with socket.create_connection(where, DEADLINE_S) as sock:
        sock.sendall(b"z")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_http_origins_echo_over_websockets(made: TestBalancer) -> None:
    origin = made.origin()
    site = made.listen(pool=made.pool(servers=[origin]))
    for url in (origin.url, site.url):
        with connect(url.replace("http:", "ws:"), proxy=None, open_timeout=30) as ws:
            for text in ("hello", "x" * 200, "y" * 70_000):
                ws.send(text)
                assert ws.recv(DEADLINE_S) == text
            ws.ping().wait(DEADLINE_S)
        assert ws.close_code == 1000
    assert [request.outcome for request in origin.requests] == ["101", "101"]
