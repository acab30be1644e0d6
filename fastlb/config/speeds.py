"""Limits on the bytes per second of each TCP connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from fastlb.config import limits
from fastlb.config.base import Model
from fastlb.config.rate_limits import check_rate
from fastlb.config.units import RATE, Rate, rate, show, show_bytes, show_per

LOOK_BYTES = 2048           # what is worth a read: how often it is looked at a slow connection,
LOOKS_MS = (20, 50, 100, 200, 500, 1000)        # which are few, as engines know few timeouts
BURST_BYTES_MIN = 4096      # that may come at once


def _check_speed(value: Any) -> str:
    text = check_rate(value)
    if not rate(text).is_bytes:
        raise ValueError(f'{show(value)} is no rate of bytes; write it like "1MiB/s"')
    found = rate(text)
    if found.count * 1000 < found.period_ms:
        raise ValueError(f"{show(value)} is less than a byte a second")
    return text


_Speed = Annotated[
    str, BeforeValidator(_check_speed), WithJsonSchema({"type": "string", "pattern": RATE}),
    limits.SPEED,
]


class SpeedKeys(Model):
    """Limits on the bytes per second of each TCP connection."""

    max_upload_rate: _Speed | None = None
    """Bytes that each client may send in a time, such as "1MiB/s". Beyond it, its connection is
    read later: nothing is dropped."""
    max_download_rate: _Speed | None = None
    """Bytes that each client may get in a time. Beyond it, its server's connection is read
    later."""


@dataclass(frozen=True)
class EffectiveSpeeds:
    upload: Rate | None
    download: Rate | None

    @property
    def look_ms(self) -> int:
        """Return how often it is looked whether more may be read."""
        fastest = max(one.count / one.period_ms for one in (self.upload, self.download) if one)
        return next((ms for ms in LOOKS_MS if fastest * ms >= LOOK_BYTES), LOOKS_MS[-1])


def effective_speeds(keys: SpeedKeys) -> EffectiveSpeeds | None:
    upload, download = keys.max_upload_rate, keys.max_download_rate
    if upload is None and download is None:
        return None
    return EffectiveSpeeds(rate(upload) if upload else None, rate(download) if download else None)


def show_speed(given: Rate | None) -> str:
    return f"{show_bytes(given.count)}/{show_per(given.period_ms)}" if given else "no limit"


@dataclass(frozen=True)
class SpeedsSpec:
    """Ways of a connection: what a byte takes, and what all bytes take that may come at once, in
    ns; (0.0, 0) is any speed."""

    to_server: tuple[float, int]
    to_client: tuple[float, int]
    look_ms: int


def speeds_spec(given: EffectiveSpeeds) -> SpeedsSpec:
    def spec(one: Rate | None) -> tuple[float, int]:
        if one is None:
            return 0.0, 0
        byte_ns = one.period_ms * 1e6 / one.count
        # (two looks, so that one which comes late loses nothing)
        return byte_ns, round(max(2 * given.look_ms * 1e6, BURST_BYTES_MIN * byte_ns))

    return SpeedsSpec(spec(given.upload), spec(given.download), given.look_ms)
