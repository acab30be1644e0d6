"""`rate_limit`: the rate limits of a route, by their names or written there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from fastlb._core.tables.rates import MAX
from fastlb.config import limits
from fastlb.config.base import as_list
from fastlb.config.compare import TEXT, loose
from fastlb.config.hints import NAME, Found, hint
from fastlb.config.part import Checking, Compiling, Part, Place
from fastlb.config.plan import Plan
from fastlb.config.positions import Path
from fastlb.config.rate_limits import (
    Cost,
    EffectiveRateLimit,
    RateLimit,
    check_rate_limit,
    effective_rate_limit,
)
from fastlb.config.units import show, show_bytes, show_per


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, Mapping, RateLimit)) else as_list(value)


def _kind(value: Any) -> str:
    return "function-table" if isinstance(value, (Mapping, RateLimit)) else "function-name"


# (told apart before they are checked, so that a mistake in one isn't told as if it were the other)
OneLimit = Annotated[
    Annotated[str, Tag("function-name")] | Annotated[RateLimit, Tag("function-table")],
    Discriminator(_kind),
]


def _check_names(values: list[str | RateLimit]) -> list[str | RateLimit]:
    names = [one for one in values if isinstance(one, str)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{show(name)} is in the list twice")
    return values


Fact = tuple[int, int, bytes]
ONE = {"anyOf": [TEXT, {"type": "object"}]}
AnyRateLimits = Annotated[
    list[OneLimit], BeforeValidator(_listed), AfterValidator(_check_names),
    Field(max_length=MAX), loose({"anyOf": [*ONE["anyOf"], {"type": "array", "items": ONE}]}),
    limits.RATE_LIMIT,
]


def effective_rate_limits(
    given: list[str | RateLimit], place: Place
) -> tuple[EffectiveRateLimit, ...] | None:
    """One that is written at its place is known by that: "web/api", and "web/api#2" if it isn't the
    first, which no named one can be called. None: there is no limit."""
    named: Mapping[str, RateLimit] = place.config.rate_limits
    found = []
    for i, one in enumerate(given):
        if isinstance(one, str):
            found.append(effective_rate_limit(one, named[one]))
        else:
            name = place.name if i == 0 else f"{place.name}#{i + 1}"
            found.append(effective_rate_limit(name, one))
    return tuple(found) or None


def check_rate_limits(path: Path, value: Any, checking: Checking) -> Iterator[Found]:
    """Yield what is wrong with a `rate_limit` as it is written."""
    named = checking.tables("rate_limits")
    is_list = isinstance(value, (list, tuple))
    for i, one in enumerate(value if is_list else [value]):
        where = (*path, i) if is_list else path
        yield from check_rate_limit(where, one)
        if isinstance(one, str) and one not in named:
            shown = one if re.fullmatch(NAME, one) else "NAME"
            more = hint(one, tuple(named)) if named else (
                f'; write a [rate_limits.{shown}] with a limit such as "100/m"')
            yield where, f"there is no rate limit {show(one)}{more}", tuple(named)


def show_limit(one: EffectiveRateLimit) -> str:
    """Such as "100/m for each client.ip, 20 at once"."""
    amount, burst = (show_bytes(one.count), show_bytes(one.burst)) if one.is_bytes \
        else (f"{one.count}", f"{one.burst}")
    text = f"{amount}/{show_per(one.period_ms)} for each {one.key}"
    if one.burst != one.count:
        text += f", {burst} at once"
    if one.plan is not None:
        call = one.plan.call
        text += f", or as {call if isinstance(call, str) else getattr(call, '__name__', call)} says"
    return f"{text}, reported only" if one.report else text


def show_rate_limits(given: tuple[EffectiveRateLimit, ...] | None) -> str:
    return "; ".join(f"{one.name}: {show_limit(one)}" for one in given or ()) or "none"


@dataclass(frozen=True)
class RateSpec:
    name: str
    key: Fact
    unit_ns: float
    burst: int
    cost: int
    cost_from: str
    cost_field: Fact
    headers: str
    report: bool
    is_secret: bool             # no more than the first bytes of its keys are shown
    has_plans: bool             # a function gives keys limits of their own


def _is_secret(key: str) -> bool:
    """Whether values of a key may be what clients prove themselves with."""
    return bool(re.fullmatch(
        r"(cookie|query|json|form)\..*|header\..*(auth|key|token|secret|session|cookie).*", key))


def compile_rate_limits(
    given: tuple[EffectiveRateLimit, ...], compiling: Compiling
) -> list[RateSpec]:
    return [
        RateSpec(
            one.name, compiling.fact(one.key), one.unit_ns, one.burst, one.cost, one.cost_from,
            compiling.fact(f"header.{one.cost_field}" if one.cost_field else ""), one.headers,
            one.report, _is_secret(one.key), one.plan is not None)
        for one in given
    ]


def explain_rate_limits(
    given: tuple[EffectiveRateLimit, ...], facts: Mapping[str, Any]
) -> str:
    """Such as "rate limit per_user: 37 of 100 left, full again in 38 s"."""
    found: list[tuple[int, int, float, bool]] = facts.get("rates") or [
        (one.burst, one.burst, 0.0, False) for one in given]
    lines = []
    for one, (left, most, seconds, is_planned) in zip(given, found, strict=True):
        shown = (show_bytes(left), show_bytes(most)) if one.is_bytes \
            else (f"{left}", f"{most}")
        text = f"rate limit {one.name}: {shown[0]} of {shown[1]} left"
        if seconds > 0:
            text += f", full again in {seconds:.3g} s"
        if one.plan is not None:
            text += " by its plan" if is_planned else " as configured, without a plan"
        if left <= 0:
            text += ", so that it would be reported" if one.report else ", so that it is refused"
        lines.append(text)
    return "; ".join(lines)


PART = Part(
    key="rate_limit",
    kind=AnyRateLimits,
    meaning="Rate limits: names of `[rate_limits.NAME]`, or limits written here, or a list of"
            " both. A request that one of them refuses takes nothing of the others. `[]`: none.",
    filter="rate_limit",
    switch=False,
    answers=True,
    check=check_rate_limits,
    effective=effective_rate_limits,
    compile=compile_rate_limits,
    show=show_rate_limits,
    explain=explain_rate_limits,
    tables=(("`[rate_limits.NAME]` and `rate_limit = { ... }`", RateLimit),
            ("`cost = { ... }`", Cost), ("`plan = { ... }`", Plan)),
)
