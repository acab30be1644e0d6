"""Names of servers, with a DNS server in the test."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Origin, Site, wait_until
from tests.ports import free_port

NAME = "api.test."


class NameServer(threading.Thread):
    """Answers over UDP with what the test has put into `records`, or with a failure: of all
    queries, or in `failures` of those for A or AAAA."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.failures: dict[str, str] = {}
        self.lose = 0               # so many queries are not heard
        self.truncates = False      # answers come over TCP alone
        self.descriptors = 0        # that this process had open at most, when it asked
        # Of one number, and below those that the kernel gives to connections.
        self.tcp, self.sock = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        where = ("127.0.0.1", free_port(socket.SOCK_STREAM, socket.SOCK_DGRAM))
        self.tcp.bind(where)
        self.sock.bind(where)
        self.records: list[str] = []
        self.ttl = 1
        self.failure: str | None = None
        self.queries = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.sock.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                data, client = self.sock.recvfrom(4096)
            except OSError:
                return
            self.queries += 1
            self.descriptors = max(self.descriptors, len(os.listdir("/proc/self/fd")))
            if self.queries <= self.lose:
                continue
            reply = self._reply(dns.message.from_wire(data))
            if reply:
                self.sock.sendto(reply, client)

    def _reply(self, query: dns.message.Message, over_tcp: bool = False) -> bytes:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        question = query.question[0]
        records = self.records      # (before its failure: a test sets that, and then new records)
        failure = self.failures.get(dns.rdatatype.to_text(question.rdtype), self.failure)
        if failure == "silence":
            return b""
        if failure == "garbage":
            return query.to_wire()[:2] + b"\xff" * 30
        if failure is not None:
            reply.set_rcode(dns.rcode.from_text(failure))
            return reply.to_wire()
        if self.truncates and not over_tcp:
            reply.flags |= dns.flags.TC
            return reply.to_wire()
        wanted = [r for r in records if (":" in r) == (question.rdtype == dns.rdatatype.AAAA)]
        if wanted:
            reply.answer.append(
                dns.rrset.from_text(question.name, self.ttl, "IN", question.rdtype, *wanted)
            )
        return reply.to_wire()

    def serve_tcp(self) -> None:
        """Answer one query a connection, on the same port."""
        self.tcp.listen()

        def serve() -> None:
            with self.tcp:
                for _ in range(2):
                    client, _ = self.tcp.accept()
                    with client:
                        size = int.from_bytes(client.recv(2, socket.MSG_WAITALL), "big")
                        query = dns.message.from_wire(client.recv(size, socket.MSG_WAITALL))
                        reply = self._reply(query, over_tcp=True)
                        client.sendall(len(reply).to_bytes(2, "big") + reply)

        threading.Thread(target=serve, daemon=True).start()

    def close(self) -> None:
        self.sock.close()
        self.tcp.close()


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def origins() -> Iterator[list[Origin]]:
    """Return three origins on 127.0.0.1, 127.0.0.2 and 127.0.0.3 that share one port."""
    port = free_port()
    peers = [Origin(socket.AF_INET, (f"127.0.0.{i}", port)) for i in (1, 2, 3)]
    yield peers
    for peer in peers:
        peer.close()


def make(
    names: NameServer, origins: list[Origin], timeout: str = "30s", **server: str
) -> fastlb.Balancer:
    port = origins[0].listener.getsockname()[1]
    balancer = fastlb.Balancer(
        threads=1, dns={"nameservers": [names.address], "timeout": timeout}
    )
    pool = balancer.pool("p", [fastlb.Server(dns=f"{NAME.rstrip('.')}:{port}", **server)])
    balancer.listen("tcp://127.0.0.1:0", name="l", pool=pool)
    return balancer


def who_serves(site: Site, origins: list[Origin], n: int = 6) -> set[str]:
    """The IPs of the origins that the next connections go to."""
    seen = set()
    clients = [site.connect() for _ in range(n)]
    arrived = 0
    deadline = time.monotonic() + DEADLINE_S
    while arrived < n:
        assert time.monotonic() < deadline
        for peer in origins:
            peer.listener.setblocking(False)
            try:
                connection = peer.accept()
            except BlockingIOError:
                continue
            seen.add(connection.getsockname()[0])
            arrived += 1
    for client in clients:
        client.close()
    for peer in origins:
        for connection in peer.accepted:
            connection.close()
        peer.accepted.clear()
    return seen


