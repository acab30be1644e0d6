"""Lists of networks: who is denied, where, and how a list is replaced."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import fastlb
from fastlb.errors import ConfigError
from fastlb.testing import TestBalancer
from tests.flow.conftest import DEADLINE_S, Origin, Site, wait_until
from tests.flow.proxied.headers import begin

pytestmark = pytest.mark.plain

OTHER = "127.0.0.2"             # a client that lists are about; others come from 127.0.0.1


@pytest.fixture(params=[0, 2], ids=["inline", "threads"])
def made(request: pytest.FixtureRequest) -> Iterator[TestBalancer]:
    with TestBalancer(threads=request.param) as balancer:
        yield balancer


def from_other(url: str, source: str = OTHER) -> socket.socket:
    host, _, port = url.partition("://")[2].rpartition(":")
    return socket.create_connection((host, int(port)), DEADLINE_S, (source, 0))


def is_denied(url: str, source: str = OTHER) -> bool:
    """Whether the connection is closed without a word."""
    with from_other(url, source) as client:
        try:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return client.recv(4096) == b""
        except ConnectionError:
            return True


def status(url: str, source: str = OTHER, **headers: str) -> int:
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(transport=transport, trust_env=False) as client:
        return client.get(url, headers=headers).status_code


def web(made: TestBalancer, **keys: Any) -> fastlb.Listener:
    return made.listen(pool=made.pool(servers=[made.origin()]), **keys)


# --- at accept ---

@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_denied_client_is_closed_and_others_are_served(made: TestBalancer, scheme: str) -> None:
    origin = made.origin()
    site = made.listen(f"{scheme}://127.0.0.1:0", pool=made.pool(servers=[origin]), deny=OTHER)
    assert is_denied(site.url)
    assert status(site.url.replace("tcp", "http"), "127.0.0.1") == 200
    assert len(origin.requests) == 1
    assert totals(made)["ended_denied"] == 1


def totals(made: TestBalancer) -> dict[str, int]:
    runtime = made.balancer._instance.running()
    found: dict[str, int] = {}
    for engine in runtime.engines.all:
        for name, n in engine.totals().items():
            found[name] = found.get(name, 0) + n
    return found


def test_allow_serves_nobody_else(made: TestBalancer) -> None:
    site = web(made, allow=["10.0.0.0/8", "127.0.0.1"])
    assert is_denied(site.url)
    assert status(site.url, "127.0.0.1") == 200


def test_deny_comes_before_allow(made: TestBalancer) -> None:
    site = web(made, allow="127.0.0.0/8", deny="127.0.0.2/31")
    assert [is_denied(site.url, f"127.0.0.{i}") for i in (1, 2, 3, 4)] == [
        False, True, True, False]


def test_denied_client_sees_no_handshake(
    site: Callable[..., Site], origin: Origin, pair: tuple[str, str]
) -> None:
    cert, key = pair
    made = site([origin.address], bind="tls://127.0.0.1:0", deny=OTHER,
                tls={"certificates": [{"cert": cert, "key": key}]})
    assert is_denied(made.listener.url)
    assert made.totals()["handshakes"] == made.totals()["handshakes_failed"] == 0


def test_report_serves_and_counts(made: TestBalancer) -> None:
    made.balancer.network("bad", cidrs=[OTHER])
    site = web(made, deny={"networks": "bad", "report": True})
    assert status(site.url) == status(site.url, "127.0.0.1") == 200
    assert totals(made)["denials_reported"] == 1
    assert made.balancer.networks["bad"].stats() == {
        "entries": 1, "added": 0, "denied": 0, "reported": 1}


def test_report_of_one_list_leaves_the_other_alone(made: TestBalancer) -> None:
    site = web(made, deny={"networks": "127.0.0.2", "report": True}, allow="127.0.0.0/30")
    other = web(made, deny="127.0.0.2", allow={"networks": "127.0.0.3", "report": True})
    for at, expected in ((site, [False, False, False, True]), (other, [False, True, False, False])):
        assert [is_denied(at.url, f"127.0.0.{i}") for i in (1, 2, 3, 4)] == expected
    rules = [made.balancer.explain("GET", at.url, client=f"127.0.0.{i}:1").answer
             for at in (site, other) for i in (1, 2, 3, 4)]
    assert [one is not None and one.reason == "denied" for one in rules] == [
        False, False, False, True, False, True, False, False]


def test_client_that_no_proxy_speaks_for_is_denied_at_once(
    site: Callable[..., Site], origin: Origin
) -> None:
    """It can't become somebody else: it isn't waited for, and has no place."""
    made = site([origin.address], deny=OTHER, max_connections_per_source=1, proxy_protocol={
        "trusted": ["127.0.0.9"], "timeout": "10m"})
    with from_other(made.listener.url) as client:
        assert client.recv(1) == b""
    first = from_other(made.listener.url, "127.0.0.3")
    with from_other(made.listener.url, "127.0.0.3") as second:
        assert second.recv(1) == b""
    first.sendall(b"first")
    assert origin.accept().recv(10) == b"first"
    assert made.totals()["ended_denied"] == made.totals()["ended_source_full"] == 1
    first.close()


def test_client_is_the_one_that_a_proxy_tells_of(
    site: Callable[..., Site], origin: Origin
) -> None:
    made = site([origin.address], deny="192.0.2.0/24", proxy_protocol={"trusted": ["127.0.0.1"]})
    assert begin(made, b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n").recv(10) == b""
    assert begin(made, b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n").recv(10) == b""
    assert made.totals()["ended_denied"] == 2
    client = begin(made, b"PROXY TCP4 192.0.3.7 10.0.0.1 1 2\r\nhello")
    assert origin.accept().recv(10) == b"hello"
    client.close()


def test_unix_clients_have_no_address(
    site: Callable[..., Site], origin: Origin, tmp_path: Path
) -> None:
    made = site([origin.address], bind=f"tcp://unix:{tmp_path}/s", allow="10.0.0.0/8")
    client = made.connect()
    client.sendall(b"hello")
    assert origin.accept().recv(10) == b"hello"


def test_datagrams_are_dropped(made: TestBalancer) -> None:
    origin = made.udp_origin()
    site = made.listen("udp://127.0.0.1:0", pool=made.pool(servers=[origin]), deny=OTHER)
    where = ("127.0.0.1", int(site.url.rpartition(":")[2]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as denied, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as served:
        denied.bind((OTHER, 0))
        denied.sendto(b"denied", where)
        served.settimeout(DEADLINE_S)
        served.sendto(b"served", where)
        assert served.recv(100) == b"served"
        wait_until(lambda: totals(made)["dropped_denied"] == 1)
    assert [got.data for got in origin.received] == [b"served"]


# --- on routes ---

def test_route_answers_403(made: TestBalancer) -> None:
    origin = made.origin()
    pool = made.pool("p", servers=[origin])
    site = made.listen(pool=pool, routes=[
        {"name": "admin", "match": {"path": "/admin/*"}, "pool": "p", "allow": "127.0.0.1"},
        {"name": "old", "match": {"path": "/old"}, "redirect": "/", "deny": OTHER}])
    for path in ("admin/x", "old"):
        transport = httpx.HTTPTransport(local_address=OTHER)
        with httpx.Client(transport=transport) as client:
            got = client.get(f"{site.url}/{path}")
        assert (got.status_code, got.headers["x-fastlb-error"]) == (403, "denied")
    assert status(f"{site.url}/admin/x", "127.0.0.1") == 200
    assert status(f"{site.url}/old", "127.0.0.1") == 302
    assert status(f"{site.url}/other") == 200


def test_route_goes_by_whom_trusted_proxies_saw(made: TestBalancer) -> None:
    site = web(made, forwarded={"trusted": ["127.0.0.1"]}, routes=[
        {"name": "all", "respond": {"body": "ok"}, "deny": "192.0.2.0/24"},
    ])
    assert status(site.url, "127.0.0.1", **{"x-forwarded-for": "192.0.2.7"}) == 403
    assert status(site.url, "127.0.0.1", **{"x-forwarded-for": "[::ffff:192.0.2.7]:80"}) == 403
    assert status(site.url, "127.0.0.1", **{"x-forwarded-for": "192.0.3.7"}) == 200
    assert status(site.url, "127.0.0.1", **{"x-forwarded-for": "unknown"}) == 200
    assert status(site.url, OTHER, **{"x-forwarded-for": "192.0.2.7"}) == 200


def test_allow_denies_a_client_whose_address_is_hidden(made: TestBalancer) -> None:
    site = web(made, forwarded={"trusted": ["127.0.0.1"]}, routes=[
        {"name": "all", "respond": {"body": "ok"}, "allow": "0.0.0.0/0"}])
    assert status(site.url, "127.0.0.1", **{"x-forwarded-for": "192.0.2.7"}) == 200
    assert status(site.url, "127.0.0.1", **{"x-forwarded-for": "unknown"}) == 403


def test_unix_client_speaks_for_itself_beside_trusted_proxies(
    made: TestBalancer, tmp_path: Path
) -> None:
    site = made.listen(f"http://unix:{tmp_path}/s", forwarded={"trusted": ["127.0.0.1"]}, routes=[
        {"name": "all", "respond": {"body": "ok"}, "allow": "10.0.0.0/8"}])
    assert site.url
    with httpx.Client(transport=httpx.HTTPTransport(uds=f"{tmp_path}/s")) as client:
        assert client.get("http://a/").status_code == 200
        for who, expected in (("10.0.0.1", 200), ("192.0.2.1", 403)):
            got = client.get("http://a/", headers={"x-forwarded-for": who})
            assert got.status_code == expected


def test_match_chooses_a_route_by_a_set(made: TestBalancer) -> None:
    made.balancer.network("office", cidrs=["127.0.0.0/30"])
    site = web(made, routes=[
        {"name": "in", "match": {"client": {"network": "office"}}, "respond": {"status": 201}},
        {"name": "out", "match": {"not": {"client": {"network": ["office"]}}},
         "respond": {"status": 202}}])
    assert [status(site.url, f"127.0.0.{i}") for i in (1, 3, 4)] == [201, 201, 202]


# --- sources ---

def site_of_file(made: TestBalancer, path: Path) -> fastlb.Listener:
    made.balancer.network("bad", file=str(path), refresh="1s")
    return web(made, deny="bad")


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_file_is_read_again_when_it_changes(made: TestBalancer, tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("# nobody of ours\n192.0.2.0/24\n")
    site = site_of_file(made, path)
    assert not is_denied(site.url)
    replace(path, "127.0.0.2 - 127.0.0.9\n")
    made.clock.advance("1s")
    wait_until(lambda: is_denied(site.url))
    replace(path, "192.0.2.0/24\n")
    made.clock.advance("1s")
    wait_until(lambda: not is_denied(site.url))


@pytest.mark.parametrize(("text", "why"), [
    (None, "can't be read: No such file or directory"),
    ("127.0.0.1\nnonsense\n127.0.0.0/99\n", "no networks in line 2, 3"),
    ("# nobody\n", "is empty"),
])
def test_broken_file_keeps_the_set(
    made: TestBalancer, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None,
    why: str,
) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(f"{OTHER}\n")
    site = site_of_file(made, path)
    assert is_denied(site.url)
    path.unlink()
    if text is not None:
        replace(path, text)
    for _ in range(3):
        made.clock.advance("1s")
    wait_until(lambda: why in caplog.text)
    assert is_denied(site.url)
    assert caplog.text.count(why) == 1 and "the set stays as it was (entries: 1)" in caplog.text
    replace(path, "192.0.2.1\n")
    made.clock.advance("1s")
    wait_until(lambda: not is_denied(site.url))


@pytest.mark.parametrize(("text", "why"), [
    (None, "can't be read"), ("x\n", "no networks in line 1"),
])
def test_broken_file_is_an_error_at_start(tmp_path: Path, text: str | None, why: str) -> None:
    path = tmp_path / "bad.txt"
    if text is not None:
        path.write_text(text)
    balancer = fastlb.Balancer(threads=1, networks={"bad": {"file": str(path)}})
    balancer.listen("http://127.0.0.1:0", pool=balancer.pool("p", ["127.0.0.1:9"]), deny="bad")
    with pytest.raises(ConfigError, match=why) as raised, balancer.background():
        pass
    assert raised.value.problems[0].path == "networks.bad.file"


def test_reload_takes_another_source(made: TestBalancer, tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(f"{OTHER}\n")
    site = site_of_file(made, path)
    assert is_denied(site.url)
    config = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    config["networks"]["bad"] = {"cidrs": ["127.0.0.3"]}
    reload(made, config)
    assert [is_denied(site.url, f"127.0.0.{i}") for i in (2, 3)] == [False, True]
    path.write_text("127.0.0.4\n")
    config["networks"]["bad"] = {"file": str(path), "refresh": "1d"}
    reload(made, config)
    path.write_text("127.0.0.3\n# changed\n")
    reload(made, config)                # (which reads it again, whatever `refresh` says)
    assert [is_denied(site.url, f"127.0.0.{i}") for i in (3, 4)] == [True, False]
    path.write_text("127.0.0.3\nnonsense\n")
    with pytest.raises(ConfigError, match="no networks in line 2"):
        reload(made, config)
    config["networks"]["bad"] = {"file": str(tmp_path / "none")}
    with pytest.raises(ConfigError, match="can't be read"):
        reload(made, config)
    assert [is_denied(site.url, f"127.0.0.{i}") for i in (2, 3)] == [False, True]


def reload(made: TestBalancer, config: dict[str, Any]) -> None:
    asyncio.run(made.balancer.reload(fastlb.Config.build(config)))


# --- while running ---

def test_added_network_is_denied_until_its_time_is_over(made: TestBalancer) -> None:
    made.balancer.network("bad", cidrs=[])
    site = web(made, deny="bad")
    assert not is_denied(site.url)
    bad = made.balancer.networks["bad"]
    bad.add("127.0.0.2/32", ttl="10m")
    bad.add("127.0.0.3")
    assert [is_denied(site.url, f"127.0.0.{i}") for i in (1, 2, 3)] == [False, True, True]
    assert OTHER in bad and "127.0.0.1" not in bad
    made.clock.advance("9m")
    assert is_denied(site.url)
    made.clock.advance("1m")
    wait_until(lambda: not is_denied(site.url))
    bad.remove("127.0.0.3")
    assert not is_denied(site.url, "127.0.0.3")
    assert bad.stats()["added"] == 0 and bad.stats()["denied"] >= 3
    with pytest.raises(KeyError):
        bad.remove("127.0.0.3")
    with pytest.raises(ValueError, match="is not a network"):
        bad.add("example.com")
    with pytest.raises(ValueError, match="ttl"):
        bad.add("127.0.0.3", ttl="soon")
    with pytest.raises(KeyError, match="there is no set of networks 'worse'; there are: bad"):
        made.balancer.networks["worse"]


def test_added_networks_go_with_their_set(made: TestBalancer) -> None:
    made.balancer.network("bad", cidrs=["127.0.0.9"])
    site = web(made, deny="bad")
    held = made.connect(site)           # (it keeps the snapshot, and so the set)
    held.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
    bad = made.balancer.networks["bad"]
    bad.add(OTHER)
    assert is_denied(site.url)
    config = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    without = {name: value for name, value in config.items() if name != "networks"}
    reload(made, {**without, "listeners": {site.name: {
        **config["listeners"][site.name], "deny": "127.0.0.9"}}})
    with pytest.raises(KeyError, match="there is no set of networks 'bad'"):
        bad.add(OTHER)
    reload(made, config)
    assert not is_denied(site.url)
    assert made.balancer.networks["bad"].stats()["added"] == 0


def test_added_networks_outlive_reloads(made: TestBalancer) -> None:
    made.balancer.network("bad", cidrs=["127.0.0.9"])
    site = web(made, deny="bad")
    assert not is_denied(site.url)
    made.balancer.networks["bad"].add(OTHER)
    config = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    config["networks"]["bad"] = {"cidrs": ["127.0.0.8"]}
    reload(made, config)
    assert [is_denied(site.url, f"127.0.0.{i}") for i in (2, 8, 9)] == [True, True, False]


def test_sets_are_replaced_under_load(made: TestBalancer) -> None:
    """Clients of 127.0.0.2 are always in the set, and those of 127.0.0.1 never."""
    made.balancer.network("bad", cidrs=["127.0.0.2"])
    site = web(made, deny="bad")
    assert is_denied(site.url)
    over = threading.Event()
    wrong: list[str] = []

    def ask() -> None:
        while not over.is_set():
            if not is_denied(site.url):
                wrong.append(OTHER)
            if is_denied(site.url, "127.0.0.1"):
                wrong.append("127.0.0.1")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    bad = made.balancer.networks["bad"]
    for n in range(200):
        bad.add(f"10.{n % 7}.{n}.0/24")
    for n in range(200):
        bad.remove(f"10.{n % 7}.{n}.0/24")
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    sets = made.balancer._instance.running().networks
    wait_until(lambda: not sets._retiring)


# --- what is said of it ---

def test_explain_says_which_list_denies(made: TestBalancer) -> None:
    made.balancer.network("bad", cidrs=["192.0.2.0/24"])
    site = web(made, deny=["bad", "198.51.100.0/24"], routes=[
        {"name": "r", "match": {"path": "/r"}, "respond": {"status": 204},
         "deny": "203.0.113.0/24"}])

    def answer(path: str, client: str) -> Any:
        return made.balancer.explain("GET", f"{site.url}{path}", client=client).answer

    assert answer("/", "192.0.2.9:1").rule == (
        f"192.0.2.9 is in bad, which listener {site.name} denies")
    assert answer("/", "198.51.100.9:1").rule.startswith("198.51.100.9 is in 198.51.100.0/24")
    assert answer("/", "[::ffff:192.0.2.9]:1").reason == "denied"
    assert (answer("/r", "203.0.113.9:1").status, answer("/r", "203.0.113.9:1").reason) == (
        403, "denied")
    assert answer("/r", "10.0.0.1:1").status == 204
    shown = made.balancer.explain("GET", f"{site.url}/r", client="10.0.0.1:1")
    assert shown.services == ("denied are clients of 203.0.113.0/24",)
