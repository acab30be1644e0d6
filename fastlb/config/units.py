"""Durations, sizes, shares, statuses and bytes: text with a unit or a form. And how any value is
shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHOWN_MAX = 120         # characters of a value in a message: enough to know it by

# Digits are bounded, so that no number gets too large to count with.
DURATION = r"^[0-9]{1,15}(\.[0-9]{1,9})?(ms|s|m|h|d)$"
SHORT = r"^[0-9]{1,9}(\.[0-9]{1,3})?(us|ms|s)$"
SIZE = r"^[0-9]{1,15}(B|KiB|MiB|GiB|KB|MB|GB)$"
RATE = r"^([0-9]{1,15})(B|KiB|MiB|GiB|KB|MB|GB)?/([0-9]{0,9})(s|m|h|d)$"

_ESCAPED = {"0": b"\0", "t": b"\t", "r": b"\r", "n": b"\n", "\\": b"\\"}
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_US = {"us": 1, "ms": 1000, "s": 1_000_000}
_BYTES = {
    "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
    "KB": 10**3, "MB": 10**6, "GB": 10**9,
}


def duration_ms(value: Any) -> int:
    """Whole milliseconds of "500ms", "1.5s", "5m", "1h" or "1d". ValueError says what to write."""
    _must_be_text(value, "s", "ms")
    return _duration(value, DURATION, _MS, "a millisecond", '"500ms", "10s", "5m"')


def duration_us(value: Any) -> int:
    """Whole microseconds of "200us" or "1.5ms". ValueError says what to write."""
    _must_be_text(value, "us", "ms")
    return _duration(value, SHORT, _US, "a microsecond", '"200us" or "1ms"')


def _duration(
    value: Any, pattern: str, units: Mapping[str, int], least: str, examples: str
) -> int:
    found = re.fullmatch(pattern, value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{show(value)} is not a duration; write it like {examples}")
    unit = found[2]
    amount = float(value.removesuffix(unit)) * units[unit]
    # 0 switches things off, which a tiny amount must not do by being rounded.
    if 0 < amount < 1:
        raise ValueError(f"{value!r} is less than {least}, which is the least there is")
    return round(amount)


def size_bytes(value: Any) -> int:
    """Bytes of "512B", "16KiB", "10MiB", "1GiB" or "64KB". ValueError says what to write."""
    _must_be_text(value, "B", "KiB")
    found = re.fullmatch(SIZE, value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'{show(value)} is not a size; write it like "512B", "16KiB", "1MiB"')
    unit = found[1]
    return int(value.removesuffix(unit)) * _BYTES[unit]


@dataclass(frozen=True)
class Rate:
    """So many requests or bytes in so many milliseconds."""

    count: int
    period_ms: int
    is_bytes: bool


def rate(value: Any) -> Rate:
    """The rate of "100/m", "5/10s" or "10MiB/s". ValueError says what to write."""
    found = re.fullmatch(RATE, value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'{show(value)} is not a rate; write it like "100/m" or "10MiB/s"')
    number, size, periods, unit = found.groups()
    count, n = int(number) * _BYTES.get(size, 1), int(periods or 1)
    if not n:
        raise ValueError(f"{show(value)}: the time is zero")
    if not count:
        raise ValueError(f"{show(value)} is nothing at all; to refuse everything, respond with 403")
    return Rate(count, n * _MS[unit], size is not None)


def statuses(text: str) -> tuple[int, int]:
    """The first and last status of "200", "2xx" or "200-399". ValueError says what is wrong."""
    found = re.fullmatch(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", text)
    if not found:
        raise ValueError(f'{show(text)} is not a status; write it like "200", "2xx" or "200-399"')
    if found[1]:
        return int(found[1]) * 100, int(found[1]) * 100 + 99
    first, last = int(found[2]), int(found[3] or found[2])
    if last < first:
        raise ValueError(f"{show(text)} ends before it begins")
    return first, last


def per_mille(text: str, most: int = 100) -> int:
    """Thousandths of "20%"; `most` is the highest percentage. ValueError says what is wrong."""
    found = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9])?)%", text)
    if not found or float(found[1]) > most:
        raise ValueError(f'{show(text)} is not a share up to {most}%; write it like "10%"')
    return round(float(found[1]) * 10)


def as_bytes(text: str) -> bytes:
    """Bytes of a text, in which \\xff is one, and \\0, \\t, \\r, \\n and \\\\ are what they are
    elsewhere. ValueError says what is wrong."""
    made = bytearray()
    for plain, hexed, escaped in re.findall(r"([^\\]+)|\\x([0-9A-Fa-f]{2})|\\(.?)", text, re.S):
        if plain:
            made += plain.encode()
        elif hexed:
            made.append(int(hexed, 16))
        elif escaped in _ESCAPED:
            made += _ESCAPED[escaped]
        else:
            raise ValueError(
                f"{show(text)}: \\{escaped} is none of \\xff (two digits), \\0, \\t, \\r, \\n, \\\\"
            )
    return bytes(made)


def _must_be_text(value: Any, *units: str) -> None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = show(value)
        ways = " or ".join(f'"{number}{unit}"' for unit in units)
        raise ValueError(f"{number} has no unit; write {ways}")


def show(value: Any) -> str:
    """A value as problems name it: short, on one line, whatever it is."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list"
    try:
        text = repr(value)
    except Exception:           # of an int with too many digits, or of someone's own class
        return "a huge number" if isinstance(value, int) else type(value).__name__
    return cut(" ".join(text.split()))


def cut(text: str) -> str:
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


def show_ms(ms: int) -> str:
    """The shortest text that means `ms`."""
    if ms == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        if ms % _MS[unit] == 0:
            return f"{ms // _MS[unit]}{unit}"
    return f"{ms}ms"


def show_per(ms: int) -> str:
    """How a rate says its time: "m" of a minute, "10s" of ten seconds."""
    shown = show_ms(ms)
    return shown[1:] if re.fullmatch("1[a-z]+", shown) else shown


def show_us(us: int) -> str:
    """Likewise."""
    return show_ms(us // 1000) if us % 1000 == 0 else f"{us}us"


def show_bytes(n: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if n and n % _BYTES[unit] == 0:
            return f"{n // _BYTES[unit]}{unit}"
    return f"{n}B"


def seconds(value: str | float | None, name: str) -> float | None:
    """Return the seconds of a duration: a text such as "60s", or a number of seconds. `name` is
    the argument that the ValueError names."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return duration_ms(value) / 1000
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise ValueError(f'{name}: {value!r} is not a duration; write it like "60s"')
    return float(value)
