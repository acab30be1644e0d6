"""A TestBalancer starts when it is needed, takes more while it runs, and leaves nothing."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import fastlb
from fastlb._core.tables.certificates import self_signed
from fastlb.testing import TestBalancer
from tests.flow.conftest import wait_until


@pytest.fixture
def made() -> Iterator[TestBalancer]:
    with TestBalancer() as balancer:
        yield balancer


def get(url: str, **headers: str) -> httpx.Response:
    # (Reading the certificates that nobody asks for would take longer than all the rest.)
    return httpx.get(url, headers=headers, trust_env=False, timeout=30, verify=False)


def test_a_retry_meets_the_other_server(made: TestBalancer) -> None:
    a, b = made.origin(), made.origin()
    site = made.listen(
        pool=made.pool("api", [a, b], retry=fastlb.Retry(attempts=2, on=["reset"]))
    )
    a.fault(reset=1.0)
    assert {get(site.url).status_code for _ in range(10)} == {200}
    assert len(b.requests) == 10 and {request.outcome for request in a.requests} == {"reset"}


def test_records_have_every_request_with_its_tries(made: TestBalancer) -> None:
    a, b = made.origin(), made.origin()
    site = made.listen(
        name="web", pool=made.pool("api", [a, b], retry=fastlb.Retry(attempts=2, on=["reset"]))
    )
    assert made.records == []
    a.fault(reset=1.0)
    for n in range(10):
        assert get(f"{site.url}/x/{n}?y=1").status_code == 200
        assert len(made.records) == n + 1           # as soon as the answer is here
    assert {record.server for record in made.records} == {b.address}
    assert {(record.listener, record.pool, record.status) for record in made.records} == {
        ("web", "api", 200)
    }
    assert [record.path for record in made.records] == [f"/x/{n}" for n in range(10)]
    tried = {tuple((one.server, one.outcome) for one in record.tries) for record in made.records}
    again = ((a.address, "server_reset"), (b.address, "response"))
    assert tried == {((b.address, "response"),), again}


def test_records_of_what_went_wrong(made: TestBalancer) -> None:
    origin = made.origin()
    nobody = made.pool("nobody")
    site = made.listen(pool=made.pool("api", [origin]), routes=[
        {"name": "none", "match": {"path": "/none"}, "pool": nobody.name},
    ])
    origin.fault(truncate=1.0)
    assert get(f"{site.url}/none").status_code == 503
    with pytest.raises(httpx.RemoteProtocolError):
        get(site.url)
    first, second = made.records
    assert (first.route, first.pool, first.status, first.server, first.tries) == (
        "none", "nobody", 503, "", ())
    assert second.server == origin.address and second.reason != "done"


def test_records_of_tcp(made: TestBalancer) -> None:
    origin = made.tcp_origin(greeting=b"hello")
    site = made.listen("tcp://127.0.0.1:0", pool=made.pool("echo", [origin]))
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as sock:
        assert sock.recv(5) == b"hello"
        sock.sendall(b"abc")
        assert sock.recv(3) == b"abc"
    wait_until(lambda: len(made.records) == 1)
    (record,) = made.records
    assert (record.kind, record.pool, record.server) == ("tcp", "echo", origin.address)
    assert (record.bytes_in, record.bytes_out) == (3, 8)


def test_records_outlast_additions_and_the_end() -> None:
    with TestBalancer() as balancer:
        first = balancer.listen(pool=balancer.pool(servers=[balancer.origin()]))
        get(f"{first.url}/1")
        second = balancer.listen(pool=balancer.pool(servers=[balancer.origin()]))
        get(f"{second.url}/2")
        get(f"{first.url}/3")
    assert [record.path for record in balancer.records] == ["/1", "/2", "/3"]


def test_a_server_may_be_an_origin_in_a_table(made: TestBalancer) -> None:
    a, b = made.origin(), made.origin()
    pool = made.pool(servers=[fastlb.Server(a.address, weight=3), b])
    site = made.listen(pool=pool)
    assert [get(site.url).status_code for _ in range(8)] == [200] * 8
    assert (len(a.requests), len(b.requests)) == (6, 2)
    assert set(pool.servers) == {a.address, b.address}


def test_what_is_added_while_it_runs_keeps_the_ports(made: TestBalancer) -> None:
    first = made.listen(pool=made.pool(servers=[made.origin("one")]))
    url = first.url
    assert get(url).text == "one"
    second = made.listen(pool=made.pool(servers=[made.origin("two")]))

    @first.route("/answer", deadline="30s")
    def answer(request: fastlb.Request) -> fastlb.Decision:
        return fastlb.Response(203, "mine")

    assert get(f"{url}/answer").status_code == 203
    assert get(second.url).text == "two"
    assert first.url == url and second.url != url
    assert get(url).text == "one"
    with pytest.raises(fastlb.ConfigError):
        made.pool("bad", balance="fastest")
    assert get(first.url).text == "one"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_policy_of_connections_may_be_added_while_it_runs(
    made: TestBalancer, kind: str
) -> None:
    site = made.listen(f"{kind}://127.0.0.1:0", pool=made.pool())
    url = site.url

    @site.route()
    def nobody(connection: fastlb.Connection) -> fastlb.Decision:
        return fastlb.Close()

    assert site.url == url
    with pytest.raises(fastlb.ConfigError):
        site.route(cache_on="nothing")(nobody)
    assert site.url == url


def test_mistakes_are_told_where_they_are_made(made: TestBalancer) -> None:
    with pytest.raises(fastlb.ConfigError, match=r"pools\.p\.balance"):
        made.pool("p", balance="fastest")
    made.listen(f"http://{made.origin().address}", pool=made.pool())
    with pytest.raises(fastlb.BindError):
        made.start()


def test_a_policy_of_each_kind(made: TestBalancer) -> None:
    api, docs = made.pool("api", [made.origin("api")]), made.pool("docs", [made.origin("docs")])
    web = made.listen(pool=api)

    @web.route("/sync/{tier}", deadline="30s")
    def by_tier(request: fastlb.Request) -> fastlb.Decision:
        return docs if request.path_params["tier"] == "premium" else None

    @web.route("/async/{tier}", deadline="30s")
    async def later(request: fastlb.Request) -> fastlb.Decision:
        return docs if request.path_params["tier"] == "premium" else api

    @web.route("/blocking/{tier}", blocking=True, deadline="30s")
    def elsewhere(request: fastlb.Request) -> fastlb.Decision:
        return docs if request.path_params["tier"] == "premium" else api

    for kind in ("sync", "async", "blocking"):
        assert get(f"{web.url}/{kind}/premium").text == "docs"
        assert get(f"{web.url}/{kind}/free").text == "api"


def test_keys_are_the_balancers(made: TestBalancer) -> None:
    with TestBalancer(threads=0, max_connections=3, seed=4) as balancer:
        assert balancer.balancer.config.max_connections == 3 and balancer.seed == 4
        site = balancer.listen(pool=balancer.pool(servers=[balancer.origin("inline")]))
        assert get(site.url).text == "inline"
    with pytest.raises(ValueError, match="threads"):
        TestBalancer(threads=99)


def test_it_describes_what_happened(made: TestBalancer) -> None:
    origin = made.origin(name="a")
    tcp = made.tcp_origin(name="t")
    site = made.listen(pool=made.pool(servers=[origin]))
    origin.script([200, "truncate"])
    get(f"{site.url}/x?y=1")
    with pytest.raises(httpx.RemoteProtocolError):
        get(site.url)
    assert made.describe().splitlines() == [
        "seed 0",
        "2 requests",
        f"    GET /x?y=1 -> 200, done; {origin.address} response",
        f"    GET / -> no answer, server_closed; {origin.address} response",
        f"a {origin.address}: 2 requests",
        "    GET /x?y=1 -> 200",
        "    GET / -> truncate",
        f"t {tcp.address}: 0 bytes",
    ]


def test_health_checks_are_kept_apart(made: TestBalancer) -> None:
    origin = made.origin()
    health = fastlb.Health(
        http="/healthz", interval="50ms", timeout="30s", rise=1, fall=1)
    pool = made.pool(servers=[origin], health=health)
    site = made.listen(pool=pool)
    origin.fault(status=503)
    assert site.url
    wait_until(lambda: pool.servers[origin.address].state == "down")
    origin.heal()
    wait_until(lambda: pool.servers[origin.address].state == "up")
    assert get(f"{site.url}/x").status_code == 200
    assert [request.path for request in origin.requests] == ["/x"]
    assert {check.path for check in origin.checks} == {"/healthz"}


def test_500_in_a_row_leave_no_descriptor_and_no_thread() -> None:
    def once() -> None:
        with TestBalancer() as balancer:
            site = balancer.listen(pool=balancer.pool(servers=[balancer.origin()]))
            client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
            client.request("GET", "/")
            assert client.getresponse().read() == b"origin1\n"
            client.close()

    once()
    before = set(os.listdir("/proc/self/fd"))
    threads = set(threading.enumerate())
    for _ in range(500):
        once()
    # (What tests before this one have left may end meanwhile.)
    wait_until(lambda: set(os.listdir("/proc/self/fd")) <= before)
    wait_until(lambda: set(threading.enumerate()) <= threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_ports_are_nobody_elses_while_a_listener_is_added(threads: int) -> None:
    with TestBalancer(threads=threads) as made:
        pool = made.pool(servers=[made.origin(b"first")])
        first = made.listen(pool=pool)
        where = ("127.0.0.1", first.port)
        with made.balancer._instance.editing(), socket.socket() as stranger, \
                pytest.raises(OSError, match="in use"):
            stranger.bind(where)
        second = made.listen(pool=pool)
        assert ("127.0.0.1", first.port) == where
        for url in (first.url, second.url):
            assert get(url).content == b"first"


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", "udp://[::1]:0",
                                  "tcp://0.0.0.0:0"])
def test_a_client_is_a_plain_socket(made: TestBalancer, bind: str) -> None:
    origin = made.udp_origin() if bind.startswith("udp") else made.tcp_origin()
    site = made.listen(bind, pool=made.pool(servers=[origin]))
    with made.connect(site) as one:
        one.send(b"hello")
        assert one.recv(100) == b"hello"
    other = made.connect(site, timeout=0.01)
    with pytest.raises(TimeoutError):
        other.recv(1)
    made.stop()
    assert other.fileno() < 0


def test_a_unix_socket_has_no_port_to_connect_to(made: TestBalancer, tmp_path: Path) -> None:
    site = made.listen(f"tcp://unix:{tmp_path}/s", pool=made.pool())
    with pytest.raises(ValueError, match="has no port to connect to"):
        made.connect(site)


def test_stopping_twice_and_without_starting() -> None:
    balancer = TestBalancer()
    balancer.origin().fault(refuse=True)
    balancer.stop()
    balancer.stop()


def test_a_listener_of_https_has_a_certificate_that_its_clients_trust(made: TestBalancer) -> None:
    site = made.listen("https://127.0.0.1:0", pool=made.pool("api", [made.origin()]))
    answer = httpx.get(site.url, trust_env=False, timeout=30, verify=made.ssl_context)
    assert answer.status_code == 200
    assert site.url.startswith("https://127.0.0.1:")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(site.url, trust_env=False, timeout=30)
    ca = made.ca_file
    assert os.path.exists(ca)
    made.stop()
    assert not os.path.exists(ca)


def test_a_listener_may_have_another_certificate(made: TestBalancer, tmp_path: Path) -> None:
    cert, key = self_signed(["127.0.0.1"], 1)
    (tmp_path / "own.pem").write_bytes(cert + key)
    site = made.listen("https://127.0.0.1:0", pool=made.pool("api", [made.origin()]),
                       tls={"certificates": [{"cert": str(tmp_path / "own.pem")}]})
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(site.url, trust_env=False, timeout=30, verify=made.ssl_context)
    context = ssl.create_default_context(cafile=str(tmp_path / "own.pem"))
    assert httpx.get(site.url, trust_env=False, timeout=30, verify=context).status_code == 200
