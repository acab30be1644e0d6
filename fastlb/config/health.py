"""The part of the model that is about health: how it is found out whether a server is up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from fastlb.config import limits
from fastlb.config.base import Duration, Model, Switch, as_list
from fastlb.config.patterns import check_host
from fastlb.config.positions import Path
from fastlb.config.proxy_protocol import OWN_HEADERS
from fastlb.config.units import as_bytes, duration_ms, per_mille, show, show_ms, statuses

KINDS = ("tcp", "tls", "http", "grpc", "expect", "udp")


def _check_path(value: str) -> str:
    if not re.fullmatch(r"/[\x21-\x7e]*", value):
        raise ValueError(f'{show(value)} is not a path; write it like "/healthz"')
    return value


def check_statuses(value: str) -> str:
    statuses(value)
    return value


def check_share(value: str) -> str:
    per_mille(value)
    return value


def _check_bytes(value: str) -> str:
    as_bytes(value)
    return value


def _check_datagram(value: str) -> str:
    n = len(as_bytes(value))
    if n > limits.HEALTH_DATAGRAM_BYTES_MAX:
        raise ValueError(
            f"{show(value)} has {n:,} bytes, and a datagram at most"
            f" {limits.HEALTH_DATAGRAM_BYTES_MAX:,}"
        )
    return value


class Datagrams(Model):
    """One is sent, and one has to come back. Beside text, there may be bytes such as `\\xff`, and
    `\\0`, `\\t`, `\\r`, `\\n` and `\\\\`: in TOML best between single quotes, which leave them as
    they are."""

    send: Annotated[
        str, AfterValidator(_check_datagram), limits.HEALTH_UDP_SEND
    ] = limits.HEALTH_UDP_SEND.default
    """What is sent, of 1,472 bytes at most."""
    expect: Annotated[str, AfterValidator(_check_datagram), limits.HEALTH_UDP_EXPECT] = ""
    """What the answer has to contain; "": any answer is good."""


class Health(Model):
    """Checks of a pool's servers: one of `tcp`, `tls`, `http`, `grpc`, `expect` and `udp` says what
    a good one does."""

    tcp: Annotated[Switch, limits.HEALTH_KIND] | None = None
    """It accepts a connection."""
    tls: Annotated[Switch, limits.HEALTH_KIND] | None = None
    """It completes a TLS handshake; its certificate is looked at where the pool has `tls`. false
    beside `http`, `grpc` or `expect`: they go without TLS, whatever the pool has."""
    http: Annotated[str, AfterValidator(_check_path), limits.HEALTH_KIND] | None = None
    """It answers a request for this path, in the pool's `protocol`."""
    grpc: Annotated[
        Switch | Annotated[str, Field(min_length=1)], limits.HEALTH_GRPC
    ] | None = None
    """true: it says SERVING when it is asked by grpc.health.v1; or the name of the service that has
    to. For a pool with `protocol = "h2"`."""
    expect: Annotated[
        str, Field(min_length=1), AfterValidator(_check_bytes), limits.HEALTH_KIND
    ] | None = None
    """It says this, within the first 64 KiB: at once, or when it was sent `send`. Bytes that are no
    text are written as in `udp`."""
    send: Annotated[str, AfterValidator(_check_bytes), limits.HEALTH_SEND] = ""
    """With `expect`: what is said first, such as "PING\\r\\n"; bytes as in `udp`."""
    udp: Annotated[Datagrams, limits.HEALTH_UDP] | None = None
    """It answers a datagram. Where nobody listens (ICMP says so), it is down at once."""
    method: Annotated[
        str, Field(pattern="^[A-Z]{1,20}$"), limits.HEALTH_METHOD
    ] = limits.HEALTH_METHOD.default
    """With `http`: the method."""
    host: Annotated[str, AfterValidator(check_host), limits.HEALTH_HOST] | None = None
    """With `http` and `grpc`: the Host, and the server's address if not given; with `tls`: the name
    that is asked for (SNI), and if not given what the pool's `tls` says, or none."""
    statuses: Annotated[
        list[Annotated[str, AfterValidator(check_statuses)]],
        BeforeValidator(as_list),
        Field(min_length=1),
        limits.HEALTH_STATUSES,
    ] = Field(default_factory=lambda: list(limits.HEALTH_STATUSES.default))
    """With `http`: the good ones, such as "200", "2xx" or "200-399"."""
    body: Annotated[str, limits.HEALTH_BODY] = ""
    """With `http`: what the answer's first 64 KiB have to contain."""
    port: Annotated[int, Field(strict=True, ge=1, le=65535), limits.HEALTH_PORT] | None = None
    """Another port to check."""
    interval: Annotated[str, Duration(limits.HEALTH_INTERVAL)] = show_ms(
        limits.HEALTH_INTERVAL.default
    )
    """From one check of a server to the next."""
    fast_interval: Annotated[str, Duration(limits.HEALTH_FAST_INTERVAL)] | None = None
    """The same while its state may be changing."""
    timeout: Annotated[str, Duration(limits.HEALTH_TIMEOUT)] = show_ms(
        limits.HEALTH_TIMEOUT.default
    )
    """For a whole check."""
    rise: Annotated[
        int, Field(strict=True, ge=limits.HEALTH_RISE.low, le=limits.HEALTH_RISE.high),
        limits.HEALTH_RISE,
    ] = limits.HEALTH_RISE.default
    """Good checks in a row after which a server is up again."""
    fall: Annotated[
        int, Field(strict=True, ge=limits.HEALTH_FALL.low, le=limits.HEALTH_FALL.high),
        limits.HEALTH_FALL,
    ] = limits.HEALTH_FALL.default
    """Bad ones after which it is down."""
    panic: Annotated[str, AfterValidator(check_share), limits.HEALTH_PANIC] = "0%"
    """When fewer of the servers than this share are up, all are used."""


