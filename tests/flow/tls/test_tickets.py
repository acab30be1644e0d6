"""Sessions go on over reloads, rotations of keys, and processes that share them."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Site
from tests.flow.http.peers import HttpOrigin
from tests.flow.tls.pairs import Pair, connect
from tests.flow.tls.turns import all_is_heard

Serving = Callable[..., fastlb.Balancer]


def context() -> ssl.SSLContext:
    """Of TLS 1.2, where a session is there with the handshake."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    return made


CONTEXT = context()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """Starts a balancer with these `tickets`."""
    pair = Pair(tmp_path)
    with ExitStack() as stack:
        origin = HttpOrigin()
        stack.callback(origin.close)

        def start(tickets: Any = True) -> fastlb.Balancer:
            balancer = fastlb.Balancer(threads=2)
            balancer.pool("pool", [origin.address])
            balancer.listen("https://127.0.0.1:0", name="web", pool="pool",
                            tls={**pair.tls, "handshake_timeout": "10m", "tickets": tickets})
            stack.enter_context(balancer.background())
            return balancer

        yield start


def begin(balancer: fastlb.Balancer) -> ssl.SSLSession:
    with connect(balancer.listeners["web"].port, CONTEXT) as client:
        assert client.session is not None
        return client.session


def goes_on(balancer: fastlb.Balancer, session: ssl.SSLSession) -> bool:
    with connect(balancer.listeners["web"].port, CONTEXT, session) as client:
        return bool(client.session_reused)


def are_heard(balancer: fastlb.Balancer) -> None:
    """The keys that are in use now, by all engines."""
    all_is_heard(Site(balancer, balancer.listeners["web"]))


def rotate(balancer: fastlb.Balancer, times: int) -> None:
    runtime = balancer._instance.runtime
    assert runtime is not None and runtime.loop is not None
    for _ in range(times):
        rotated = threading.Event()
        runtime.loop.call_soon_threadsafe(runtime.securing._rotate)
        runtime.loop.call_soon_threadsafe(rotated.set)
        assert rotated.wait(DEADLINE_S)
    are_heard(balancer)


def test_a_session_goes_on_after_a_reload_and_two_rotations(serving: Serving) -> None:
    balancer = serving()
    session = begin(balancer)
    assert goes_on(balancer, session)
    config = balancer.config
    asyncio.run(balancer.reload(config.model_copy(update={"zone": "a"})))
    assert goes_on(balancer, session)
    rotate(balancer, 2)
    assert goes_on(balancer, session)
    rotate(balancer, 1)
    assert not goes_on(balancer, session)


def test_without_tickets_none_goes_on(serving: Serving) -> None:
    balancer = serving(tickets=False)
    with connect(balancer.listeners["web"].port, CONTEXT) as client:
        session = client.session
    assert session is None or not session.has_ticket


def test_processes_that_share_keys_take_each_others_sessions(
    serving: Serving, tmp_path: Path
) -> None:
    (tmp_path / "k1").write_bytes(b"1" * 16 + b"a" * 64)
    (tmp_path / "k2").write_bytes(b"2" * 16 + b"b" * 64)
    old, new = str(tmp_path / "k1"), str(tmp_path / "k2")
    before = serving({"keys": [old]})
    between = serving({"keys": [new, old]})
    after = serving({"keys": [new]})
    session = begin(before)
    assert goes_on(before, session)
    assert goes_on(between, session)
    assert not goes_on(after, session)
    assert goes_on(after, begin(between))


def test_a_key_that_was_taken_away_is_not_taken_any_more(
    serving: Serving, tmp_path: Path
) -> None:
    (tmp_path / "k1").write_bytes(b"1" * 80)
    balancer = serving({"keys": [str(tmp_path / "k1")]})
    session = begin(balancer)
    tls = balancer.config.listeners["web"].tls
    assert tls is not None
    raw = {**balancer.config.model_dump(exclude_unset=True)}
    raw["listeners"]["web"]["tls"]["tickets"] = True
    asyncio.run(balancer.reload(fastlb.Config.build(raw)))
    are_heard(balancer)
    assert not goes_on(balancer, session)
    assert goes_on(balancer, begin(balancer))
