"""What `fastlb check` shows of a pool."""

from __future__ import annotations

from collections.abc import Iterator

from fastlb.cli.lines import both, certificate, edits, keepalive, line, refresh, switch
from fastlb.config.effective import EffectiveDns, EffectivePool, EffectiveServer
from fastlb.config.effective_tls import EffectiveServerTls
from fastlb.config.failing import LIMITS, EffectiveHedge, EffectiveLimits, EffectiveOutliers
from fastlb.config.geography import EffectiveNearest
from fastlb.config.health import EffectiveHealth
from fastlb.config.model import Pool
from fastlb.config.plain import plain_keys
from fastlb.config.units import show_ms


def pool_lines(pool: EffectivePool, dns: EffectiveDns) -> Iterator[str]:
    yield f"pool {pool.name}"
    yield from _pool(pool)
    if pool.tls is not None:
        yield from _server_tls(pool.tls)
    for server in pool.servers:
        yield line("server", _server(server, dns), "pool")


def _pool(pool: EffectivePool) -> Iterator[str]:
    shown = {
        "balance": pool.balance,
        **({"hash_on": pool.hash_on} if pool.hash_on else {}),
        **({"bounded_load": str(pool.bounded_load)} if pool.bounded_load else {}),
        **({"table_size": str(pool.table_size)} if pool.balance == "maglev" else {}),
        **({"slow_start": show_ms(pool.slow_start_ms)} if pool.slow_start_ms else {}),
        **({"sticky": f"cookie {pool.sticky.cookie}"} if pool.sticky else {}),
        **({"nearest": _nearest(pool.nearest)} if pool.nearest else {}),
        **({"subset": f"{pool.subset.size} for {pool.subset.instance}"} if pool.subset else {}),
        **({"health": _health(pool.health)} if pool.health else {}),
        "outliers": _outliers(pool.outliers),
        **({"hedge": _hedge(pool.hedge)} if pool.hedge else {}),
        "retry": f"{pool.retry.attempts} tries, budget {pool.retry.budget / 10:g}%",
        "retry.on": pool.retry.on_text or "nothing",
        **({"limits": _limits(pool.limits)} if pool.limits != LIMITS else {}),
        **({"fallback": pool.fallback} if pool.fallback else {}),
        **({"unavailable": f"respond {pool.unavailable.status}"} if pool.unavailable else {}),
        **({"request_headers": edits(pool.request_headers)} if pool.request_headers else {}),
        **({"response_headers": edits(pool.response_headers)} if pool.response_headers else {}),
        "protocol": pool.protocol,
        **({"proxy_protocol": pool.proxy_protocol} if pool.proxy_protocol else {}),
        **{key.name: key.shown(pool.keys[key.core_name]) for key in plain_keys(Pool)
           if key.plain.of != "HTTP/2" or pool.protocol == "h2"},
        "tcp_nodelay": switch(pool.tcp_nodelay),
        "keepalive": keepalive(pool.keepalive),
    }
    for key, value in shown.items():
        yield line(key, value, pool.origins[key.partition(".")[0]])


def _server_tls(tls: EffectiveServerTls) -> Iterator[str]:
    shown = {
        "verify": switch(tls.verify),
        "ca": "given" if tls.ca else "the system's",
        **({"crl": "given"} if tls.crl else {}),
        "server_name": tls.server_name or "each server's host",
        **({"certificate": certificate(tls.certificate)} if tls.certificate else {}),
        "alpn": ", ".join(tls.alpn) or "none",
        **both(tls),
    }
    for key, value in shown.items():
        yield line(f"tls.{key}", value, tls.origins[key])


def _health(health: EffectiveHealth) -> str:
    what = health.kind
    if health.kind == "http":
        what += f" {health.path}"
    elif health.service:
        what += f" {health.service}"
    return f"{what} each {health.interval_s:g}s, {health.fall} down, {health.rise} up"


def _hedge(hedge: EffectiveHedge) -> str:
    after = show_ms(hedge.delay_ms) if hedge.delay_ms else f"{hedge.percentile / 10:g}% of answers"
    return f"after {after}, budget {hedge.budget / 10:g}%"


def _limits(limits: EffectiveLimits) -> str:
    most = f"{limits.in_flight_max} requests" if limits.in_flight_max else "any number"
    if limits.retries_max:
        most += f", {limits.retries_max} retries"
    if not limits.pending_max:
        return most
    return f"{most}, {limits.pending_max} wait for {show_ms(limits.pending_timeout_ms)}"


def _outliers(outliers: EffectiveOutliers) -> str:
    if not (outliers.failures or outliers.error_rate or outliers.latency):
        return "none"
    rates = (
        (f", {outliers.error_rate / 10:g}% errors" if outliers.error_rate else "")
        + (f", {outliers.latency:g} times as slow" if outliers.latency else "")
    )
    return (
        f"{outliers.failures} failures{rates}: {show_ms(outliers.ejection_ms)} out,"
        f" {outliers.share_max / 10:g}% at most"
    )


def _server(server: EffectiveServer, dns: EffectiveDns) -> str:
    extra = f" weight {server.weight}" if server.weight != 1 else ""
    if server.max_connections:
        extra += f" max_connections {server.max_connections}"
    if server.priority:
        extra += f" priority {server.priority}"
    if server.zone:
        extra += f" zone {server.zone}"
    if server.state != "up":
        extra += f" {server.state}"
    if server.refresh_ms != dns.refresh_ms:
        extra += f" refresh {refresh(server.refresh_ms)}"
    return f"{server.address}{extra}"


def _nearest(nearest: EffectiveNearest) -> str:
    rows = {**nearest.countries, **nearest.continents}
    if nearest.others:
        rows["others"] = nearest.others
    if nearest.measured:
        rows["others"] = ("by connect time",)
    return "; ".join(f"{place}: {', '.join(zones)}" for place, zones in rows.items())