@dataclass(frozen=True)
class EffectiveHealth:
    kind: str                   # one of KINDS
    path: str
    method: str
    host: str                   # "": the server's address
    statuses: tuple[tuple[int, int], ...]
    body: bytes
    send: bytes
    expect: bytes
    port: int                   # 0: the server's
    interval_s: float
    fast_interval_s: float
    timeout_s: float
    rise: int
    fall: int
    panic: int                  # of 1000 servers
    plain: bool = False         # without TLS, whatever the pool has
    speaks_h2: bool = False     # http is said in HTTP/2
    service: str = ""           # with grpc; "": the server as a whole
    first: bytes = b""          # what comes before all else, TLS too


def effective_health(
    health: Health, protocol: str = "http/1.1", proxy_protocol: str | None = None
) -> EffectiveHealth:
    interval_ms = duration_ms(health.interval)
    fast = health.fast_interval
    fast_ms = duration_ms(fast) if fast is not None else min(
        interval_ms, limits.HEALTH_FAST_INTERVAL.default
    )
    udp = health.udp
    return EffectiveHealth(
        kind=next(kind for kind in KINDS if getattr(health, kind)),
        path=health.http or "",
        method=health.method,
        host=health.host or "",
        statuses=tuple(statuses(text) for text in health.statuses),
        body=health.body.encode(),
        send=as_bytes(health.send if udp is None else udp.send),
        expect=as_bytes(health.expect or "" if udp is None else udp.expect),
        port=health.port or 0,
        interval_s=interval_ms / 1000,
        fast_interval_s=fast_ms / 1000,
        timeout_s=duration_ms(health.timeout) / 1000,
        rise=health.rise,
        fall=health.fall,
        panic=per_mille(health.panic),
        plain=health.tls is False,
        speaks_h2=protocol == "h2",
        service=health.grpc if isinstance(health.grpc, str) else "",
        first=OWN_HEADERS[proxy_protocol] if proxy_protocol else b"",
    )


def check_health(
    path: Path, health: Mapping[str, Any]
) -> Iterator[tuple[Path, str, tuple[str, ...]]]:
    """What its keys say about each other."""
    given = [kind for kind in KINDS if health.get(kind) not in (None, False)]
    if len(given) != 1:
        has = " and ".join(given) if given else "none"
        yield path, f"health has exactly one of {', '.join(KINDS)}; this one has {has}", KINDS
        return
    belongs = {"method": ("http",), "host": ("http", "grpc", "tls"), "statuses": ("http",),
               "body": ("http",), "send": ("expect",)}
    for key, kinds in belongs.items():
        if key in health and given[0] not in kinds:
            yield (*path, key), (
                f"{key} belongs to {' and '.join(kinds)}, and this check is of {given[0]}"
            ), ()
