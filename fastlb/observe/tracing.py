"""Spans for OpenTelemetry, made of records when requests are over: nothing waits for them."""

from __future__ import annotations

import logging
import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastlb.config.observing import EffectiveTracing
from fastlb.errors import ConfigError, Problem
from fastlb.observe.records import Record

if TYPE_CHECKING:
    from fastlb.observe.recording import Recording

log = logging.getLogger("fastlb.tracing")

PIP_LINE = "pip install opentelemetry-sdk opentelemetry-exporter-otlp"
NS = 1_000_000_000


class Tracing:
    """Sends spans on, on a thread of its own. `provider` is an opentelemetry TracerProvider of the
    program's; without one, the program's global one if it has set any, or ours, which exports as
    OTEL_EXPORTER_OTLP_ENDPOINT says. Raises ConfigError where the SDK isn't there."""

    def __init__(
        self, recording: Recording, config: EffectiveTracing, provider: Any = None
    ) -> None:
        self.config = config
        self._spans = _Spans(config, provider)
        self._recording = recording
        self._records = recording.subscribe(facts=False)
        recording.trace(config.sample)
        self._thread = threading.Thread(target=self._run, name="fastlb-tracing", daemon=True)
        self._thread.start()

    def follow(self, secured: frozenset[str]) -> None:
        """These listeners speak TLS."""
        self._spans.secured = secured

    def _run(self) -> None:
        failed = False
        for record in self._records:
            try:
                self._spans.export(record)
            except Exception:               # an exporter of somebody's; said once
                if not failed:
                    log.exception("a span can't be exported; this is said once")
                failed = True

    def end(self) -> None:
        """Export what there is, after the last record was made."""
        self._records.close()
        self._thread.join()
        self._spans.flush()



class _Spans:
    def __init__(self, config: EffectiveTracing, provider: Any) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.sdk import trace as sdk
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        except ImportError:
            raise ConfigError(
                [Problem(f"opentelemetry-sdk isn't installed; run: {PIP_LINE}", "tracing")]
            ) from None
        self._trace, self._sdk = trace, sdk
        self._scope = InstrumentationScope("fastlb")
        self._ours = False
        if provider is None and isinstance(trace.get_tracer_provider(), sdk.TracerProvider):
            provider = trace.get_tracer_provider()
        if provider is None:
            service = os.environ.get("OTEL_SERVICE_NAME", config.service)
            provider = sdk.TracerProvider(resource=Resource.create({"service.name": service}))
            provider.add_span_processor(_exporter())
            self._ours = True
        self._provider = provider
        self.secured: frozenset[str] = frozenset()

    def export(self, record: Record) -> None:
        """The span of a request, and one for each server that was tried."""
        if not record.span_id or not record.sampled:
            return
        begin = int(record.time * NS)
        end = begin + int(record.duration * NS)
        trace = self._trace
        context = self._context(record, record.span_id)
        parent = self._context(record, record.parent_id, True) if record.parent_id else None
        attributes = {
            "http.request.method": record.method,
            "url.path": record.path,
            "url.query": record.query,
            "url.scheme": "https" if record.listener in self.secured else "http",
            "server.address": record.host,
            "client.address": record.client_ip,
            "network.peer.port": record.client_port,
            "user_agent.original": record.user_agent,
            "network.protocol.version": record.version,
            "http.response.status_code": record.status,
            "http.route": record.route,
            "fastlb.listener": record.listener,
            "fastlb.pool": record.pool,
            "fastlb.server": record.server,
            "fastlb.reason": record.reason,
            "fastlb.request_id": record.request_id,
        }
        bad = record.status >= 500 or record.status == 0
        name = f"{record.method} {record.route}".strip()
        self._export(name, context, parent, attributes, begin, end, bad, trace.SpanKind.SERVER)
        at = begin
        for number, one in enumerate(record.tries):
            last = number + 1 == len(record.tries)
            begun = max(at, end - int(one.duration * NS)) if last else at
            ended = end if last else min(at + int(one.duration * NS), end)
            span_id = f"{self._provider.id_generator.generate_span_id():016x}"
            self._export(
                f"try {one.server}", self._context(record, span_id), context,
                {"fastlb.server": one.server, "fastlb.outcome": one.outcome,
                 "fastlb.try": number + 1},
                begun, ended, one.outcome != "response", trace.SpanKind.CLIENT,
            )
            at = ended

    def _context(self, record: Record, span_id: str, is_remote: bool = False) -> Any:
        return self._trace.SpanContext(
            int(record.trace_id, 16), int(span_id, 16), is_remote,
            self._trace.TraceFlags(self._trace.TraceFlags.SAMPLED),
        )

    def _export(
        self, name: str, context: Any, parent: Any, attributes: dict[str, Any], begin: int,
        end: int, bad: bool, kind: Any,
    ) -> None:
        """The SDK makes ids by itself, and these are known already: so the span is made by hand."""
        Status, Code = self._trace.Status, self._trace.StatusCode
        span = self._sdk.ReadableSpan(
            name=name, context=context, parent=parent, resource=self._provider.resource,
            attributes={key: value for key, value in attributes.items() if value != ""},
            kind=kind, status=Status(Code.ERROR if bad else Code.UNSET), start_time=begin,
            end_time=end, instrumentation_scope=self._scope,
        )
        self._provider._active_span_processor.on_end(span)

    def flush(self) -> None:
        if self._ours:
            self._provider.shutdown()
        else:
            self._provider.force_flush()


def find_sdk() -> None:
    """ConfigError where spans can't be made, or exported."""
    try:
        import_module("opentelemetry.sdk.trace")
    except ImportError:
        raise ConfigError(
            [Problem(f"opentelemetry-sdk isn't installed; run: {PIP_LINE}", "tracing")]
        ) from None
    _otlp()


def _otlp() -> Any:
    try:
        return import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        raise ConfigError(
            [Problem(f"there is no exporter for spans; run: {PIP_LINE}", "tracing")]
        ) from None


def _exporter() -> Any:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(_otlp().OTLPSpanExporter())
