"""Records for programs."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fastlb.observe.records import Record
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get


def recording(site: HttpSite):  # type: ignore[no-untyped-def]
    runtime = site.site.balancer._instance.runtime
    assert runtime is not None
    return runtime.recording


def test_what_a_client_has_been_answered_is_recorded(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    origin = origins()
    site = web([origin.address])
    with site.site.balancer.records() as records:
        wire = site.client()
        for i in range(100):
            wire.send(get(f"/{i}"))
            wire.response()
            (record,) = records.take()
            assert (record.path, record.status, record.server) == (f"/{i}", 200, origin.address)
        assert records.take() == []
        wire.close()


def test_each_try_is_told(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    def slam(wire: Wire, request: Message) -> bool:
        return False

    def busy(wire: Wire, request: Message) -> None:
        wire.send(answer(b"", "503 Busy"))

    bad, worse, good = origins(slam), origins(busy), origins()
    site = web([bad.address, worse.address, good.address],
               pool={"retry": {"attempts": 3, "on": ["reset", "503"], "budget": "100%"}})
    with site.site.balancer.records() as records:
        assert site.ask(get()).status == 200
        (record,) = records.take()
    assert record.server == good.address and record.reason == "done"
    assert [(one.server, one.outcome) for one in record.tries] == [
        (bad.address, "server_closed"), (worse.address, "503"), (good.address, "response"),
    ]
    assert record.attempts == 3
    assert all(0 <= one.duration <= record.duration + 0.001 for one in record.tries)


def test_subscribers_have_the_same_and_those_who_left_have_no_more(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    site = web([origins().address])
    first, second = site.site.balancer.records(), site.site.balancer.records()
    site.ask(get("/1"))
    assert first.take() == second.take() != []
    second.close()
    site.ask(get("/2"))
    assert [record.path for record in first.take()] == ["/2"]
    assert second.take() == []
    first.close()


def test_iterating_waits_and_ends_with_the_balancer(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    site = web([origins().address])
    records = site.site.balancer.records()
    found: list[Record] = []
    reading = threading.Thread(target=lambda: found.extend(records))
    reading.start()
    for i in range(10):
        site.ask(get(f"/{i}"))
    site.site.balancer.stop().wait()
    reading.join()
    assert sorted(record.path for record in found) == [f"/{i}" for i in range(10)]


def test_nobody_asked_so_nothing_is_made(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    site = web([origins().address])
    site.ask(get())
    assert recording(site).totals() == {"records": 0, "dropped": 0, "lines": 0, "lost": 0}
