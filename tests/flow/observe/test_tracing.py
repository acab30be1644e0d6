"""Spans, as an exporter of OpenTelemetry gets them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import fastlb
from tests.flow.conftest import Site
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, get
from tests.flow.tls.pairs import Pair, connect

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What the program's own provider exports to."""
    made = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield made
    provider.shutdown()


def spans(
    exporter: InMemorySpanExporter, servers: list[str], requests: list[bytes], sample: str,
    **keys: Any,
) -> list[Any]:
    balancer = fastlb.Balancer(threads=1, tracing={"sample": sample})
    listener = balancer.listen("http://127.0.0.1:0", name="web",
                               pool=balancer.pool("pool", servers), **keys)
    with balancer.background():
        site = HttpSite(Site(balancer, listener))
        for request in requests:
            site.ask(request)
        site.wait_idle()
    return list(exporter.get_finished_spans())


def test_the_client_and_the_server_are_in_one_trace(
    exporter: InMemorySpanExporter, origins: Callable[..., HttpOrigin]
) -> None:
    origin = origins()
    of_try, whole = sorted(
        spans(exporter, [origin.address],
              [get("/a?b=1", f"traceparent: 00-{TRACE}-{SPAN}-01")], "0%"),
        key=lambda span: span.kind.value, reverse=True)
    assert f"{whole.context.trace_id:032x}" == f"{of_try.context.trace_id:032x}" == TRACE
    assert f"{whole.parent.span_id:016x}" == SPAN and whole.parent.is_remote
    assert of_try.parent.span_id == whole.context.span_id
    got = origin.requests[0]["traceparent"]
    assert got == f"00-{TRACE}-{whole.context.span_id:016x}-01"
    assert whole.attributes["http.response.status_code"] == 200
    assert (whole.attributes["url.path"], whole.attributes["url.query"]) == ("/a", "b=1")
    assert whole.attributes["url.scheme"] == "http"
    assert of_try.attributes["fastlb.server"] == origin.address
    assert whole.start_time <= of_try.start_time <= of_try.end_time <= whole.end_time


def test_what_the_client_does_not_sample_is_not_and_goes_on_so(
    exporter: InMemorySpanExporter, origins: Callable[..., HttpOrigin]
) -> None:
    origin = origins()
    assert spans(exporter, [origin.address],
                 [get("/", f"traceparent: 00-{TRACE}-{SPAN}-00")], "100%") == []
    got = origin.requests[0]["traceparent"]
    assert got.startswith(f"00-{TRACE}-") and got.endswith("-00") and SPAN not in got


@pytest.mark.parametrize(("sample", "flag", "n"), [("100%", "01", 2), ("0%", "00", 0)])
def test_a_trace_that_begins_here_is_sampled_as_configured(
    exporter: InMemorySpanExporter, origins: Callable[..., HttpOrigin], sample: str, flag: str,
    n: int,
) -> None:
    origin = origins()
    found = spans(exporter, [origin.address], [get("/")], sample)
    assert len(found) == n
    assert origin.requests[0]["traceparent"].endswith(f"-{flag}")


@pytest.mark.parametrize("bad", [
    f"00-{TRACE.upper()}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01",
    f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}", "nonsense",
])
def test_what_is_no_traceparent_begins_a_new_trace(
    exporter: InMemorySpanExporter, origins: Callable[..., HttpOrigin], bad: str
) -> None:
    origin = origins()
    found = spans(exporter, [origin.address], [get("/", f"traceparent: {bad}")], "100%")
    assert len(found) == 2
    got = origin.requests[0]["traceparent"]
    assert TRACE not in got and len(got) == 55
    assert next(span for span in found if span.kind is trace.SpanKind.SERVER).parent is None


def test_an_answer_of_our_own_has_a_span_too(
    exporter: InMemorySpanExporter, origins: Callable[..., HttpOrigin]
) -> None:
    (whole, *tries) = sorted(
        spans(exporter, ["127.0.0.1:1"], [get("/")], "100%"), key=lambda span: span.kind.value)
    assert whole.attributes["http.response.status_code"] == 503
    assert whole.status.status_code is trace.StatusCode.ERROR
    assert [one.attributes["fastlb.outcome"] for one in tries] == ["connect_refused"]


def test_without_the_sdk_the_configuration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    balancer = fastlb.Balancer(threads=1, tracing={})
    with pytest.raises(fastlb.ConfigError) as found, balancer.background():
        pass
    assert str(found.value).startswith("tracing: opentelemetry-sdk isn't installed; run: pip")


def test_each_try_has_a_span(
    exporter: InMemorySpanExporter, origins: Callable[..., HttpOrigin]
) -> None:
    def slam(wire: Wire, request: Message) -> bool:
        return False

    found = spans(exporter, [origins(slam).address, origins().address], [get("/")], "100%")
    outcomes = [span.attributes["fastlb.outcome"] for span in found
                if span.kind is trace.SpanKind.CLIENT]
    assert outcomes == ["server_closed", "response"]


def test_over_tls_the_scheme_is_https(
    exporter: InMemorySpanExporter, origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    pair = Pair(tmp_path)
    balancer = fastlb.Balancer(threads=1, tracing={"sample": "100%"})
    listener = balancer.listen("https://127.0.0.1:0", name="web", tls=pair.tls,
                               pool=balancer.pool("pool", [origins().address]))
    with balancer.background():
        with connect(listener.port) as client:
            client.sendall(get("/", "connection: close"))
            while client.recv(1 << 16):
                pass
        Site(balancer, listener).wait_idle()
    whole = next(span for span in exporter.get_finished_spans() if span.parent is None)
    assert whole.attributes["url.scheme"] == "https"
