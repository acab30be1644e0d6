"""`keepalive`: probes of TCP on connections that are silent."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from fastlb.config import limits as bounds
from fastlb.config.base import Duration, Model
from fastlb.config.units import duration_ms, show_ms


def _check_seconds(value: str) -> str:
    if duration_ms(value) % 1000:
        raise ValueError(f"{value!r} is not in whole seconds, and the kernel knows no others")
    return value


class Keepalive(Model):
    """TCP keepalive: probes on a silent connection, so that a vanished peer is noticed."""

    idle: Annotated[
        str, Duration(bounds.KEEPALIVE_IDLE), AfterValidator(_check_seconds)
    ] = show_ms(bounds.KEEPALIVE_IDLE.default)
    """How long a connection is silent before the first probe; whole seconds."""
    interval: Annotated[
        str, Duration(bounds.KEEPALIVE_INTERVAL), AfterValidator(_check_seconds)
    ] = show_ms(bounds.KEEPALIVE_INTERVAL.default)
    """Between probes; whole seconds."""
    count: Annotated[
        int,
        Field(strict=True, ge=bounds.KEEPALIVE_COUNT.low, le=bounds.KEEPALIVE_COUNT.high),
        bounds.KEEPALIVE_COUNT,
    ] = bounds.KEEPALIVE_COUNT.default
    """Unanswered probes before the connection counts as lost."""
