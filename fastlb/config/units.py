"""Durations and sizes: text with a unit."""

from __future__ import annotations

import re
from typing import Any

DURATION = r"^\d+(\.\d+)?(ms|s|m|h|d)$"
SIZE = r"^\d+(B|KiB|MiB|GiB|KB|MB|GB)$"

_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BYTES = {
    "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
    "KB": 10**3, "MB": 10**6, "GB": 10**9,
}


def duration_ms(text: Any) -> int:
    """Whole milliseconds of "500ms", "1.5s", "5m", "1h" or "1d". ValueError says what to write."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise ValueError(f'{text} has no unit; write "{text}s" or "{text}ms"')
    found = re.match(DURATION, text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f'{text!r} is not a duration; write it like "500ms", "10s", "5m", "1h"')
    unit = found[2]
    return round(float(text.removesuffix(unit)) * _MS[unit])


def size_bytes(text: Any) -> int:
    """Bytes of "512B", "16KiB", "10MiB", "1GiB" or "64KB". ValueError says what to write."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise ValueError(f'{text} has no unit; write "{text}B" or "{text}KiB"')
    found = re.match(SIZE, text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f'{text!r} is not a size; write it like "16KiB", "1MiB"')
    unit = found[1]
    return int(text.removesuffix(unit)) * _BYTES[unit]


def show_ms(ms: int) -> str:
    """The shortest text that means `ms`."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % _MS[unit] == 0:
            return f"{ms // _MS[unit]}{unit}"
    return f"{ms}ms"


def show_bytes(n: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if n and n % _BYTES[unit] == 0:
            return f"{n // _BYTES[unit]}{unit}"
    return f"{n}B"
