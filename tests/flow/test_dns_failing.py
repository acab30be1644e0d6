"""Names of servers where name servers fail, half fail, lie, or say that nobody is there."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import fastlb
from fastlb.control import tasks
from tests.flow.conftest import DEADLINE_S, Origin, Site, wait_until
from tests.flow.test_dns import NameServer, make, names, origins, who_serves
from tests.ports import free_port

__all__ = ["names", "origins"]      # fixtures


def servers(balancer: fastlb.Balancer) -> set[str]:
    """The IP addresses that pool "p" has."""
    runtime = balancer._instance.runtime
    assert runtime is not None
    return {name.rpartition(":")[0].strip("[]") for name in runtime.specs["p"]}


@contextmanager
def serving(
    nameservers: list[str], host: str = "api.test", timeout: str = "30s", **server: Any
) -> Iterator[fastlb.Balancer]:
    balancer = fastlb.Balancer(threads=1, dns={"nameservers": nameservers, "timeout": timeout})
    pool = balancer.pool("p", [fastlb.Server(dns=f"{host}:9", **server)])
    balancer.listen("tcp://127.0.0.1:0", name="l", pool=pool)
    with balancer.background():
        yield balancer


@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED", "silence", "garbage"])
def test_records_of_a_family_that_fails_are_kept(
    names: NameServer, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    names.records = ["10.0.0.1", "fd00::1"]
    says_no = failure in ("SERVFAIL", "REFUSED")
    timeout = "30s" if says_no else "500ms"
    with serving([names.address], timeout=timeout, refresh="100ms") as balancer:
        wait_until(lambda: servers(balancer) == {"10.0.0.1", "fd00::1"})
        names.failures["A"] = failure
        names.records = ["10.0.0.2", "fd00::2"]
        wait_until(lambda: "fd00::2" in servers(balancer))
        assert servers(balancer) == {"10.0.0.1", "fd00::2"}
        if says_no:
            wait_until(lambda: "the A records of api.test can't be resolved: " in caplog.text)
        del names.failures["A"]
        wait_until(lambda: servers(balancer) == {"10.0.0.2", "fd00::2"})


def test_a_family_without_records_has_none(names: NameServer) -> None:
    names.records = ["10.0.0.1", "fd00::1"]
    with serving([names.address], refresh="100ms") as balancer:
        names.records = ["fd00::1"]
        wait_until(lambda: servers(balancer) == {"fd00::1"})


@pytest.mark.parametrize("failure", ["silence", "SERVFAIL"])
def test_another_name_server_answers_in_time_and_the_bad_one_is_asked_last(
    names: NameServer, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = NameServer()              # the same IP address, and another port
    bad.start()
    bad.failure = failure
    names.records = ["10.0.0.1"]
    with serving([bad.address, names.address], timeout="30s", refresh="100ms") as balancer:
        assert servers(balancer) == {"10.0.0.1"}
        assert bad.queries > 0 and names.queries > 0
        if failure == "silence":
            asked = bad.queries
            names.records = ["10.0.0.2"]
            wait_until(lambda: servers(balancer) == {"10.0.0.2"})
            assert bad.queries == asked
    assert "can't be resolved" not in caplog.text
    bad.close()


def test_a_name_server_that_refuses_connections_costs_no_time(names: NameServer) -> None:
    port = free_port(socket.SOCK_DGRAM)
    names.records = ["10.0.0.1"]
    with serving([f"127.0.0.1:{port}", names.address], timeout="30s") as balancer:
        assert servers(balancer) == {"10.0.0.1"}


def test_a_lost_packet_is_sent_again(
    names: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    names.lose = 2
    names.records = ["10.0.0.1"]
    with serving([names.address], timeout="20s") as balancer:
        assert servers(balancer) == {"10.0.0.1"}
    assert "can't be resolved" not in caplog.text


def test_an_answer_too_large_for_a_datagram_comes_over_tcp(names: NameServer) -> None:
    names.truncates = True
    names.records = [f"10.0.0.{i}" for i in range(1, 100)]
    names.serve_tcp()
    with serving([names.address], timeout="30s") as balancer:
        assert servers(balancer) == set(names.records)


def test_addresses_that_no_server_can_have_are_left_out(names: NameServer) -> None:
    names.records = ["0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.0.1", "::", "ff02::1",
                     "fe80::1", "::ffff:0.0.0.0", "::ffff:10.0.0.2"]
    with serving([names.address]) as balancer:
        assert servers(balancer) == {"10.0.0.1", "10.0.0.2"}


def test_many_names_take_few_descriptors_and_one_wait(names: NameServer) -> None:
    names.failure = "silence"
    balancer = fastlb.Balancer(fastlb.Config.build({
        "threads": 1, "dns": {"nameservers": [names.address], "timeout": "500ms"},
        "listeners": {"l": {"bind": "tcp://127.0.0.1:0", "pool": "p0"}},
        "pools": {f"p{i}": {"servers": [f"n{i}.test:9"]} for i in range(600)},
    }))
    with balancer.background():
        # 32 names at a time, five times A and AAAA; and again in each later round, should we come
        # late. If each name waited for itself, that were 6,000 at once.
        asked = names.queries
    assert asked < 2000
    wait_until(lambda: names.queries > 0)       # (its thread may come late)
    assert names.descriptors < 300


def test_a_reload_to_a_name_without_an_address_changes_nothing(
    names: NameServer, origins: list[Origin]
) -> None:
    names.records = ["127.0.0.1"]
    balancer = make(names, origins)
    with balancer.background():
        site = Site(balancer, balancer.listeners["l"])
        before = balancer.config
        names.failures = {"A": "NXDOMAIN", "AAAA": "NXDOMAIN"}
        raw = before.model_dump(exclude_unset=True, by_alias=True)
        raw["pools"]["p"]["servers"] = [{"address": "127.0.0.3:9"}, {"address": "other.test:9"}]
        with pytest.raises(fastlb.ConfigError) as caught:
            asyncio.run(balancer.reload(fastlb.Config.build(raw)))
        assert [(one.path, one.message) for one in caught.value.problems] == [
            ("pools.p.servers[1]", "other.test can't be resolved: there is no such name")]
        assert balancer.config == before
        assert servers(balancer) == {"127.0.0.1"}
        assert who_serves(site, origins, 2) == {"127.0.0.1"}
        site.wait_idle()


def test_servers_without_an_address_are_refused_and_later_changes_hold(
    names: NameServer, origins: list[Origin]
) -> None:
    names.records = ["127.0.0.1"]
    balancer = make(names, origins)
    port = origins[0].listener.getsockname()[1]
    with balancer.background():
        site = Site(balancer, balancer.listeners["l"])
        pool = balancer.pools["p"]
        names.failure = "NXDOMAIN"
        bad = pool.set_servers(["gone.test:9"])
        with pytest.raises(fastlb.ConfigError, match="can't be resolved"):
            bad.wait(30)
        assert balancer.overlay() == {}
        pool.add(f"127.0.0.2:{port}")
        wait_until(lambda: servers(balancer) == {"127.0.0.1", "127.0.0.2"})
        assert who_serves(site, origins) == {"127.0.0.1", "127.0.0.2"}
        site.wait_idle()


def test_of_changes_that_come_together_only_the_bad_one_is_refused(names: NameServer) -> None:
    names.failure = "NXDOMAIN"
    balancer = fastlb.Balancer(threads=1, dns={"nameservers": [names.address]})
    pools = [balancer.pool(name, ["10.0.0.1:9"]) for name in ("p", "q", "r")]
    balancer.listen("tcp://127.0.0.1:0", name="l", pool="p")
    with balancer.background():
        runtime = balancer._instance.runtime
        assert runtime is not None
        blocked = asyncio.run_coroutine_threadsafe(
            runtime.edits.lock.acquire(), runtime.loop)      # type: ignore[arg-type]
        blocked.result(30)
        one, bad, other = (pools[0].set_servers(["10.0.0.2:9"]),
                           pools[1].set_servers(["gone.test:9"]),
                           pools[2].set_servers(["10.0.0.3:9"]))
        runtime.loop.call_soon_threadsafe(runtime.edits.lock.release)  # type: ignore[union-attr]
        one.wait(30)
        other.wait(30)
        with pytest.raises(fastlb.ConfigError):
            bad.wait(30)
        assert {name: set(specs) for name, specs in runtime.specs.items()} == {
            "p": {"10.0.0.2:9"}, "q": {"10.0.0.1:9"}, "r": {"10.0.0.3:9"}}
        assert set(balancer.overlay()) == {"p", "r"}


def test_a_change_that_can_not_be_served_does_not_end_following_a_name(
    names: NameServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)
    names.records = ["10.0.0.1"]
    with serving([names.address], refresh="100ms") as balancer:
        runtime = balancer._instance.runtime
        assert runtime is not None
        right = runtime.discovery._changed

        def broken() -> None:
            raise RuntimeError("no tables today")

        runtime.discovery._changed = broken
        names.records = ["10.0.0.2"]
        wait_until(lambda: "no tables today" in caplog.text)
        assert "following the name api.test failed" in caplog.text
        assert servers(balancer) == {"10.0.0.1"}
        runtime.discovery._changed = right
        wait_until(lambda: servers(balancer) == {"10.0.0.2"})


def test_a_name_whose_servers_are_all_lost_is_asked_for_before_its_ttl(
    names: NameServer, origins: list[Origin]
) -> None:
    names.records = ["127.0.0.1"]
    names.ttl = 600
    balancer = make(names, origins)
    with balancer.background():
        site = Site(balancer, balancer.listeners["l"])
        origins[0].listener.close()
        names.records = ["127.0.0.2"]
        assert site.connect().recv(1) == b""        # nobody could be connected to
        wait_until(lambda: servers(balancer) == {"127.0.0.2"})
        wait_until(lambda: is_reached(site, origins[1]))    # (engines hear of it a little later)
        site.wait_idle()


def is_reached(site: Site, origin: Origin) -> bool:
    with site.connect() as client:
        ready = select.select([client, origin.listener], [], [], DEADLINE_S)[0]
        if origin.listener not in ready:
            return False                            # it was closed: nobody could be connected to
        origin.accept().close()
        return True


def next_client(peer: Origin) -> socket.socket:
    """The next connection that is no health check, which is reset at once."""
    while True:
        server = peer.accept()
        try:
            if server.recv(1, socket.MSG_PEEK):
                return server
        except ConnectionResetError:
            pass
        server.close()


def test_localhost_is_reached_where_only_one_of_its_addresses_listens(
    caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    peer = Origin(socket.AF_INET6)
    port = peer.listener.getsockname()[1]
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("p", [f"localhost:{port}"], health={
        "tcp": True, "interval": "50ms", "timeout": "30s"})
    balancer.listen("tcp://127.0.0.1:0", name="l", pool=pool)
    with balancer.background():
        site = Site(balancer, balancer.listeners["l"])
        for _ in range(3):
            client = site.connect()
            client.sendall(b"hello")
            server = next_client(peer)
            assert server.recv(5) == b"hello"
            client.close()
            server.close()
        stats = pool.stats()
        assert list(stats) == [f"127.0.0.1:{port}"]
        assert stats[f"127.0.0.1:{port}"]["connect_failures"] == 0
        wait_until(lambda: pool.servers[f"127.0.0.1:{port}"].state == "up")
        assert "is down" not in caplog.text
        site.wait_idle()
    peer.close()
