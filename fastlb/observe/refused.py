"""The keys that each rate limit refuses most, for people."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlb._core.tables.rates import RateLimit

SHOWN = 10
SECRET_BYTES = 4        # of a key that is shown in part, as the core keeps it


def refused_most(limit: RateLimit) -> list[dict[str, Any]]:
    """Return up to ten keys with how often each was refused, or would have been (`report`), since
    the process began; the most refused first. Up to `over` of these may be other keys'."""
    return [
        {"key": shown_key(text, is_source), "refused": count, "over": over}
        for text, is_source, count, over in limit.refused_most()[:SHOWN]
    ]


def shown_key(text: bytes, is_source: bool) -> str:
    """Return a key as a line of printable characters. An IPv6 client is its /64."""
    shown = text.decode("utf-8", "backslashreplace")
    if is_source and ":" in shown:
        try:
            return str(ipaddress.ip_network((shown.partition("%")[0], 64), strict=False))
        except ValueError:
            pass                        # (a proxy may call its client something else)
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in shown)
