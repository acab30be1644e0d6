"""What /metrics would say, after requests whose number is known."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

import fastlb
from fastlb.observe.families import METRICS
from fastlb.observe.metrics import Metrics
from fastlb.observe.status import status
from tests.flow.conftest import Origin, Site, read_exactly, read_to_end
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get


class Scraped:
    """Samples by name and labels."""

    def __init__(self, balancer: fastlb.Balancer) -> None:
        runtime = balancer._instance.runtime
        assert runtime is not None
        runtime.engines.settle()
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self.types: dict[str, str] = {}
        for family in text_string_to_metric_families(Metrics(runtime).render().decode()):
            self.types[family.name] = family.type
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, key
                self.samples[key] = sample.value

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def sum(self, name: str) -> float:
        return sum(value for (one, _), value in self.samples.items() if one == name)


ROUTES = [
    {"name": "docs", "match": {"path": "/docs/*"}, "pool": "pool"},
    {"name": "odd", "match": {"path": "/odd"}, "respond": {"status": 418}},
]


def test_requests_are_counted_by_listener_route_pool_and_code(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    site = web([origins().address], routes=ROUTES)
    for path in ("/docs/1", "/docs/2", "/docs/3", "/odd", "/odd", "/else"):
        site.ask(get(path))
    found = Scraped(site.site.balancer)
    name = "fastlb_requests_total"
    assert found(name, listener="listener", route="docs", pool="pool", code="200") == 3
    assert found(name, listener="listener", route="odd", pool="", code="418") == 2
    assert found(name, listener="listener", route="", pool="pool", code="200") == 1
    assert found.sum(name) == 6
    times = {"listener": "listener", "route": "docs", "pool": "pool"}
    assert found("fastlb_request_duration_seconds_count", **times) == 3
    assert found("fastlb_request_duration_seconds_bucket", **times, le="+Inf") == 3
    assert (found("fastlb_request_duration_seconds_sum", **times) or 0) > 0


def test_what_was_no_request_has_no_route_and_no_pool(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    site = web([origins().address])
    for bad in (b"GET / HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n", get("/", "X: " + "a" * 40_000)):
        assert site.ask(bad).status in (400, 431)
    found = Scraped(site.site.balancer)
    for code, n in (("400", 2), ("431", 1)):
        assert found("fastlb_requests_total", listener="listener", route="", pool="",
                     code=code) == n


def test_an_answer_that_is_cut_counts_as_none(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    def cut(wire: Wire, request: Message) -> bool:
        wire.send(answer(b"x" * 100)[:-50])
        return False

    site = web([origins(cut).address])
    wire = site.client()
    wire.send(get())
    wire.to_end()
    found = Scraped(site.site.balancer)
    assert found("fastlb_requests_total", listener="listener", route="", pool="pool",
                 code="0") == 1


def test_tcp_sessions_are_counted_by_reason(
    site: Callable[..., Site], origin: Origin
) -> None:
    made = site([origin.address])
    for _ in range(3):
        client, server = made.pair(origin)
        client.sendall(b"12345")
        assert read_exactly(server, 5) == b"12345"
        server.sendall(b"123")
        server.close()
        assert read_to_end(client) == b"123"
        client.close()
    made.wait_idle()
    found = Scraped(made.balancer)
    assert found("fastlb_sessions_total", listener="listener", route="", pool="pool",
                 reason="done") == 3
    assert found("fastlb_session_duration_seconds_count", listener="listener", route="",
                 pool="pool") == 3
    assert found("fastlb_listener_received_bytes_total", listener="listener") == 15
    assert found("fastlb_listener_sent_bytes_total", listener="listener") == 9
    where = {"pool": "pool", "server": origin.address}
    assert found("fastlb_server_sent_bytes_total", **where) == 15
    assert found("fastlb_server_received_bytes_total", **where) == 9


def test_sums_are_exact_over_threads_and_reloads(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    site = web([origins().address, origins().address])
    runtime = site.site.balancer._instance.runtime
    assert runtime is not None and runtime.loop is not None

    def ask() -> None:
        wire = site.client()
        for _ in range(50):
            wire.send(get())
            wire.response()
        wire.close()

    for _ in range(3):
        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        runtime.loop.call_soon_threadsafe(runtime.update)
    found = Scraped(site.site.balancer)
    assert found("fastlb_requests_total", listener="listener", route="", pool="pool",
                 code="200") == 600
    assert found.sum("fastlb_server_requests_total") == 600
    assert found.sum("fastlb_server_first_byte_seconds_count") == 600


def test_every_metric_is_typed_and_in_the_documentation(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    site = web([origins().address])
    site.ask(get())
    found = Scraped(site.site.balancer)
    for name, kind in found.types.items():
        assert METRICS[name + "_total" if kind == "counter" else name][0] == kind
    text = (Path(__file__).parents[3] / "docs" / "observe.md").read_text()
    for name, (kind, meaning) in METRICS.items():
        assert f"| `{name}` | {kind} | {meaning} |" in text


def test_status_says_what_the_metrics_say(
    web: Callable[..., HttpSite], origins: Callable[..., HttpOrigin]
) -> None:
    origin = origins()
    site = web([origin.address], routes=ROUTES)
    for _ in range(5):
        site.ask(get("/docs/1"))
    runtime = site.site.balancer._instance.runtime
    assert runtime is not None
    runtime.engines.settle()
    said = status(runtime)
    (route,) = said["routes"]
    assert (route["route"], route["pool"], route["codes"]) == ("docs", "pool", {"200": 5})
    assert route["requests"] == route["latency"]["count"] == 5
    assert 0 < route["latency"]["p50"] <= route["latency"]["p99.9"]
    (server,) = said["pools"][0]["servers"]
    assert (server["address"], server["state"], server["weight"]) == (origin.address, "up", 1)
    assert (server["requests"], server["errors"], server["in_flight"]) == (5, 0, 0)
    assert server["latency"]["count"] == 5
    (listener,) = said["listeners"]
    assert (listener["name"], listener["mode"]) == ("listener", "http")
    assert listener["addresses"] == site.site.listener.urls

