"""Limits of a listener for each source, which is an IPv4 address or a /64 of IPv6: how many
connections they may begin in a time, when they are held or banned, how fast they have to send."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fastlb.config import limits
from fastlb.config.base import Duration, Model, Switch
from fastlb.config.compare import TEXT, loose
from fastlb.config.hints import NAME, Found
from fastlb.config.networks import AccessKeys, check_set_name, is_network
from fastlb.config.positions import Path
from fastlb.config.rate_limits import check_rate
from fastlb.config.units import (
    RATE,
    Rate,
    duration_ms,
    rate,
    show,
    show_bytes,
    show_ms,
    show_per,
)

DENIALS = r"^([0-9]{1,9}) denials?(/[0-9]{0,9}(s|m|h|d))$"
TEXT_OR_TABLE = {"anyOf": [TEXT, {"type": "object"}]}


def _as_table(key: str) -> BeforeValidator:
    """A text stands for a table with one key."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


# --- connections in a time ---

def _check_count(value: Any) -> str:
    text = check_rate(value)
    if rate(text).is_bytes:
        raise ValueError(f'{show(value)} is a rate of bytes; write it like "20/s"')
    return text


class ConnectionRate(Model):
    """How many connections, or sessions of UDP, each source may begin in a time."""

    limit: Annotated[
        str, BeforeValidator(_check_count), WithJsonSchema({"type": "string", "pattern": RATE})
    ]
    """Connections per time, such as "20/s"."""
    burst: Annotated[
        int, Field(strict=True, ge=limits.RATE_REQUESTS.low, le=limits.RATE_REQUESTS.high),
        limits.RATE_BURST,
    ] | None = None
    """How many may be begun at once."""
    report: Annotated[Switch, limits.REPORT] = limits.REPORT.default
    """Count and log those that would be refused, and let them in."""


AnyConnectionRate = Annotated[
    ConnectionRate, _as_table("limit"), loose(TEXT_OR_TABLE), limits.CONNECTION_RATE]


@dataclass(frozen=True)
class EffectiveConnectionRate:
    name: str                   # that metrics know it by: "web:connections"
    count: int
    period_ms: int
    burst: int
    report: bool

    @property
    def unit_ns(self) -> float:
        """Return the time that one connection uses up, in ns."""
        return self.period_ms * 1e6 / self.count


def effective_connection_rate(
    name: str, given: ConnectionRate | None
) -> EffectiveConnectionRate | None:
    if given is None:
        return None
    found: Rate = rate(given.limit)
    return EffectiveConnectionRate(
        name, found.count, found.period_ms, given.burst or found.count, given.report)


def show_connection_rate(given: EffectiveConnectionRate | None) -> str:
    """Such as "20/s, 40 at once; reported only"."""
    if given is None:
        return "no limit"
    text = f"{given.count}/{show_per(given.period_ms)}"
    if given.burst != given.count:
        text += f", {given.burst} at once"
    return f"{text}; reported only" if given.report else text


# --- tarpit ---

class Tarpit(Model):
    """How denied connections are held."""

    timeout: Annotated[str, Duration(limits.TARPIT)] = show_ms(limits.TARPIT.default)
    """How long one is held, unless its client leaves before."""
    max_connections: Annotated[
        int, Field(strict=True, ge=limits.TARPIT_CONNECTIONS.low,
                   le=limits.TARPIT_CONNECTIONS.high), limits.TARPIT_CONNECTIONS,
    ] = limits.TARPIT_CONNECTIONS.default
    """How many are held at a time, by this listener; more are closed at once, and so they are where
    half of the process's descriptors are in use. Those that are held don't count for the listener's
    `max_connections`."""
    report: Annotated[Switch, limits.REPORT_HOLD] = limits.REPORT_HOLD.default
    """Count the connections that would be held, and close them at once."""


AnyTarpit = Annotated[Tarpit, _as_table("timeout"), loose(TEXT_OR_TABLE), limits.TARPIT_USE]


@dataclass(frozen=True)
class EffectiveTarpit:
    timeout_ms: int
    most: int
    report: bool


def effective_tarpit(given: Tarpit | None) -> EffectiveTarpit | None:
    if given is None:
        return None
    return EffectiveTarpit(duration_ms(given.timeout), given.max_connections, given.report)


def show_tarpit(given: EffectiveTarpit | None) -> str:
    if given is None:
        return "none"
    text = f"{show_ms(given.timeout_ms)}, {given.most} connections at most"
    return f"{text}; reported only" if given.report else text


# --- bans ---

def _denials(value: Any) -> Rate:
    """The rate of "20 denials/m"."""
    found = re.fullmatch(DENIALS, value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'{show(value)} is not a rate of denials; write it like "20 denials/m"')
    return rate(check_rate(found[1] + found[2]))


def _check_denials(value: Any) -> str:
    _denials(value)
    return str(value)


def _check_set(value: str) -> str:
    if is_network(value) or not re.fullmatch(NAME, value):
        raise ValueError(f"{show(value)} is not the name of a set of networks")
    return value


