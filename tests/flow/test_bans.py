"""Sources that are denied too often are banned by themselves."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import Origin, Site, wait_until
from tests.flow.http.conftest import origins
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get
from tests.flow.proxied.headers import begin
from tests.flow.test_tarpit import is_closed, metrics_of

__all__ = ["origins"]
pytestmark = pytest.mark.plain

Make = Callable[..., Site]
BAN = {"networks": "bad", "after": "3 denials/m", "for": "10m"}
HERE = {"proxy_protocol": {"trusted": ["127.0.0.1"]}}


def config(address: str, networks: Any = (), **keys: Any) -> fastlb.Config:
    return fastlb.Config.build({
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "p", "deny": "bad",
                              **HERE, **keys}},
        "pools": {"p": {"servers": [address]}},
        "networks": {"bad": {"cidrs": list(networks)}},
    })


def serve(wire: Wire, request: Message) -> None:
    wire.send(answer(b"ok"))


def client_of(made: Site, source: str = "192.0.2.7") -> socket.socket:
    family, ours = ("TCP6", "::1") if ":" in source else ("TCP4", "10.0.0.1")
    return begin(made, f"PROXY {family} {source} {ours} 1 2\r\n".encode())


def status(made: Site, source: str = "192.0.2.7", path: str = "/") -> int:
    """Of one request; 0: the connection is closed."""
    with client_of(made, source) as client:
        wire = Wire(client)
        try:
            wire.send(get(path))
            return wire.response().status
        except (OSError, EOFError):
            return 0


def added(made: Site) -> dict[str, float | None]:
    runtime = made.balancer._instance.running()

    async def look() -> dict[str, float | None]:
        return runtime.networks.added("bad")

    assert runtime.loop is not None
    return asyncio.run_coroutine_threadsafe(look(), runtime.loop).result()


def totals(made: Site) -> dict[str, int]:
    runtime = made.balancer._instance.running()
    return next(outcomes for _, _, outcomes in runtime.bans.totals())


@pytest.mark.modes("inline", "threads")
def test_source_is_banned_after_so_many_denials(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = site([], config=config(
        origins(serve).address, ban=BAN, routes=[
            {"name": "admin", "match": {"path": "/admin"}, "pool": "p", "allow": "10.0.0.0/8"}]))
    assert [status(made, path="/admin") for _ in range(2)] == [403, 403]
    assert status(made) == 200
    assert added(made) == {}
    assert status(made, path="/admin") == 403
    wait_until(lambda: [*added(made)] == ["192.0.2.7/32"])
    wait_until(lambda: status(made) == 0)
    assert status(made, "192.0.2.8") == 200
    made.advance("10m")
    assert status(made) == 200
    assert totals(made)["banned"] == 1


def test_denials_are_forgotten_in_time(site: Make, origins: Callable[..., HttpOrigin]) -> None:
    made = site([], config=config(origins(serve).address, ban=BAN, allow="192.0.2.8"))
    for _ in range(6):
        assert status(made) == 0
        made.advance("20s")
    assert added(made) == {} and totals(made)["banned"] == 0


def test_ban_does_not_last_longer_by_trying_again(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = site([], config=config(
        origins(serve).address, ban={**BAN, "after": "1 denial/m"}, rate_limit={"limit": "1/h"}))
    assert [status(made), status(made)] == [200, 429]
    wait_until(lambda: status(made) == 0)
    made.advance("9m")
    assert [status(made) for _ in range(10)] == [0] * 10
    made.advance("1m")
    assert status(made) == 429          # (it is let in again, and is beyond its rate)


@pytest.mark.parametrize(("keys", "expected"), [
    ({"rate_limit": {"limit": "1/d"}}, [200, 429, 429, 429]),
    ({"max_connection_rate_per_source": "1/d"}, [200, 0, 0, 0]),
    ({"deny": ["bad", "192.0.2.0/24"]}, [0, 0, 0]),
    ({"allow": "198.51.100.0/24"}, [0, 0, 0]),
], ids=["rate-limit", "connection-rate", "deny", "allow"])
def test_refusals_of_each_kind_count(
    site: Make, origins: Callable[..., HttpOrigin], keys: dict[str, Any], expected: list[int]
) -> None:
    made = site([], config=config(origins(serve).address, ban=BAN, **keys))
    for one in expected:
        assert added(made) == {}
        assert status(made) == one
    wait_until(lambda: [*added(made)] == ["192.0.2.7/32"])


def test_source_of_ipv6_is_banned_with_its_64(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = site([], config=config(
        origins(serve).address, ban=BAN, rate_limit={"limit": "1/d"}))
    sources = ["2001:db8::1", "2001:db8::2", "2001:db8::3:4", "2001:db8::5"]
    assert [status(made, one) for one in sources] == [200, 429, 429, 429]
    wait_until(lambda: [*added(made)] == ["2001:db8::/64"])
    wait_until(lambda: status(made, "2001:db8::ffff") == 0)
    assert status(made, "2001:db8:0:1::1") == 200


def test_client_is_the_one_that_trusted_proxies_saw(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = site([], config=config(
        origins(serve).address, ban=BAN, forwarded={"trusted": ["10.1.0.0/16"]},
        rate_limit={"limit": "1/d"}))

    def ask(who: str) -> int:
        with client_of(made, "10.1.2.3") as client:
            wire = Wire(client)
            wire.send(get("/", f"X-Forwarded-For: {who}"))
            return wire.response().status

    assert [ask("192.0.2.7") for _ in range(4)] == [200, 429, 429, 429]
    wait_until(lambda: [*added(made)] == ["192.0.2.7/32"])


@pytest.mark.parametrize("source", ["127.0.0.1", "10.1.2.3", "::1"])
def test_proxies_and_this_machine_are_never_banned(
    site: Make, origins: Callable[..., HttpOrigin], source: str
) -> None:
    made = site([], config=config(
        origins(serve).address, ban=BAN, deny=["bad", "127.0.0.0/8", "10.0.0.0/8", "::/0"],
        proxy_protocol={"trusted": ["127.0.0.1", "10.1.0.0/16"]}))
    assert [status(made, source) for _ in range(3)] == [0, 0, 0]
    wait_until(lambda: totals(made)["protected"] == 1)
    assert added(made) == {}


def test_report_bans_nobody_and_says_it(
    site: Make, origins: Callable[..., HttpOrigin], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fastlb"):
        made = site([], config=config(
            origins(serve).address, ban={**BAN, "report": True}, rate_limit={"limit": "1/d"}))
        assert [status(made) for _ in range(4)] == [200, 429, 429, 429]
        wait_until(lambda: totals(made)["reported"] == 1)
        assert status(made) == 429
    assert added(made) == {}
    wait_until(lambda: "would be banned" in caplog.text)
    assert [line for line in caplog.messages if "banned" in line] == [
        "listener web: 192.0.2.7 would be banned for 10m after 3 denials"]


def test_ban_is_an_event_a_line_and_a_metric(
    site: Make, origins: Callable[..., HttpOrigin], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fastlb"):
        made = site([], config=config(
            origins(serve).address, ban=BAN, rate_limit={"limit": "1/d"}))
        subscription = made.balancer._instance.running().events.subscribe()
        assert [status(made) for _ in range(4)] == [200, 429, 429, 429]
        wait_until(lambda: totals(made)["banned"] == 1)
    text = "listener web: 192.0.2.7 is banned for 10m after 3 denials (networks bad)"
    # (the line comes a moment after the count)
    wait_until(lambda: "is banned" in caplog.text)
    assert [line for line in caplog.messages if "banned" in line] == [text]
    events = [one for one in subscription._waiting if one is not None and one.state == "banned"]
    assert [one.text for one in events] == [text]
    metrics = metrics_of(made)
    assert 'fastlb_bans_total{listener="web",network="bad",outcome="banned"} 1\n' in metrics


def test_ban_that_was_made_by_hand_for_longer_stays(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = site([], config=config(origins(serve).address, ban=BAN))
    assert status(made) == 200
    runtime = made.balancer._instance.running()
    assert runtime.loop is not None

    async def extend(ttl_s: float | None) -> None:
        if ttl_s is None:
            await runtime.networks.add("bad", "192.0.2.7/32", None)
        else:
            await runtime.networks.extend("bad", "192.0.2.7/32", ttl_s)

    def call(ttl_s: float | None) -> float | None:
        assert runtime.loop is not None
        asyncio.run_coroutine_threadsafe(extend(ttl_s), runtime.loop).result()
        return added(made)["192.0.2.7/32"]

    first, shorter, longer = call(3600.0), call(600.0), call(7200.0)
    assert first is not None and shorter is not None and longer is not None
    assert 3000 < shorter <= first <= 3600 < longer <= 7200
    assert call(None) is None and call(600.0) is None


def test_unban_lets_a_source_in_again(site: Make, origins: Callable[..., HttpOrigin]) -> None:
    made = site([], config=config(
        origins(serve).address, ban={**BAN, "after": "1 denial/d"},
        max_connection_rate_per_source="1/h"))
    assert [status(made), status(made)] == [200, 0]
    wait_until(lambda: [*added(made)] == ["192.0.2.7/32"])
    made.balancer.networks["bad"].remove("192.0.2.7")
    made.advance("1h")
    assert status(made) == 200


def test_explain_says_how_near_a_ban_is(site: Make, origins: Callable[..., HttpOrigin]) -> None:
    made = site([], config=config(origins(serve).address, ban=BAN, rate_limit={"limit": "1/d"}))
    assert [status(made) for _ in range(3)] == [200, 429, 429]
    told = made.balancer.explain("GET", made.listener.url, client="192.0.2.7:1")
    assert told.notes[-1] == (
        "192.0.2.7 was denied 2 of the 3 times after which listener web bans it")


def test_denied_client_of_a_tcp_listener_is_banned(site: Make, origin: Origin) -> None:
    made = site([], config=fastlb.Config.build({
        "listeners": {"web": {"bind": "tcp://127.0.0.1:0", "pool": "p", **HERE, "ban": BAN,
                              "deny": ["bad", "192.0.2.0/24"]}},
        "pools": {"p": {"servers": [origin.address]}}, "networks": {"bad": {"cidrs": []}}}))
    for _ in range(3):
        assert is_closed(client_of(made))
    wait_until(lambda: [*added(made)] == ["192.0.2.7/32"])
