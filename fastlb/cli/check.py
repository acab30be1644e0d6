"""`fastlb check`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from fastlb.config.effective import (
    Effective,
    EffectiveDns,
    EffectiveListener,
    EffectivePool,
    EffectiveServer,
    effective,
)
from fastlb.config.model import Config
from fastlb.config.reader import load
from fastlb.config.units import show_bytes, show_ms


@click.command("check")
@click.argument("config")
def command(config: str) -> int:
    """Check the file CONFIG: exit 0 if it can be served, 2 if not, with all its problems.

    Prints every value that holds in the end, and where it came from.
    """
    model = load(config)
    values = effective(model)
    for line in describe(values):
        click.echo(line)
    for warning in warnings(model):
        click.echo(f"warning: {config}: {warning}", err=True)
    return 0


def describe(values: Effective) -> Iterator[str]:
    """Aligned lines: key, value, origin."""
    yield "process"
    yield from _top(values)
    yield ""
    yield "dns"
    yield from _dns(values.dns)
    for listener in values.listeners:
        yield ""
        yield f"listener {listener.name}"
        for bind in listener.binds:
            yield _line("bind", str(bind), "listener")
        yield _line("pool", listener.pool, "listener")
        yield from _listener(listener)
    for pool in values.pools:
        yield ""
        yield f"pool {pool.name}"
        yield from _pool(pool)
        for server in pool.servers:
            yield _line("server", _server(server, values.dns), "pool")


def _top(values: Effective) -> Iterator[str]:
    limit = str(values.max_connections or "half of the descriptor limit")
    yield _line("threads", str(values.threads), values.origins["threads"])
    timeout = show_ms(values.shutdown_timeout_ms)
    yield _line("shutdown_timeout", timeout, values.origins["shutdown_timeout"])
    yield _line("max_connections", limit, values.origins["max_connections"])
    yield _line("busy_poll", str(values.busy_poll).lower(), values.origins["busy_poll"])


def _dns(dns: EffectiveDns) -> Iterator[str]:
    servers = ", ".join(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in
                        dns.nameservers)
    yield _line("nameservers", servers or "of /etc/resolv.conf", dns.origins["nameservers"])
    yield _line("timeout", show_ms(dns.timeout_ms), dns.origins["timeout"])
    yield _line("refresh", _refresh(dns.refresh_ms), dns.origins["refresh"])


def _refresh(ms: int | None) -> str:
    return "ttl" if ms is None else show_ms(ms)


def _line(key: str, value: str, origin: str) -> str:
    return f"  {key:<18} {value:<32} {origin}".rstrip()


def _listener(listener: EffectiveListener) -> Iterator[str]:
    shown = {
        "max_connections": str(listener.max_connections or "no limit"),
        "idle_timeout": show_ms(listener.idle_timeout_ms) if listener.idle_timeout_ms else "none",
        "backlog": str(listener.backlog),
        "tcp_nodelay": _switch(listener.tcp_nodelay),
        "keepalive": _keepalive(listener.keepalive),
        "buffer_size": show_bytes(listener.buffer_size),
        "bulk_buffer_size": show_bytes(listener.bulk_buffer_size),
        "reuse_port": _switch(listener.reuse_port),
        "mode": "of the umask" if listener.mode is None else f"{listener.mode:04o}",
    }
    if not any(bind.path for bind in listener.binds):
        del shown["mode"]
    for key, value in shown.items():
        yield _line(key, value, listener.origins[key])


def _pool(pool: EffectivePool) -> Iterator[str]:
    shown = {
        "balance": pool.balance,
        **({"hash_on": pool.hash_on} if pool.hash_on else {}),
        "connect_timeout": show_ms(pool.connect_timeout_ms),
        "tcp_nodelay": _switch(pool.tcp_nodelay),
        "keepalive": _keepalive(pool.keepalive),
    }
    for key, value in shown.items():
        yield _line(key, value, pool.origins[key])


def _server(server: EffectiveServer, dns: EffectiveDns) -> str:
    extra = f" weight {server.weight}" if server.weight != 1 else ""
    if server.max_connections:
        extra += f" max_connections {server.max_connections}"
    if server.refresh_ms != dns.refresh_ms:
        extra += f" refresh {_refresh(server.refresh_ms)}"
    return f"{server.address}{extra}"


def _switch(on: bool) -> str:
    return "true" if on else "false"


def _keepalive(keepalive: tuple[int, int, int] | None) -> str:
    if keepalive is None:
        return "false"
    idle_s, interval_s, count = keepalive
    return f"{idle_s}s, then {count} x {interval_s}s"


def warnings(config: Config) -> Iterator[str]:
    """What is allowed and probably not meant."""
    for name, listener in config.listeners.items():
        most = listener.max_connections
        if most and config.max_connections and most > config.max_connections:
            yield (
                f"listeners.{name}.max_connections: {most} are never reached, as the process has"
                f" {config.max_connections} at most"
            )
        if listener.mode is not None and not any("unix:" in bind for bind in listener.bind):
            yield f"listeners.{name}.mode: no address of this listener is a unix socket"
    used = {listener.pool for listener in config.listeners.values()}
    for name, pool in config.pools.items():
        if name not in used:
            yield f"pools.{name}: no listener uses this pool"
        if pool.servers and all(server.weight == 0 for server in pool.servers):
            yield f"pools.{name}: every server has weight 0, so none is ever picked"
