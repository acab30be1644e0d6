"""`[rate_limits.NAME]`: how much may come per time, and by what it is counted; and the limit of a
single key, as a plan returns it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fastlb.config import limits
from fastlb.config.base import Model, Switch
from fastlb.config.compare import TEXT, loose
from fastlb.config.hints import Found
from fastlb.config.patterns import KEY, PLAIN_KEYS, check_field_name, listed
from fastlb.config.plan import AnyPlan, EffectivePlan, effective_plan
from fastlb.config.positions import Path
from fastlb.config.units import RATE, Rate, rate, show, show_ms, size_bytes


def _check_key(value: str) -> str:
    if not re.fullmatch(KEY, value):
        raise ValueError(f"{show(value)} is not a key to count by. One of: {listed(PLAIN_KEYS)}")
    return value


def check_rate(value: Any) -> str:
    """Return a rate as it is written. ValueError: it is none, or beyond what can be counted."""
    found = rate(value)
    if found.is_bytes:
        low, high = limits.RATE_BYTES.low, limits.RATE_BYTES.high
    else:
        low, high = limits.RATE_REQUESTS.low, limits.RATE_REQUESTS.high
    if not low <= found.count <= high:
        raise ValueError(f"{show(value)} is more than {high:,} at once")
    if found.count * 1000 > high * found.period_ms:
        raise ValueError(f"{show(value)} is more than {high:,} a second")
    if found.period_ms > limits.RATE_PERIOD_MS_MAX:
        raise ValueError(f"{show(value)}: the time is longer than "
                         f"{show_ms(limits.RATE_PERIOD_MS_MAX)}")
    return str(value)


def _check_burst(value: Any) -> Any:
    if isinstance(value, str):
        if not 1 <= size_bytes(value) <= limits.RATE_BYTES.high:
            raise ValueError(f"{show(value)} is not from 1B to {limits.RATE_BYTES.high >> 30}GiB")
        return value
    if type(value) is not int or not 1 <= value <= limits.RATE_REQUESTS.high:
        raise ValueError(
            f'{show(value)} is not a number of requests, or a size such as "1MiB" for bytes')
    return value


def _cost(value: Any) -> Any:
    return {"fixed": value} if type(value) is int else value


class Cost(Model):
    """The cost of one request: a number, or the value of a header field."""

    fixed: Annotated[
        int, Field(strict=True, ge=limits.RATE_COST.low, le=limits.RATE_COST.high),
        limits.RATE_COST,
    ] = limits.RATE_COST.default
    """The cost where the field is missing or is no number. With `response_header`, this much is
    reserved until the response arrives."""
    header: Annotated[str, AfterValidator(check_field_name), limits.COST_FIELD] | None = None
    """A header field of the request that says the cost."""
    response_header: Annotated[
        str, AfterValidator(check_field_name), limits.COST_FIELD
    ] | None = None
    """A header field of the response that says it."""


class RateLimit(Model):
    """How much each key may bring per time. Its burst comes back evenly."""

    key: Annotated[
        str, AfterValidator(_check_key), WithJsonSchema({"type": "string", "pattern": KEY}),
        limits.RATE_KEY,
    ] = "client.ip"
    """The key that requests are counted by, as in `hash_on`. With `client.ip`, the addresses of an
    IPv6 /64 count as one client. A request without the key is counted by `client.ip`."""
    limit: Annotated[
        str, BeforeValidator(check_rate), WithJsonSchema({"type": "string", "pattern": RATE})
    ]
    """Requests per time, such as "100/m" or "5/10s", or bytes of both bodies, such as "10MiB/s"."""
    burst: Annotated[
        int | str, BeforeValidator(_check_burst),
        loose({"anyOf": [TEXT, {"type": "integer", "minimum": 1}]}), limits.RATE_BURST,
    ] | None = None
    """How much may come at once; a size where `limit` is one of bytes."""
    cost: Annotated[
        Cost, BeforeValidator(_cost),
        loose({"anyOf": [{"type": "integer"}, {"type": "object"}]}), limits.RATE_COST,
    ] = Field(default_factory=Cost)
    """What one request costs."""
    plan: Annotated[AnyPlan, limits.PLAN] | None = None
    """A Python function that gives each value of `key` a limit of its own. Until it has answered,
    and without the key, `limit` and `burst` hold."""
    headers: Annotated[Literal["draft", "x-ratelimit", False], limits.RATE_HEADERS] = "draft"
    """Header fields that tell clients what is left: `RateLimit` and `RateLimit-Policy`, or
    `X-RateLimit-*`; false: none."""
    report: Annotated[Switch, limits.REPORT] = limits.REPORT.default
    """Count and log what would be refused, and let it pass."""


def check_rate_limit(path: Path, table: Any) -> Iterator[Found]:
    """Yield what its keys say about each other, as they are written."""
    if not isinstance(table, Mapping) or not isinstance(limit := table.get("limit"), str):
        return
    is_bytes = bool(found[2]) if (found := re.fullmatch(RATE, limit)) else None
    burst, cost = table.get("burst"), table.get("cost")
    fits = not isinstance(burst, (int, str)) or is_bytes == isinstance(burst, str)
    if is_bytes is not None and not fits:
        shown = 'a size, such as "1MiB"' if is_bytes else "a number of requests"
        yield (*path, "burst"), (
            f"{show(burst)} doesn't fit limit = {show(limit)}; write {shown}"), ()
    if is_bytes and cost is not None:
        yield (*path, "cost"), "a limit of bytes counts the bytes: it has no cost", ()
    if isinstance(cost, Mapping) and "header" in cost and "response_header" in cost:
        yield (*path, "cost"), "give header or response_header, not both", (
            "header", "response_header")
    yield from _amounts(path, limit, burst, cost)


def _amounts(path: Path, limit: str, burst: Any, cost: Any) -> Iterator[Found]:
    """Yield what is wrong with amounts that are each right by themselves."""
    try:
        found = rate(limit)
        most = found.count if burst is None else \
            size_bytes(burst) if isinstance(burst, str) else int(burst)
    except (ValueError, TypeError):
        return                          # (said already)
    if most * found.period_ms > limits.RATE_PERIOD_MS_MAX * found.count:
        yield (*path, "burst"), (
            f"{show(burst)} takes more than {show_ms(limits.RATE_PERIOD_MS_MAX)} to come back"
            f" at {show(limit)}"), ()
    fixed = cost.get("fixed") if isinstance(cost, Mapping) else cost
    if type(fixed) is int and fixed > most and not found.is_bytes:
        yield (*path, "cost"), (
            f"{fixed} is more than {most}, which may come at once: every request would be"
            " refused"), ()


@dataclass(frozen=True)
class EffectiveRateLimit:
    name: str
    key: str
    count: int                  # requests or bytes
    period_ms: int
    is_bytes: bool
    burst: int
    cost: int
    cost_from: str              # "fixed", "request", "response", "bytes"
    cost_field: str
    headers: str                # "draft", "x-ratelimit", "off"
    report: bool
    plan: EffectivePlan | None = None

    @property
    def unit_ns(self) -> float:
        """What one request, or one byte, uses up."""
        return self.period_ms * 1e6 / self.count


def effective_rate_limit(name: str, given: RateLimit) -> EffectiveRateLimit:
    found: Rate = rate(given.limit)
    burst = given.burst if given.burst is not None else found.count
    cost = given.cost
    cost_from = "bytes" if found.is_bytes else \
        "request" if cost.header else "response" if cost.response_header else "fixed"
    return EffectiveRateLimit(
        name=name, key=given.key, count=found.count, period_ms=found.period_ms,
        is_bytes=found.is_bytes,
        burst=size_bytes(burst) if isinstance(burst, str) else burst,
        cost=cost.fixed, cost_from=cost_from,
        cost_field=(cost.header or cost.response_header or "").lower(),
        headers=given.headers or "off", report=given.report,
        plan=effective_plan(given.plan) if given.plan is not None else None,
    )


@dataclass(frozen=True)
class Limit:
    """The limit of one key: `Limit("500/m", burst=50)`. Both are as in `[rate_limits.NAME]`.
    Raises ValueError for what is no limit."""

    limit: str
    burst: int | str | None = None

    def __post_init__(self) -> None:
        effective_limit(self)


def effective_limit(given: Limit) -> EffectiveRateLimit:
    """Return its amounts. Raises ValueError for what is no limit."""
    keys: dict[str, Any] = {"limit": given.limit}
    if given.burst is not None:
        keys["burst"] = given.burst
    made = RateLimit(**keys)
    for _, said, _ in check_rate_limit((), keys):
        raise ValueError(said)
    return effective_rate_limit("", made)
