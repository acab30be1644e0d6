"""A server as it is written in Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any

from fastlb.config.units import show
from fastlb.errors import ConfigError, Problem


@dataclass(frozen=True)
class Server:
    """One server of a pool: an `address` ("HOST:PORT", "[v6]:PORT" or "unix:/PATH"), or a `dns`
    name with a port, of which every address is a server."""

    address: str | None = None
    _: KW_ONLY
    dns: str | None = None
    refresh: str | None = None              # "ttl", or a duration; of a name
    weight: int = 1
    max_connections: int | None = None
    priority: int = 0                       # 0 comes first
    zone: str | None = None
    state: str = "up"                       # draining, maintenance


def listed(servers: Iterable[str | Server], pool: str) -> list[str | Server]:
    """All of them; ConfigError for a single text, which would be taken apart into letters."""
    if isinstance(servers, str):
        message = f'{show(servers)} is not a list; write ["{servers}"]'
        raise ConfigError([Problem(message, f"pools.{pool}.servers")])
    return list(servers)


def server_keys(server: Any) -> Any:
    """Return a Server as the keys that it was given; anything else as it is."""
    if not isinstance(server, Server):
        return server
    return {key: value for key, value in asdict(server).items() if value is not None}
