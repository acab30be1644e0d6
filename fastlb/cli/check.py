"""`fastlb check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from fastlb._core.tables.networks import NetworkSet
from fastlb.cli.lines import both, certificate, edits, keepalive, line, pages, refresh, switch, time
from fastlb.cli.pool_lines import pool_lines
from fastlb.cli.route_lines import route_lines, session_lines
from fastlb.config.effective import (
    Effective,
    EffectiveDns,
    EffectiveListener,
    effective,
)
from fastlb.config.effective_http import EffectiveHttp, EffectiveRoute, over
from fastlb.config.effective_routes import TIMEOUTS
from fastlb.config.effective_sniffing import EffectiveSniffing, SniffRoute
from fastlb.config.effective_tls import EffectiveTls
from fastlb.config.geography import EffectiveGeo
from fastlb.config.networks import EffectiveNetworks, show_rule
from fastlb.config.observing import EffectiveAccessLog, EffectiveTracing
from fastlb.config.parts import PARTS
from fastlb.config.policy import EffectivePolicy
from fastlb.config.proxy_protocol import EffectiveProxyProtocol
from fastlb.config.reader import load, located
from fastlb.config.sources import (
    show_ban,
    show_connection_rate,
    show_request_rate,
    show_tarpit,
)
from fastlb.config.speeds import show_speed
from fastlb.config.udp import EffectiveUdp
from fastlb.config.units import show_bytes, show_ms, show_us
from fastlb.config.warn import warnings
from fastlb.control.list_warnings import list_warnings
from fastlb.control.network_sources import read_all
from fastlb.errors import ConfigError, Problem
from fastlb.explain.tried import asks_for, wanted_of


@click.command("check")
@click.argument("config")
def command(config: str) -> int:
    """Check the file CONFIG. Exit 0 if it can be served; 2 if not, with all of its mistakes.

    Prints every value, and where each comes from. The files and packages that CONFIG needs must be
    there. No port is opened and no name is resolved.
    """
    model = load(config)
    values = effective(model)
    try:
        sets = _try_out(config, values)
    except ConfigError as error:
        raise located(error.problems, config) from None
    for shown in describe(values):
        click.echo(shown)
    for warning in (*warnings(model, values), *list_warnings(values, sets)):
        click.echo(f"warning: {config}: {warning}", err=True)
    return 0


def _try_out(config: str, values: Effective) -> dict[str, NetworkSet]:
    """Return the sets of networks. ConfigError with what `serve` would find out when it
    starts."""
    from fastlb.explain.offline import compile_offline
    from fastlb.process.functions import find_all, look_beside
    from fastlb.process.preconditions import check_preconditions

    check_preconditions(values)
    if any(listener.policies or listener.plans for listener in values.listeners):
        look_beside(config)
        find_all(values.listeners)
    sets = read_all(values.networks)
    try:
        compile_offline(values, functions=False, sets=sets)
    except (ValueError, OverflowError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError([Problem(str(error))]) from None      # more than tables can hold
    return sets


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
    if values.geo is not None:
        yield ""
        yield "geo"
        yield from _geo(values.geo)
    for one in values.networks:
        yield ""
        yield f"networks {one.name}"
        yield from _networks(one)
    for listener in values.listeners:
        yield ""
        yield f"listener {listener.name}"
        for bind in listener.binds:
            yield line("bind", str(bind), "listener")
        yield line("pool", listener.pool or "none", "listener")
        for key, rule in (("deny", listener.deny), ("allow", listener.allow)):
            if rule is not None:
                yield line(key, show_rule(rule), listener.origins[key])
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
        yield from pool_lines(pool, values.dns)


def _top(values: Effective) -> Iterator[str]:
    limit = str(values.max_connections or "half of the descriptor limit")
    yield line("threads", str(values.threads), values.origins["threads"])
    timeout = show_ms(values.shutdown_timeout_ms)
    yield line("shutdown_timeout", timeout, values.origins["shutdown_timeout"])
    delay, idle = show_ms(values.shutdown_delay_ms), show_ms(values.shutdown_idle_ms)
    yield line("shutdown_delay", delay, values.origins["shutdown_delay"])
    yield line("shutdown_idle_timeout", idle, values.origins["shutdown_idle_timeout"])
    yield line("max_connections", limit, values.origins["max_connections"])
    if any(one.udp is not None for one in values.listeners):
        most = str(values.sessions_max or "a part of max_connections")
        yield line("max_sessions", most, values.origins["max_sessions"])
    if values.zone:
        yield line("zone", values.zone, values.origins["zone"])
    admin = values.admin
    shown = ", ".join(str(bind) for bind in admin.binds) if admin else "a unix socket of its user"
    if admin is None and values.origins["admin"] == "given":
        shown = "none"
    yield line("admin", shown + (" with a token" if admin and admin.token else ""),
                values.origins["admin"])
    yield line("busy_poll", str(values.busy_poll).lower(), values.origins["busy_poll"])


def _access_log(log: EffectiveAccessLog) -> Iterator[str]:
    yield line("path", "standard output" if log.path == "-" else log.path, log.origins["path"])
    yield line("format", log.format, log.origins["format"])
    if log.format == "json":
        yield line("fields", ", ".join(log.fields), log.origins["fields"])
    yield line("buffer", show_bytes(log.ring_bytes), log.origins["buffer"])


def _tracing(tracing: EffectiveTracing) -> Iterator[str]:
    yield line("sample", f"{tracing.sample * 100:.10g}%", tracing.origins["sample"])
    yield line("service", tracing.service, tracing.origins["service"])


def _dns(dns: EffectiveDns) -> Iterator[str]:
    servers = ", ".join(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in
                        dns.nameservers)
    yield line("nameservers", servers or "those in /etc/resolv.conf", dns.origins["nameservers"])
    yield line("timeout", show_ms(dns.timeout_ms), dns.origins["timeout"])
    yield line("refresh", refresh(dns.refresh_ms), dns.origins["refresh"])


def _geo(geo: EffectiveGeo) -> Iterator[str]:
    for kind, path in geo.files.items():
        yield line(kind, path, "geo")
    yield line("refresh", show_ms(geo.refresh_ms), geo.origins["refresh"])
    for one in geo.overrides:
        known = (one.country, one.continent, one.region, f"AS {one.asn}" if one.asn else "")
        yield line(f"override {one.network}", ", ".join(filter(None, known)), "geo")


def _networks(one: EffectiveNetworks) -> Iterator[str]:
    if one.url:
        yield line("url", f"{one.source} (not fetched here)", "networks")
        yield line("ca", "given" if one.ca else "the system's", one.origins["ca"])
        yield line("refresh", show_ms(one.refresh_ms), one.origins["refresh"])
        yield line("timeout", show_ms(one.timeout_ms), one.origins["timeout"])
        yield line("saved_copy", one.saved_copy or "none", one.origins["saved_copy"])
        yield line("required", switch(one.required), one.origins["required"])
    elif one.file:
        yield line("file", one.file, "networks")
        yield line("refresh", show_ms(one.refresh_ms), one.origins["refresh"])
    else:
        yield line("cidrs", ", ".join(one.cidrs) or "none", "networks")


def _listener(listener: EffectiveListener) -> Iterator[str]:
    shown = {
        "max_connections": str(listener.max_connections or "no limit"),
        "max_connections_per_source": str(listener.source_max or "no limit"),
        "max_connection_rate_per_source": show_connection_rate(listener.source_rate),
        "tarpit": show_tarpit(listener.tarpit),
        "ban": show_ban(listener.ban),
        "idle_timeout": show_ms(listener.idle_timeout_ms) if listener.idle_timeout_ms else "none",
        "backlog": str(listener.backlog),
        "tcp_nodelay": switch(listener.tcp_nodelay),
        "keepalive": keepalive(listener.keepalive),
        "buffer_size": show_bytes(listener.buffer_size),
        "bulk_buffer_size": show_bytes(listener.bulk_buffer_size),
        "reuse_port": switch(listener.reuse_port),
        "mode": "of the umask" if listener.mode is None else f"{listener.mode:04o}",
    }
    if not any(bind.path for bind in listener.binds):
        del shown["mode"]
    if listener.udp is not None:
        shown = {"idle_timeout": shown["idle_timeout"], **_udp(listener.udp),
                 "reuse_port": shown["reuse_port"]}
    if listener.scheme == "tcp":
        speeds = listener.speeds
        shown["max_upload_rate"] = show_speed(speeds.upload if speeds is not None else None)
        shown["max_download_rate"] = show_speed(speeds.download if speeds is not None else None)
    if listener.http is not None:       # these are for relays
        for key in ("idle_timeout", "buffer_size", "bulk_buffer_size"):
            del shown[key]
    for key, value in shown.items():
        yield line(key, value, listener.origins[key])
    if listener.policy is not None:
        policy = listener.policy
        first = (f"; {show_bytes(policy.first_bytes)} first, for {show_ms(policy.first_ms)}"
                 if policy.first_bytes else "")
        yield line("policy", _policy(policy) + first, "listener")


def _udp(udp: EffectiveUdp) -> dict[str, str]:
    return {
        "max_sessions": str(udp.sessions_max),
        "max_sessions_per_source": str(udp.source_max or "no limit"),
        "max_session_rate_per_source": show_connection_rate(udp.source_rate),
        "pick": "for each datagram" if udp.each else "for each session",
        "answers": "any number" if udp.answers < 0 else str(udp.answers),
        "on_server_down": "move" if udp.moves else "keep",
        "coalesce": show_us(udp.coalesce_us),
        "receive_buffer_size": show_bytes(udp.receive_buffer),
    }


def _proxy_protocol(proxy: EffectiveProxyProtocol) -> Iterator[str]:
    shown = {
        "trusted": ", ".join(map(str, proxy.trusted)), "required": switch(proxy.required),
        "timeout": show_ms(proxy.timeout_ms),
    }
    for key, value in shown.items():
        yield line(f"proxy_protocol.{key}", value, proxy.origins[key])


def _tls(tls: EffectiveTls) -> Iterator[str]:
    for one in tls.certificates:
        yield line("tls.certificates", certificate(one), "listener")
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
        "max_handshakes": str(tls.handshakes_max or "no limit"),
        "max_handshakes_per_source": str(tls.source_handshakes_max or "no limit"),
        "handshake_timeout": show_ms(tls.handshake_timeout_ms),
        **both(tls),
    }
    for key, value in shown.items():
        yield line(f"tls.{key}", value, tls.origins[key])


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
        yield line(key, time(getattr(http, f"{key}_ms")), origins[key])
    shown = {
        "max_header_size": show_bytes(http.header_bytes_max),
        "max_headers": str(http.headers_max),
        "min_request_rate": show_request_rate(http.request_rate),
        "max_uri_length": show_bytes(http.uri_bytes_max),
        "max_body_size": show_bytes(http.body_bytes_max) if http.body_bytes_max else "no limit",
        "max_match_body": show_bytes(http.match_body_bytes),
        "max_requests": str(http.requests_max or "no limit"),
        "max_h2_window": show_bytes(http.h2_window_max),
        "max_discard_size": show_bytes(http.discard_bytes_max),
        "request_id": switch(http.request_id),
        "traceparent": switch(http.traceparent),
        "via": http.via or "none",
        "error_header": http.error_header or "none",
        "on_client_close": http.on_client_close,
        "h2c": switch(http.h2c),
        "merge_slashes": http.merge_slashes,
        "underscores": http.underscores,
        "path_parameters": "refuse" if http.refuse_parameters else "pass",
        "methods": ", ".join(http.methods) or "any",
        "forwarded.headers": ", ".join(http.forwarded) or "none",
        "forwarded.trusted": ", ".join(map(str, http.trusted)) or "nobody",
        "forwarded.keep": ", ".join(http.kept_claims) or "none",
        "request_headers": edits(http.request_headers) or "as they are",
        "response_headers": edits(
            over(http.default_response_headers, http.response_headers)) or "as they are",
        "errors": pages(http.errors) or "a line of text",
        **{key: part.show(dict(http.services).get(key)) for key, part in PARTS.items()
           if not part.routes_only},
    }
    for key, value in shown.items():
        yield line(key, value, origins[key.partition(".")[0]])
    if http.routes:
        yield "  routes, in the order in which they are tried"
    for route in http.routes:
        yield f"    {route.name:<18} {asks_for(route)} -> {_action(route)}"
        yield from route_lines(route, http)


def _sniffing(sniffing: EffectiveSniffing, origins: Mapping[str, str]) -> Iterator[str]:
    for key, ms in (("sniff_timeout", sniffing.silence_ms),
                    ("sniff_whole_timeout", sniffing.whole_ms)):
        yield line(key, show_ms(ms), origins[key])
    if sniffing.routes:
        yield "  routes, in the order in which they are tried"
    for route in sniffing.routes:
        parts = [" or ".join(route.protocols), f"tls.sni {route.sni}" if route.sni else "",
                 *map(wanted_of, route.conditions)]
        fits = ", ".join(part for part in parts if part) or "everything"
        yield f"    {route.name:<18} {fits} -> {_session(route)}"
        yield from session_lines(route)


def _session(route: SniffRoute) -> str:
    where = f"listener {route.listener}" if route.listener else f"pool {route.pool}"
    if route.split:
        where = "split " + ", ".join(f"{name} {weight}" for name, weight in route.split)
    if route.policy is None:
        return where
    otherwise = where if route.pool or route.split else "the listener's pool"
    return f"policy {_policy(route.policy)}; None: {otherwise}"


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
