"""What commands that talk to a running process have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fastlb.client import Client, RemoteServer
from fastlb.config.units import duration_ms
from fastlb.link import find

admin_option = click.option(
    "--admin", metavar="ADDRESS",
    help="Address of the process's admin API: http://HOST:PORT or http://unix:/PATH. Without it,"
    " $FASTLB_ADMIN, or the one process that is found in /run/fastlb. $FASTLB_TOKEN is the token.",
)


def client(admin: str | None) -> Client:
    return Client(find(admin))


def who(process: Client) -> str:
    """Which process answers: there may be several."""
    return f"process {process.status()['pid']}"


def server(admin: str | None, name: str) -> RemoteServer:
    """POOL/SERVER, or SERVER alone where only one pool has it."""
    pools = client(admin).pools
    pool, _, address = name.partition("/")
    if pool in pools and address:
        servers = pools[pool].servers
        if address not in servers:
            raise click.UsageError(
                f"the pool {pool} has no server {address!r}. One of: {', '.join(servers)}"
            )
        return servers[address]
    having = {key: made.servers[name] for key, made in pools.items() if name in made.servers}
    if len(having) == 1:
        return next(iter(having.values()))
    if having:
        raise click.UsageError(
            f"several pools have {name}: {', '.join(f'{key}/{name}' for key in having)}"
        )
    raise click.UsageError(
        f"{name!r} is not POOL/SERVER. The pools are: {', '.join(pools) or 'none'}"
    )


if TYPE_CHECKING:
    Type = click.ParamType[float]
else:                       # not generic before click 8.3
    Type = click.ParamType


class Time(Type):
    """A duration, in seconds."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, float):
            return value
        try:
            return duration_ms(value) / 1000
        except ValueError as error:
            self.fail(str(error), param, ctx)
