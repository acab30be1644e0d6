"""What a proxy in front would tell of a client that somebody asks about."""

from __future__ import annotations

from collections.abc import Mapping

from fastlb.config.compare import WHOLE, destination
from fastlb.config.effective import Effective, EffectiveListener
from fastlb.config.patterns import PROXY_FACTS
from fastlb.config.proxy_protocol import hears_proxies

# In bytes, as the core takes them.
MOST = {"authority": 255, "unique_id": 128, "alpn": 255, "vpce": 255}

Facts = tuple[tuple[str, str, str, str], tuple[str, int] | None]


def told(
    listener: EffectiveListener, values: Effective, given: Mapping[str, str]
) -> Facts | None:
    """As the core wants it; None where nothing is told. Raises ValueError for what no proxy can
    tell of a client of the listener."""
    for fact, value in given.items():
        if fact not in PROXY_FACTS:
            raise ValueError(
                f"{fact!r} is nothing that a proxy tells. One of: {', '.join(PROXY_FACTS)}")
        if not isinstance(value, str):
            raise ValueError(f"{fact}: {value!r} is not a text")
        if fact in MOST and len(value.encode("utf-8", "replace")) > MOST[fact]:
            raise ValueError(f"{fact} has more than {MOST[fact]} bytes")
    if not given:
        return None
    if not hears_proxies(listener, values):
        raise ValueError(
            f"listener {listener.name!r} has no proxy_protocol, to be told {', '.join(given)}")
    name, where = given.get("authority", ""), given.get("dst", "")
    if name and WHOLE["authority"](name).startswith("*"):
        raise ValueError(f"authority: {name!r} is not the name of a host")
    return (
        (name, given.get("unique_id", ""), given.get("alpn", ""), given.get("vpce", "")),
        destination(where) if where else None,
    )


def in_words(given: Mapping[str, str]) -> str:
    """In one line; "" where nothing is told."""
    parts = [f"{fact} {given[fact]}" for fact in PROXY_FACTS if given.get(fact)]
    return f"a proxy tells {', '.join(parts) or 'nothing'}" if given else ""
