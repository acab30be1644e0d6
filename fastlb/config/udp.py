"""The part of the model that is about udp: sessions of datagrams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from fastlb.config import limits
from fastlb.config.base import Model, Short, Size
from fastlb.config.sources import (
    AnyConnectionRate,
    EffectiveConnectionRate,
    effective_connection_rate,
)
from fastlb.config.units import duration_us, show_bytes, show_us, size_bytes


class UdpListener(Model):
    """Keys of a listener whose `bind` is `udp://`."""

    max_sessions: Annotated[
        int,
        Field(strict=True, ge=limits.MAX_SESSIONS.low, le=limits.MAX_SESSIONS.high),
        limits.MAX_SESSIONS,
    ] = limits.MAX_SESSIONS.default
    """Sessions at a time, exact over all threads, each a descriptor; others are dropped."""
    max_sessions_per_source: Annotated[
        int,
        Field(strict=True, ge=limits.SOURCE_SESSIONS.low, le=limits.SOURCE_SESSIONS.high),
        limits.SOURCE_SESSIONS,
    ] = limits.SOURCE_SESSIONS.default
    """How many sessions one IPv4 address, or one /64 of IPv6, may have; 0: no limit."""
    max_session_rate_per_source: AnyConnectionRate | None = None
    """How many sessions each source may begin in a time: a rate such as "20/s", or a table.
    Datagrams that would begin others are dropped."""
    pick: Annotated[Literal["session", "datagram"], limits.PICK] = "session"
    """When a server is picked: once for all that a client sends, or for each datagram."""
    answers: Annotated[
        int, Field(strict=True, ge=0, le=1), limits.ANSWERS
    ] | None = None
    """How many a datagram gets: 1, as in DNS, and its server is picked for it alone; 0, as in
    syslog; and if not given any number, as long as the session lasts."""
    on_server_down: Annotated[Literal["move", "keep"], limits.ON_SERVER_DOWN] = "move"
    """Whether a session whose server is down, ejected or unreachable goes on to another one
    with its next datagram, or is kept where it is."""
    coalesce: Annotated[str, Short(limits.COALESCE)] = show_us(limits.COALESCE.default)
    """After datagrams from clients, how long those that follow may wait, so that more of them
    leave at once: less CPU for streams, and so much more latency for all but the first."""
    receive_buffer_size: Annotated[
        str, Size(limits.RECEIVE_BUFFER_SIZE)
    ] = show_bytes(limits.RECEIVE_BUFFER_SIZE.default)
    """What may wait in the kernel, of each thread, and of each session (SO_RCVBUF); for who
    isn't root, net.core.rmem_max caps it."""


KEYS = tuple(UdpListener.model_fields)


@dataclass(frozen=True)
class EffectiveUdp:
    sessions_max: int
    source_max: int             # 0: no limit
    source_rate: EffectiveConnectionRate | None
    each: bool                  # a server is picked for each datagram
    answers: int                # -1: any number
    moves: bool
    coalesce_us: int
    receive_buffer: int         # bytes


def effective_udp(name: str, listener: Any) -> EffectiveUdp:
    """Of a listener's model."""
    return EffectiveUdp(
        sessions_max=listener.max_sessions,
        source_max=listener.max_sessions_per_source,
        source_rate=effective_connection_rate(
            f"{name}:sessions", listener.max_session_rate_per_source),
        each=listener.pick == "datagram" or listener.answers is not None,
        answers=-1 if listener.answers is None else listener.answers,
        moves=listener.on_server_down == "move",
        coalesce_us=duration_us(listener.coalesce),
        receive_buffer=size_bytes(listener.receive_buffer_size),
    )
