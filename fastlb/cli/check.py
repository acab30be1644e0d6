"""`fastlb check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import click

from fastlb.config.effective import (
    Effective,
    EffectiveDns,
    EffectiveListener,
    EffectivePool,
    EffectiveServer,
    effective,
)
from fastlb.config.effective_http import Condition, EffectiveHttp, EffectiveRoute
from fastlb.config.effective_routes import TIMEOUTS
from fastlb.config.effective_sniffing import EffectiveSniffing, SniffRoute
from fastlb.config.effective_tls import EffectiveCertificate, EffectiveServerTls, EffectiveTls
from fastlb.config.failing import LIMITS, EffectiveHedge, EffectiveLimits, EffectiveOutliers
from fastlb.config.health import EffectiveHealth
from fastlb.config.observing import EffectiveAccessLog, EffectiveTracing
from fastlb.config.policy import EffectivePolicy
from fastlb.config.proxy_protocol import EffectiveProxyProtocol
from fastlb.config.reader import load
from fastlb.config.tls import day
from fastlb.config.udp import EffectiveUdp
from fastlb.config.units import show_bytes, show_ms, show_us
from fastlb.config.warn import warnings
from fastlb.errors import ConfigError


@click.command("check")
@click.argument("config")
def command(config: str) -> int:
    """Check the file CONFIG: exit 0 if it can be served, 2 if not, with all its problems.

    Prints every value that holds in the end, and where it came from.
    """
    model = load(config)
    values = effective(model)
    if any(listener.policies for listener in values.listeners):
        from fastlb.process.functions import find_all, look_beside

        look_beside(config)
        try:
            find_all(values.listeners)
        except ConfigError as error:
            raise ConfigError(replace(one, file=config) for one in error.problems) from None
    for line in describe(values):
        click.echo(line)
    for warning in warnings(model, values):
        click.echo(f"warning: {config}: {warning}", err=True)
    return 0


def describe(values: Effective) -> Iterator[str]:
    """Aligned lines: key, value, origin."""
    yield "process"
    yield from _top(values)
    if values.access_log is not None:
        yield ""
        yield "access_log"
        yield from _access_log(values.access_log)
    if values.tracing is not None:
        yield ""
        yield "tracing"
        yield from _tracing(values.tracing)
    yield ""
    yield "dns"
    yield from _dns(values.dns)
    for listener in values.listeners:
        yield ""
        yield f"listener {listener.name}"
        for bind in listener.binds:
            yield _line("bind", str(bind), "listener")
        yield _line("pool", listener.pool or "none", "listener")
        yield from _listener(listener)
        if listener.proxy_protocol is not None:
            yield from _proxy_protocol(listener.proxy_protocol)
        if listener.tls is not None:
            yield from _tls(listener.tls)
        if listener.http is not None:
            yield from _http(listener.http, listener.origins)
        if listener.sniffing is not None:
            yield from _sniffing(listener.sniffing, listener.origins)
    for pool in values.pools:
        yield ""
        yield f"pool {pool.name}"
        yield from _pool(pool)
        if pool.tls is not None:
            yield from _server_tls(pool.tls)
        for server in pool.servers:
            yield _line("server", _server(server, values.dns), "pool")


def _top(values: Effective) -> Iterator[str]:
    limit = str(values.max_connections or "half of the descriptor limit")
    yield _line("threads", str(values.threads), values.origins["threads"])
    timeout = show_ms(values.shutdown_timeout_ms)
    yield _line("shutdown_timeout", timeout, values.origins["shutdown_timeout"])
    yield _line("max_connections", limit, values.origins["max_connections"])
    if values.zone:
        yield _line("zone", values.zone, values.origins["zone"])
    admin = values.admin
    shown = ", ".join(str(bind) for bind in admin.binds) if admin else "of the command"
    if admin is None and values.origins["admin"] == "given":
        shown = "none"
    yield _line("admin", shown + (" with a token" if admin and admin.token else ""),
                values.origins["admin"])
    yield _line("busy_poll", str(values.busy_poll).lower(), values.origins["busy_poll"])


def _access_log(log: EffectiveAccessLog) -> Iterator[str]:
    yield _line("path", "standard output" if log.path == "-" else log.path, log.origins["path"])
    yield _line("format", log.format, log.origins["format"])
    if log.format == "json":
        yield _line("fields", ", ".join(log.fields), log.origins["fields"])
    yield _line("buffer", show_bytes(log.ring_bytes), log.origins["buffer"])


def _tracing(tracing: EffectiveTracing) -> Iterator[str]:
    yield _line("sample", f"{tracing.sample * 100:.10g}%", tracing.origins["sample"])
    yield _line("service", tracing.service, tracing.origins["service"])


def _dns(dns: EffectiveDns) -> Iterator[str]:
    servers = ", ".join(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in
                        dns.nameservers)
    yield _line("nameservers", servers or "of /etc/resolv.conf", dns.origins["nameservers"])
    yield _line("timeout", show_ms(dns.timeout_ms), dns.origins["timeout"])
    yield _line("refresh", _refresh(dns.refresh_ms), dns.origins["refresh"])


def _refresh(ms: int | None) -> str:
    return "ttl" if ms is None else show_ms(ms)


def _line(key: str, value: str, origin: str) -> str:
    return f"  {key:<24} {value:<36} {origin}".rstrip()


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
    if listener.udp is not None:
        shown = {"idle_timeout": shown["idle_timeout"], **_udp(listener.udp),
                 "reuse_port": shown["reuse_port"]}
    if listener.http is not None:       # these are for relays
        for key in ("idle_timeout", "buffer_size", "bulk_buffer_size"):
            del shown[key]
    for key, value in shown.items():
        yield _line(key, value, listener.origins[key])
    if listener.policy is not None:
        policy = listener.policy
        first = (f"; {show_bytes(policy.first_bytes)} first, for {show_ms(policy.first_ms)}"
                 if policy.first_bytes else "")
        yield _line("policy", _policy(policy) + first, "listener")


def _udp(udp: EffectiveUdp) -> dict[str, str]:
    return {
        "max_sessions": str(udp.sessions_max),
        "max_sessions_per_source": str(udp.source_max or "no limit"),
        "pick": "for each datagram" if udp.each else "for each session",
        "answers": "any number" if udp.answers < 0 else str(udp.answers),
        "on_server_down": "move" if udp.moves else "keep",
        "coalesce": show_us(udp.coalesce_us),
        "receive_buffer_size": show_bytes(udp.receive_buffer),
    }


def _proxy_protocol(proxy: EffectiveProxyProtocol) -> Iterator[str]:
    shown = {
        "trusted": ", ".join(map(str, proxy.trusted)), "required": _switch(proxy.required),
        "timeout": show_ms(proxy.timeout_ms),
    }
    for key, value in shown.items():
        yield _line(f"proxy_protocol.{key}", value, proxy.origins[key])


def _tls(tls: EffectiveTls) -> Iterator[str]:
    for one in tls.certificates:
        yield _line("tls.certificates", _certificate(one), "listener")
    tickets = "false"
    if tls.tickets is not None:
        n = len(tls.tickets.keys)
        tickets = (f"keys of {n} file{'s' if n != 1 else ''}" if n
                   else f"a new key each {show_ms(tls.tickets.rotate_ms)}")
    shown = {
        "alpn": ", ".join(tls.alpn) or "none",
        "client_auth": tls.client_auth,
        **({"client_depth": str(tls.client_depth)} if tls.client_depth >= 0 else {}),
        **({"client_crl": "given"} if tls.client_crl else {}),
        "tickets": tickets,
        "unknown_name": "refuse" if tls.refuses else "first",
        "handshake_timeout": show_ms(tls.handshake_timeout_ms),
        **_both(tls),
    }
    for key, value in shown.items():
        yield _line(f"tls.{key}", value, tls.origins[key])


def _server_tls(tls: EffectiveServerTls) -> Iterator[str]:
    shown = {
        "verify": _switch(tls.verify),
        "ca": "given" if tls.ca else "the system's",
        **({"crl": "given"} if tls.crl else {}),
        "server_name": tls.server_name or "each server's host",
        **({"certificate": _certificate(tls.certificate)} if tls.certificate else {}),
        "alpn": ", ".join(tls.alpn) or "none",
        **_both(tls),
    }
    for key, value in shown.items():
        yield _line(f"tls.{key}", value, tls.origins[key])


def _both(tls: EffectiveTls | EffectiveServerTls) -> dict[str, str]:
    return {
        "min_version": tls.versions[0],
        "max_version": tls.versions[1],
        "ciphers": tls.ciphers,
        "cipher_suites": tls.cipher_suites,
        "curves": tls.curves,
        **({"key_log": tls.key_log} if tls.key_log else {}),
    }


def _certificate(one: EffectiveCertificate) -> str:
    """Whom it names and until when; of its key only the algorithm."""
    parsed = one.certificate
    return (f"{one.file}: {', '.join(parsed.names) or 'no name'}; {parsed.algorithm};"
            f" expires {day(parsed.not_after)}{'; stapled' if one.ocsp else ''}")


def _policy(policy: EffectivePolicy) -> str:
    name = policy.call if isinstance(policy.call, str) else getattr(
        policy.call, "__qualname__", repr(policy.call))
    keeps = f", kept for {show_ms(policy.cache_ms)} by {policy.cache_on}" if policy.cache_on else ""
    body = f", {show_bytes(policy.body_bytes)} of the body" if policy.body_bytes else ""
    return (
        f"{name}{' (blocking)' if policy.blocking else ''}{body}{keeps};"
        f" {policy.pending_max} wait {show_ms(policy.deadline_ms)} at most,"
        f" then {policy.on_error or 'an error'}"
    )


def _http(http: EffectiveHttp, origins: Mapping[str, str]) -> Iterator[str]:
    for key in TIMEOUTS:
        yield _line(key, _time(getattr(http, f"{key}_ms")), origins[key])
    shown = {
        "max_header_size": show_bytes(http.header_bytes_max),
        "max_headers": str(http.headers_max),
        "max_uri_length": show_bytes(http.uri_bytes_max),
        "max_body_size": show_bytes(http.body_bytes_max) if http.body_bytes_max else "no limit",
        "max_match_body": show_bytes(http.match_body_bytes),
        "max_requests": str(http.requests_max or "no limit"),
        "request_id": _switch(http.request_id),
        "traceparent": _switch(http.traceparent),
        "via": http.via or "none",
        "error_header": http.error_header or "none",
        "on_client_close": "cancel" if http.cancel_on_close else "drain",
        "h2c": _switch(http.h2c),
        "merge_slashes": http.merge_slashes,
        "underscores": http.underscores,
        "path_parameters": "refuse" if http.refuse_parameters else "pass",
        "methods": ", ".join(http.methods) or "any",
        "forwarded.headers": ", ".join(http.forwarded) or "none",
        "forwarded.trusted": ", ".join(map(str, http.trusted)) or "nobody",
        "forwarded.keep": ", ".join(http.kept_claims) or "none",
    }
    for key, value in shown.items():
        yield _line(key, value, origins[key.partition(".")[0]])
    if http.routes:
        yield "  routes, in the order in which they are tried"
    for route in http.routes:
        yield f"    {route.name:<18} {_match(route)} -> {_action(route)}"


def _sniffing(sniffing: EffectiveSniffing, origins: Mapping[str, str]) -> Iterator[str]:
    for key, ms in (("sniff_timeout", sniffing.silence_ms),
                    ("sniff_whole_timeout", sniffing.whole_ms)):
        yield _line(key, show_ms(ms), origins[key])
    if sniffing.routes:
        yield "  routes, in the order in which they are tried"
    for route in sniffing.routes:
        parts = [" or ".join(route.protocols), f"tls.sni {route.sni}" if route.sni else "",
                 *map(_condition, route.conditions)]
        fits = ", ".join(part for part in parts if part) or "everything"
        yield f"    {route.name:<18} {fits} -> {_session(route)}"


def _session(route: SniffRoute) -> str:
    where = f"listener {route.listener}" if route.listener else f"pool {route.pool}"
    if route.split:
        where = "split " + ", ".join(f"{name} {weight}" for name, weight in route.split)
    if route.policy is None:
        return where
    otherwise = where if route.pool or route.split else "the listener's pool"
    return f"policy {_policy(route.policy)}; None: {otherwise}"


def _time(ms: int) -> str:
    return show_ms(ms) if ms else "none"


def _match(route: EffectiveRoute) -> str:
    parts = [" ".join(route.methods), route.host + (route.path or route.path_regex)]
    parts += map(_condition, route.conditions)
    return ", ".join(part for part in parts if part) or "everything"


def _condition(c: Condition) -> str:
    what = f"{'not ' if c.negate else ''}{c.kind}{'.' if c.name else ''}{c.name}"
    if c.op == "present":
        return what
    return what + f" {c.op.replace('_', ' ')} {c.value}".replace("\n", ", ")


def _action(route: EffectiveRoute) -> str:
    if route.policy is not None:
        return f"policy {_policy(route.policy)}; None: {_where(route)}"
    return _where(route)


def _where(route: EffectiveRoute) -> str:
    if route.redirect:
        return f"redirect {route.redirect[0]} {route.redirect[1]}"
    if route.respond:
        return f"respond {route.respond.status}"
    if route.policy is not None and not route.pool and not route.split:
        return "the listener's pool"
    to = route.pool or ", ".join(f"{name} {weight}" for name, weight in route.split)
    return f"pool {to}" if route.pool else f"split {to}"


def _pool(pool: EffectivePool) -> Iterator[str]:
    shown = {
        "balance": pool.balance,
        **({"hash_on": pool.hash_on} if pool.hash_on else {}),
        **({"bounded_load": str(pool.bounded_load)} if pool.bounded_load else {}),
        **({"table_size": str(pool.table_size)} if pool.balance == "maglev" else {}),
        **({"slow_start": show_ms(pool.slow_start_ms)} if pool.slow_start_ms else {}),
        **({"sticky": f"cookie {pool.sticky.cookie}"} if pool.sticky else {}),
        **({"subset": f"{pool.subset.size} for {pool.subset.instance}"} if pool.subset else {}),
        **({"health": _health(pool.health)} if pool.health else {}),
        "outliers": _outliers(pool.outliers),
        **({"hedge": _hedge(pool.hedge)} if pool.hedge else {}),
        "retry": f"{pool.retry.attempts} tries, budget {pool.retry.budget / 10:g}%",
        "retry.on": pool.retry.on_text or "nothing",
        **({"limits": _limits(pool.limits)} if pool.limits != LIMITS else {}),
        **({"fallback": pool.fallback} if pool.fallback else {}),
        **({"unavailable": f"respond {pool.unavailable.status}"} if pool.unavailable else {}),
        "protocol": pool.protocol,
        **({"proxy_protocol": pool.proxy_protocol} if pool.proxy_protocol else {}),
        "connect_timeout": show_ms(pool.connect_timeout_ms),
        "max_idle_connections": str(pool.idle_max),
        "idle_connection_timeout": _time(pool.idle_timeout_ms),
        "max_connection_age": show_ms(pool.connection_age_ms) if pool.connection_age_ms
        else "no limit",
        "max_connection_requests": str(pool.connection_requests_max or "no limit"),
        "tcp_nodelay": _switch(pool.tcp_nodelay),
        "keepalive": _keepalive(pool.keepalive),
    }
    for key, value in shown.items():
        yield _line(key, value, pool.origins[key.partition(".")[0]])


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
        extra += f" refresh {_refresh(server.refresh_ms)}"
    return f"{server.address}{extra}"


def _switch(on: bool) -> str:
    return "true" if on else "false"


def _keepalive(keepalive: tuple[int, int, int] | None) -> str:
    if keepalive is None:
        return "false"
    idle_s, interval_s, count = keepalive
    return f"{idle_s}s, then {count} x {interval_s}s"