def is_known(balancer: fastlb.Balancer) -> bool:
    """Whether the engines have a snapshot with servers."""
    runtime = balancer._instance.runtime
    assert runtime is not None and runtime.snapshot is not None
    snapshot = runtime.snapshot
    return bool(snapshot.servers) and all(one.uses(snapshot) for one in runtime.engines.all)


def test_every_address_of_a_name_is_a_server(names: NameServer, origins: list[Origin]) -> None:
    names.records = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    balancer = make(names, origins)
    with balancer.background():
        site = Site(balancer, balancer.listeners["l"])
        assert who_serves(site, origins) == {"127.0.0.1", "127.0.0.2", "127.0.0.3"}
        site.wait_idle()


@pytest.mark.parametrize("refresh", [None, "200ms"])
def test_a_change_is_picked_up_and_open_relays_go_on(
    names: NameServer, origins: list[Origin], refresh: str | None
) -> None:
    names.records = ["127.0.0.1"]
    names.ttl = 1 if refresh is None else 3600
    balancer = make(names, origins, **({"refresh": refresh} if refresh else {}))
    with balancer.background():
        site = Site(balancer, balancer.listeners["l"])
        client = site.connect()
        origins[0].listener.setblocking(True)
        server = origins[0].accept()
        origins[0].accepted.clear()
        names.records = ["127.0.0.2"]
        wait_until(lambda: who_serves(site, origins, 1) == {"127.0.0.2"})
        client.sendall(b"still here")
        assert server.recv(10) == b"still here"
        client.close()
        server.close()
        site.wait_idle()


@pytest.mark.parametrize(
    ("failure", "timeout", "why"),
    [
        ("NXDOMAIN", "30s", "there is no such name"),
        ("SERVFAIL", "30s", "SERVFAIL"),
        ("silence", "500ms", "no answer within 500 ms"),
        ("garbage", "500ms", "no answer within 500 ms"),
    ],
)
def test_a_name_that_fails_at_start_is_a_warning_and_tried_again(
    names: NameServer, origins: list[Origin], failure: str, timeout: str, why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    names.failure = failure
    names.records = ["127.0.0.1"]
    balancer = make(names, origins, timeout)
    with balancer.background():
        warnings = [r.getMessage() for r in caplog.records if r.name == "fastlb.dns"]
        assert len(warnings) == 1
        assert warnings[0].startswith("api.test can't be resolved: ")
        assert why in warnings[0]
        site = Site(balancer, balancer.listeners["l"])
        assert site.connect().recv(1) == b""
        names.failure = None
        wait_until(lambda: "api.test resolves again: 127.0.0.1" in caplog.text)
        wait_until(lambda: is_known(balancer))      # (it was logged first)
        assert who_serves(site, origins, 2) == {"127.0.0.1"}
        site.wait_idle()


def test_the_last_good_answer_is_kept(
    names: NameServer, origins: list[Origin], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    names.records = ["127.0.0.1"]
    balancer = make(names, origins, refresh="100ms")
    with balancer.background():
        names.failure = "NXDOMAIN"
        wait_until(lambda: "; asking again; keeping 127.0.0.1" in caplog.text)
        site = Site(balancer, balancer.listeners["l"])
        assert who_serves(site, origins, 2) == {"127.0.0.1"}
        site.wait_idle()


def test_localhost_comes_from_the_hosts_file(origins: list[Origin]) -> None:
    port = origins[0].listener.getsockname()[1]
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("p", [f"localhost:{port}"])
    balancer.listen("tcp://127.0.0.1:0", name="l", pool=pool)
    with balancer.background():
        site = Site(balancer, balancer.listeners["l"])
        assert who_serves(site, origins, 2) == {"127.0.0.1"}
        assert list(pool.stats()) == [f"127.0.0.1:{port}"]
        site.wait_idle()
