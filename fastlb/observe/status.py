"""What a running balancer looks like now: for `status`, `top`, the dashboard and programs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from fastlb._core.tables.counts import series_of
from fastlb._core.tables.reasons import BY_NUMBER
from fastlb._version import __version__
from fastlb.observe.metrics import REASON, certificates
from fastlb.observe.refused import refused_most

if TYPE_CHECKING:
    from fastlb._core.tables.histogram import Times
    from fastlb._core.tables.states import Server
    from fastlb.config.effective import EffectiveListener
    from fastlb.process.runtime import Runtime

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}

# Seconds, or None where nothing was measured.
Latency = dict[str, Any]


def status(runtime: Runtime) -> dict[str, Any]:
    """Everything that is counted, as values for JSON. Counters are totals since the start: rates
    are the difference of two calls over the difference of their `time`.

    {version, pid, time, uptime, state, totals{}, live{}, engines[{id, turns, ...}],
    listeners[{name, addresses[], mode, in_flight, accepted, requests, ...}],
    routes[{listener, route, pool, requests, codes{}, latency{}}],
    pools[{name, balance, down, panic, in_flight, pending, retrying, servers[{address, state,
    weight, in_flight, idle, connections, requests, errors, latency{}, ...}]}],
    records{}, policies{}, rate_limits[{name, allowed, refused, reported, uncounted, keys,
    evicted, plans, answered, failed, pending, dropped, refused_most[{key, refused, over}]}],
    networks[{name, entries, added, denied, reported, source, age, error, read, unchanged,
    failed}], geo[{database, name, built, networks}],
    certificates[{listener or pool, file, names[], algorithm, fingerprint, expires}]}.
    Latencies are {count, mean, p50, p90, p99, p99.9} in seconds.
    """
    live, sources = runtime.live, runtime.networks.sources()
    plans = runtime.plans.totals()
    return {
        "version": __version__,
        "pid": os.getpid(),
        "time": time.time(),
        "uptime": time.monotonic() - runtime.started_s,
        "state": "stopping" if runtime.draining else "serving",
        "max_connections": runtime.effective.max_connections,
        "in_flight": live.in_flight,
        "max_sessions": runtime.effective.sessions_max,
        "sessions": live.sessions,
        "live": runtime.counts(),
        "totals": _totals(runtime),
        "engines": [
            {"id": engine.id, "idle": engine.idle, **engine.counts(), **engine.totals()}
            for engine in runtime.engines.all
        ],
        "listeners": _listeners(runtime),
        "routes": _routes(runtime),
        "pools": _pools(runtime),
        "records": runtime.recording.totals(),
        "policies": dict(runtime.policies.totals()),
        "rate_limits": [
            {"name": limit.name, **limit.totals(), "keys": limit.keys, "evicted": limit.evicted,
             **plans.get(limit.name, {}), "refused_most": refused_most(limit)}
            for limit in sorted(live.rate_limits(), key=lambda one: one.name)
        ],
        "networks": [
            {"name": one.name, **one.stats(), **sources.get(one.name, {})}
            for one in sorted(live.networks(), key=lambda one: one.name)
        ],
        "geo": [
            {"database": kind, "name": one.name, "built": one.built_s, "networks": one.networks}
            for kind, one in runtime.geography.read.items()
        ],
        "certificates": _certificates(runtime),
        "tls_refreshes": runtime.securing.refreshed,
        "tls_refreshes_refused": runtime.securing.refused,
    }


def _certificates(runtime: Runtime) -> list[dict[str, Any]]:
    """Those in use. `expires` is since 1970."""
    return [
        {
            where: name,
            "file": one.file,
            "names": list(one.certificate.names),
            "algorithm": one.certificate.algorithm,
            "fingerprint": f"sha256:{one.certificate.fingerprint}",
            "expires": one.certificate.not_after,
        }
        for where, name, one in certificates(runtime.effective)
    ]


def _totals(runtime: Runtime) -> dict[str, int]:
    totals: dict[str, int] = {}
    for engine in runtime.engines.all:
        for name, n in engine.totals().items():
            totals[name] = totals.get(name, 0) + n
    return totals


def latency(times: Times | None) -> Latency:
    if times is None or not times.count:
        return {"count": 0, "mean": None, **dict.fromkeys(QUANTILES)}
    found = times.quantiles(*QUANTILES.values())
    mean = times.sum / times.count
    return {"count": times.count, "mean": mean, **dict(zip(QUANTILES, found, strict=True))}


def _routes(runtime: Runtime) -> list[dict[str, Any]]:
    """Each listener, route and pool that something ended at: http by status, tcp by reason."""
    counts, _, durations, _ = series_of(runtime.live)
    return [
        {
            "listener": listener,
            "route": route,
            "pool": pool,
            "requests": sum(codes.values()),
            "codes": {
                BY_NUMBER.get(code - REASON, "") if code >= REASON else str(code): n
                for code, n in sorted(codes.items())
            },
            "latency": latency(durations.get((listener, route, pool))),
        }
        for (listener, route, pool), codes in sorted(counts.items())
    ]


def _most(listener: EffectiveListener | None) -> int:
    """Connections or sessions at a time; 0: no limit."""
    if listener is None:
        return 0
    return listener.udp.sessions_max if listener.udp is not None else listener.max_connections


def _listeners(runtime: Runtime) -> list[dict[str, Any]]:
    configured = {listener.name: listener for listener in runtime.effective.listeners}
    return [
        {
            "name": listener.name,
            "mode": configured[listener.name].scheme if listener.name in configured else "",
            "addresses": [
                str(s.address) for s in runtime.listening if s.listener == listener.name
            ],
            "max_connections": _most(configured.get(listener.name)),
            "in_flight": listener.in_flight,
            **listener.totals(),
        }
        for listener in runtime.live.listeners()
    ]


def _pools(runtime: Runtime) -> list[dict[str, Any]]:
    configured = {pool.name: pool for pool in runtime.effective.pools}
    current = runtime.current_servers
    servers: dict[str, list[dict[str, Any]]] = {}
    for server in runtime.live.servers():
        servers.setdefault(server.pool, []).append(_server(server, server in current))
    return [
        {
            "name": pool.name,
            "balance": configured[pool.name].balance if pool.name in configured else "",
            "down": pool.down,
            "panic": pool.panic,
            "in_flight": sum(s["in_flight"] for s in servers.get(pool.name, ())),
            "pending": pool.pending,
            "retrying": pool.retrying,
            "servers": servers.get(pool.name, []),
        }
        for pool in runtime.live.pools()
    ]


def _server(server: Server, is_current: bool) -> dict[str, Any]:
    """A weight of None: it has left the pool, and what it has goes on."""
    return {
        "address": server.address,
        "state": server.state,
        "weight": server.weight if is_current else None,
        "in_flight": server.in_flight,
        "idle": server.idle,
        "error": server.error,
        "latency": latency(server.first_bytes()),
        "latency_recent": server.latency_us / 1e6,
        **server.totals(),
    }