class Ban(Model):
    """When a source is added to a set of networks, for what it was denied."""

    networks: Annotated[str, AfterValidator(_check_set)]
    """The set (`[networks.NAME]`) that the source is added to; `deny` has to name it."""
    after: Annotated[
        str, BeforeValidator(_check_denials), WithJsonSchema({"type": "string", "pattern": DENIALS})
    ]
    """How often it was denied by then, such as "20 denials/m". Clients that `deny` or `allow` don't
    serve count, those beyond `max_connection_rate_per_source`, and requests beyond a rate limit."""
    for_: Annotated[str, Duration(limits.BAN)] = Field(
        default=show_ms(limits.BAN.default), alias="for")
    """How long it stays in the set."""
    report: Annotated[Switch, limits.REPORT_BAN] = limits.REPORT_BAN.default
    """Log and count the sources that would be banned."""


@dataclass(frozen=True)
class EffectiveBan:
    networks: str
    count: int
    period_ms: int
    for_ms: int
    report: bool

    @property
    def unit_ns(self) -> float:
        """How long it takes until a denial is forgotten."""
        return self.period_ms * 1e6 / self.count


def effective_ban(given: Ban | None) -> EffectiveBan | None:
    if given is None:
        return None
    found = _denials(given.after)
    return EffectiveBan(
        given.networks, found.count, found.period_ms, duration_ms(given.for_), given.report)


def show_ban(given: EffectiveBan | None) -> str:
    """Such as "bad, for 10m after 20 denials/m"."""
    if given is None:
        return "none"
    text = (f"{given.networks}, for {show_ms(given.for_ms)} after {given.count}"
            f" denial{'s' if given.count != 1 else ''}"
            f"/{show_per(given.period_ms)}")
    return f"{text}; reported only" if given.report else text


# --- how fast clients send ---

def _check_pace(value: Any) -> str:
    found = rate(value)
    low, high = limits.REQUEST_RATE.low, limits.REQUEST_RATE.high
    per_second = found.count * 1000 // found.period_ms
    if not found.is_bytes:
        raise ValueError(f'{show(value)} is not a rate of bytes; write it like "1KiB/s"')
    if not low <= per_second <= high:
        raise ValueError(f"{show(value)} is not from {low}B/s to {show_bytes(high)}/s")
    return str(value)


class RequestRate(Model):
    """How fast clients have to send the requests that they have begun."""

    limit: Annotated[
        str, BeforeValidator(_check_pace), WithJsonSchema({"type": "string", "pattern": RATE})
    ]
    """Bytes per time, such as "1KiB/s"."""
    grace: Annotated[str, Duration(limits.REQUEST_GRACE)] = show_ms(limits.REQUEST_GRACE.default)
    """How long a client is given before it is looked at, and over which its rate is measured."""
    report: Annotated[Switch, limits.REPORT] = limits.REPORT.default
    """Count the requests that would be ended, and let them go on."""


AnyRequestRate = Annotated[
    RequestRate, _as_table("limit"), loose(TEXT_OR_TABLE), limits.REQUEST_RATE_USE]


@dataclass(frozen=True)
class EffectiveRequestRate:
    bytes_per_s: int
    grace_ms: int
    report: bool


def effective_request_rate(given: RequestRate | None) -> EffectiveRequestRate | None:
    if given is None:
        return None
    found = rate(given.limit)
    return EffectiveRequestRate(
        found.count * 1000 // found.period_ms, duration_ms(given.grace), given.report)


def show_request_rate(given: EffectiveRequestRate | None) -> str:
    if given is None:
        return "none"
    text = f"{show_bytes(given.bytes_per_s)}/s, after {show_ms(given.grace_ms)}"
    return f"{text}; reported only" if given.report else text


# --- a listener's keys ---

class SourceKeys(AccessKeys):
    """Keys of listeners about what each source may do."""

    max_connection_rate_per_source: AnyConnectionRate | None = None
    """How many connections each source may begin in a time: a rate such as "20/s", or a table.
    Others are closed before anything is read, or held by `tarpit`."""
    tarpit: AnyTarpit | None = None
    """How long connections are held that `deny`, `allow` or `max_connection_rate_per_source` don't
    let in: a duration, or a table. Nothing is read or answered, and then they are closed."""
    ban: Annotated[Ban, limits.BAN_USE] | None = None
    """Add sources that are denied too often to a set of networks, for a time."""


TABLES: dict[str, type[Model]] = {      # by the keys that they stand for
    "max_connection_rate_per_source": ConnectionRate,
    "max_session_rate_per_source": ConnectionRate, "tarpit": Tarpit, "ban": Ban,
    "min_request_rate": RequestRate,
}


def check_sources(
    path: Path, listener: Mapping[str, Any], networks: Mapping[str, Any]
) -> Iterator[Found]:
    """Yield what a listener's keys about sources say about each other, and about sets."""
    for key in ("max_connection_rate_per_source", "max_session_rate_per_source"):
        given = listener.get(key)
        if isinstance(given, Mapping):
            yield from _check_burst((*path, key), given)
    ban = listener.get("ban")
    name = ban.get("networks") if isinstance(ban, Mapping) else None
    if isinstance(name, str):
        yield from check_set_name((*path, "ban", "networks"), name, networks)


def _check_burst(path: Path, given: Mapping[str, Any]) -> Iterator[Found]:
    burst = given.get("burst")
    try:
        found = rate(given.get("limit"))
    except ValueError:
        return                          # (said already)
    if type(burst) is int and burst * found.period_ms > limits.RATE_PERIOD_MS_MAX * found.count:
        yield (*path, "burst"), (
            f"{burst} takes more than {show_ms(limits.RATE_PERIOD_MS_MAX)} to come back at"
            f" {show(given['limit'])}"), ()

