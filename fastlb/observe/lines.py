"""Formats of the access log, as the core wants them."""

from __future__ import annotations

from collections.abc import Sequence

from fastlb._core.tables.logformat import LogFormat
from fastlb.config.observing import FACTS, FORMATS, JSON_FIELDS, parts

NUMBERS = frozenset({
    "client_port", "status", "bytes_in", "bytes_out", "body_bytes", "duration", "connect",
    "first_byte", "tries", "engine",
})


def log_format(format: str, fields: Sequence[str] = ()) -> LogFormat:
    """Of "json" (with these fields), "common", "combined", or a text with {fields}."""
    if format == "json":
        return LogFormat(_json(fields or JSON_FIELDS), True)
    pieces = parts(FORMATS.get(format, format))
    return LogFormat([(before.encode(), name) for before, name in pieces], False)


def facts_of(format: str, fields: Sequence[str] = ()) -> set[str]:
    """The facts that lines have, by their names."""
    used = fields or JSON_FIELDS if format == "json" else [
        name for _, name in parts(FORMATS.get(format, format))]
    return {FACTS[name] for name in used if name in FACTS}


def _json(fields: Sequence[str]) -> list[tuple[bytes, str]]:
    pieces: list[tuple[bytes, str]] = []
    before = "{"
    for name in fields:
        quote = "" if name in NUMBERS else '"'
        pieces.append((f'{before}"{name}":{quote}'.encode(), name))
        before = f"{quote},"
    return [*pieces, (before.replace(",", "}").encode(), "")]
