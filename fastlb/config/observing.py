"""The parts of the model about what is seen from outside: the access log and traces."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from fastlb._core.facts.registry import RECORDED
from fastlb.config import limits
from fastlb.config.base import Model, Size, as_list
from fastlb.config.units import show, show_bytes, size_bytes

# What a line can have, in the order of "json"; the core knows how each is written.
FIELDS = (
    "time", "time_local", "protocol", "listener", "route", "pool", "server", "client_ip",
    "client_port", "method", "host", "path", "query", "request", "version", "status", "bytes_in",
    "bytes_out", "body_bytes", "duration", "connect", "first_byte", "tries", "reason",
    "user_agent", "referer", "request_id", "trace_id", "span_id", "parent_id", "engine",
    *(name.replace(".", "_") for name in RECORDED),
)
FACTS = {name.replace(".", "_"): name for name in RECORDED}     # fields, and the facts they are
# Made of others, or of use only where something is traced, or there is TLS, or a proxy in front.
NOT_IN_JSON = ("time_local", "request", "span_id", "parent_id", "engine", *FACTS)
JSON_FIELDS = tuple(name for name in FIELDS if name not in NOT_IN_JSON)

COMMON = '{client_ip} - - [{time_local}] "{request}" {status} {body_bytes}'
FORMATS = {"common": COMMON, "combined": COMMON + ' "{referer}" "{user_agent}"'}

_PART = re.compile(r"\{\{|\}\}|\{(\w+)\}|[{}]")

Parts = list[tuple[str, str]]


def parts(format: str) -> Parts:
    """What comes before each field, and the field ("" after the last text); ValueError says what is
    wrong with it. Two braces stand for one."""
    found: Parts = []
    literal, at = "", 0
    for part in _PART.finditer(format):
        literal += format[at : part.start()]
        at = part.end()
        name = part[1]
        if name is None:
            if part[0] not in ("{{", "}}"):
                raise ValueError(
                    f"{show(format)} has a lone {part[0]!r}: write it twice, or a field like"
                    " {status}"
                )
            literal += part[0][0]
            continue
        if name not in FIELDS:
            raise ValueError(f"{{{name}}} is not a field; one of: {', '.join(FIELDS)}")
        found.append((literal, name))
        literal = ""
    return [*found, (literal + format[at:], "")]


def _check_format(value: str) -> str:
    if value == "json" or value in FORMATS:
        return value
    if "{" not in value:
        raise ValueError(
            f'{show(value)} is not "json", "combined", "common" or a text with fields like'
            " {status}"
        )
    if any(ord(c) < 32 and c != "\t" for c in value):
        raise ValueError(f"{show(value)} has a line's end or another control character")
    parts(value)
    return value


def _check_field(value: str) -> str:
    if value not in FIELDS:
        raise ValueError(f"{show(value)} is not a field; one of: {', '.join(FIELDS)}")
    return value


def _check_sample(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,3}(\.\d+)?%", value) \
            or float(value[:-1]) > 100:
        raise ValueError(f'{show(value)} is not a share like "1%", from 0% to 100%')
    return value


def _ring(value: str) -> str:
    n = size_bytes(value)
    if n & (n - 1):
        raise ValueError(f"{value!r} is not a power of two")
    return value


class AccessLog(Model):
    """A line for each request, and for each session of tcp, when it has ended."""

    path: Annotated[str, Field(min_length=1)]
    """The file that lines are appended to; "-" is standard output."""
    format: Annotated[str, AfterValidator(_check_format), limits.LOG_FORMAT] = "json"
    """"json", "combined" or "common" (as web servers have them), or a text with fields in braces,
    such as "{time} {client_ip} {status} {path}"; {{ and }} stand for braces."""
    fields: Annotated[
        list[Annotated[str, AfterValidator(_check_field)]], BeforeValidator(as_list),
        Field(min_length=1), limits.LOG_FIELDS,
    ] | None = None
    """The fields of "json", in their order; see docs/observe.md."""
    buffer: Annotated[str, Size(limits.LOG_BUFFER), AfterValidator(_ring)] = show_bytes(
        limits.LOG_BUFFER.default
    )
    """What each thread holds for the log; records that come faster than they can be written are
    dropped and counted, and nothing else waits. A power of two; it stays what it is first."""


class Tracing(Model):
    """Spans for OpenTelemetry, of requests and their tries. Needs opentelemetry-sdk."""

    sample: Annotated[str, BeforeValidator(_check_sample), limits.TRACING_SAMPLE] = "1%"
    """Of traces that begin here, so many are recorded; those that come with a request are as their
    traceparent says."""
    service: Annotated[
        str, Field(min_length=1, max_length=limits.NAME_MAX), limits.TRACING_SERVICE
    ] = "fastlb"
    """The service.name of the spans, unless OTEL_SERVICE_NAME says otherwise."""


@dataclass(frozen=True)
class EffectiveAccessLog:
    path: str
    format: str
    fields: tuple[str, ...]
    ring_bytes: int
    origins: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class EffectiveTracing:
    sample: float               # 0 to 1
    service: str
    origins: dict[str, str] = field(default_factory=dict, compare=False)


def _given(model: Model) -> dict[str, str]:
    return {
        key: "given" if key in model.model_fields_set else "built in"
        for key in type(model).model_fields
    }


def effective_access_log(log: AccessLog, has_limits: bool) -> EffectiveAccessLog:
    """`has_limits`: there are rate limits, of which lines tell."""
    fields = JSON_FIELDS
    if has_limits:
        at = fields.index("reason") + 1
        fields = (*fields[:at], "rate_limit", *fields[at:])
    return EffectiveAccessLog(
        log.path, log.format, tuple(log.fields or fields), size_bytes(log.buffer), _given(log))


def effective_tracing(tracing: Tracing) -> EffectiveTracing:
    return EffectiveTracing(float(tracing.sample[:-1]) / 100, tracing.service, _given(tracing))
