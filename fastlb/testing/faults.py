"""What can go wrong at an origin, and how often."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fastlb.config.units import duration_ms, show, size_bytes
from fastlb.testing.limits import SLEEP_S_MAX

Delay = str | tuple[str, str] | Mapping[str, float] | Callable[[random.Random], float]
Draw = Callable[[random.Random], float]         # seconds

_DISTRIBUTION = re.compile(r"([a-z]+)\(([^()]*)\)")


def _seconds(what: str, text: object) -> float:
    try:
        return duration_ms(text) / 1000
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def _number(what: str, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise ValueError(f"{what}: {text!r} is not a number from 0")
    return found


def _constant(seconds: float) -> Draw:
    return lambda generator: seconds


def _uniform(low: float, high: float) -> Draw:
    if high < low:
        raise ValueError("delay: a range ends before it begins")
    return lambda generator: generator.uniform(low, high)


def _distribution(text: str) -> Draw:
    found = _DISTRIBUTION.fullmatch(text.replace(" ", ""))
    if found is None:
        return _constant(_seconds("delay", text))
    name, given = found[1], found[2].split(",")
    if name == "uniform" and len(given) == 2:
        return _uniform(_seconds("delay", given[0]), _seconds("delay", given[1]))
    if name == "lognormal" and len(given) == 2:
        median, sigma = _seconds("delay", given[0]), _number("delay", given[1])
        return lambda generator: median * generator.lognormvariate(0, sigma)
    if name == "normal" and len(given) == 2:
        mean, deviation = _seconds("delay", given[0]), _seconds("delay", given[1])
        return lambda generator: max(0.0, generator.gauss(mean, deviation))
    if name == "exponential" and len(given) == 1:
        mean = _seconds("delay", given[0])
        return lambda generator: generator.expovariate(1 / mean) if mean else 0.0
    raise ValueError(
        f'delay: {show(text)} is not known; write "50ms", "uniform(10ms, 90ms)",'
        ' "normal(50ms, 10ms)", "lognormal(50ms, 0.5)" or "exponential(50ms)"'
    )


def share_of(what: str, value: object) -> float:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, (int, float)) and 0 <= value <= 1:
        return float(value)
    raise ValueError(f"{what}: {show(value)} is not a probability from 0 to 1, True or False")


def flag_of(what: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{what}: {show(value)} is not True or False")
    return value


def _one_of(what: str, shares: list[float]) -> None:
    if sum(shares) > 1 + 1e-9:
        raise ValueError(f"{what}: the probabilities are more than 1 together")


def delay_of(delay: Delay | None) -> Draw | None:
    """A function that draws a delay in seconds. ValueError says what is wrong with `delay`."""
    if delay is None:
        return None
    if isinstance(delay, str):
        return _distribution(delay)
    if isinstance(delay, tuple) and len(delay) == 2:
        return _uniform(_seconds("delay", delay[0]), _seconds("delay", delay[1]))
    if isinstance(delay, Mapping):
        parts = [(_distribution(text), share_of("delay", share)) for text, share in delay.items()]
        _one_of("delay", [share for _, share in parts])
        return lambda generator: _mixture(parts, generator)
    if callable(delay):
        return delay
    _seconds("delay", delay)            # a number: it says what to write
    raise ValueError(f"delay: {show(delay)} is no delay")


def drawn_delay(draw: Draw | None, generator: random.Random) -> float:
    """Seconds, within what is sensible."""
    return 0.0 if draw is None else min(max(draw(generator), 0.0), SLEEP_S_MAX)


def _mixture(parts: list[tuple[Draw, float]], generator: random.Random) -> float:
    at = generator.random()
    for draw, share in parts:
        if at < share:
            return draw(generator)
        at -= share
    return 0.0


def _statuses(status: int | Mapping[int, float] | None) -> tuple[tuple[int, float], ...]:
    given = {status: 1.0} if isinstance(status, int) else dict(status or {})
    for one in given:
        if not isinstance(one, int) or not 200 <= one <= 599:
            raise ValueError(f"status: {show(one)} is not a status from 200 to 599")
    parts = tuple((one, share_of("status", share)) for one, share in given.items())
    _one_of("status", [share for _, share in parts])
    return parts


@dataclass(frozen=True)
class Fault:
    """What an origin does wrong: see `Origin.fault`, whose keywords these are.

    Raises ValueError for what makes no sense.
    """

    reset: float = 0.0
    status: int | Mapping[int, float] | None = None
    delay: Delay | None = None
    truncate: float = 0.0
    bandwidth: str | None = None
    refuse: bool = False
    hang: float = 0.0
    garbage: float = 0.0
    bytes_per_s: int = field(init=False, default=0)
    _draw: Draw | None = field(init=False, default=None)
    _parts: tuple[tuple[int, float], ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        for name in ("reset", "truncate", "hang", "garbage"):
            object.__setattr__(self, name, share_of(name, getattr(self, name)))
        flag_of("refuse", self.refuse)
        object.__setattr__(self, "_draw", delay_of(self.delay))
        object.__setattr__(self, "_parts", _statuses(self.status))
        if self.bandwidth is not None:
            try:
                rate = size_bytes(self.bandwidth)
            except ValueError as error:
                raise ValueError(f"bandwidth: {error}") from None
            if rate == 0:
                raise ValueError("bandwidth: nothing at all is hang=True")
            object.__setattr__(self, "bytes_per_s", rate)

    def drawn(self, generator: random.Random) -> Drawn:
        """What becomes of one request."""
        delay_s = drawn_delay(self._draw, generator)
        at, status = generator.random(), 0
        for one, share in self._parts:
            if 0 <= at < share:
                status = one
            at -= share
        # (One draw for each of them, wanted or not: a seed means the same with other faults.)
        hang, reset, garbage, truncate = (
            generator.random() < share
            for share in (self.hang, self.reset, self.garbage, self.truncate)
        )
        return Drawn(delay_s, status, hang, reset, garbage, truncate, self.bytes_per_s)


@dataclass(frozen=True)
class Drawn:
    """One request's fate."""

    delay_s: float = 0.0
    status: int = 0             # 0: as it would be
    hang: bool = False
    reset: bool = False
    garbage: bool = False
    truncate: bool = False
    bytes_per_s: int = 0        # 0: at once


NONE = Fault()
