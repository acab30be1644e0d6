"""What is counted, in Prometheus' text format."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fastlb._core.tables.counts import DROPS, series_of
from fastlb._core.tables.reasons import BY_NUMBER
from fastlb._version import __version__
from fastlb.observe import source_metrics
from fastlb.observe.families import METRICS
from fastlb.observe.geography import geo_samples
from fastlb.observe.logs import lines_dropped
from fastlb.observe.refused import refused_most

if TYPE_CHECKING:
    from fastlb._core.tables.histogram import Times
    from fastlb.config.effective import Effective
    from fastlb.config.effective_tls import EffectiveCertificate
    from fastlb.process.runtime import Runtime

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REASON = 1000               # codes from here on are reasons: see counts.series_of
GRPC_CODES = (              # by number: grpc.io/docs/guides/status-codes
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)

# Buckets end at powers of two of 64 ns, where histograms have an edge, so that their counts are
# exact: 66 us to 69 s. Servers, of which there may be thousands, have every other one.
POWERS = tuple(range(10, 31))
POWERS_OF_SERVERS = tuple(range(10, 31, 2))

STATES = ("up", "unchecked", "warming", "failing", "ejected", "down", "draining", "maintenance")

_OF_ENGINES = {
    "fastlb_connections_total": "accepted",
    "fastlb_accept_errors_total": "accept_errors",
    "fastlb_turns_total": "turns",
    "fastlb_retries_total": "retries",
    "fastlb_retries_denied_total": "retries_denied",
    "fastlb_hedges_total": "hedged",
    "fastlb_hedges_won_total": "hedges_won",
    "fastlb_hedges_denied_total": "hedges_denied",
    "fastlb_mirrored_total": "mirrored",
    "fastlb_mirrors_dropped_total": "mirrors_dropped",
    "fastlb_compressed_responses_total": "compressed",
    "fastlb_compressed_input_bytes_total": "compressed_in",
    "fastlb_compressed_output_bytes_total": "compressed_out",
    "fastlb_compressions_denied_total": "compressions_denied",
    "fastlb_keys_missing_total": "keys_missing",
    "fastlb_bodies_unread_total": "bodies_unread",
    "fastlb_protocols_unknown_total": "protocols_unknown",
    "fastlb_http2_abused_total": "h2_abused",
    "fastlb_denied_total": "ended_denied",
    "fastlb_denials_reported_total": "denials_reported",
    "fastlb_source_full_total": "ended_source_full",
}
_OF_SERVERS = {
    "fastlb_server_connections_total": "connections",
    "fastlb_server_connect_failures_total": "connect_failures",
    "fastlb_server_requests_total": "requests",
    "fastlb_server_errors_total": "errors",
    "fastlb_server_reused_total": "reused",
    "fastlb_server_sent_bytes_total": "bytes_to_server",
    "fastlb_server_received_bytes_total": "bytes_to_client",
}
_OF_LISTENERS = {
    "fastlb_listener_connections_total": "accepted",
    "fastlb_listener_refused_total": "refused",
    "fastlb_listener_full_total": "full",
    "fastlb_listener_received_bytes_total": "bytes_in",
    "fastlb_listener_sent_bytes_total": "bytes_out",
}
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

Labels = Mapping[str, str]
Sample = tuple[str, str, Any]       # name, labels in braces, value


def labels(**pairs: str) -> str:
    """In braces, escaped."""
    inner = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs.items())
    return f"{{{inner}}}" if inner else ""


class Metrics:
    """Reads a running balancer. Cheap to make, and of any thread: with thousands of servers, it
    takes a tenth of a second."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def render(self) -> bytes:
        """All of it in Prometheus' text format 0.0.4 (CONTENT_TYPE)."""
        families: dict[str, list[str]] = {name: [] for name in METRICS}
        for name, where, value in self._samples():
            family = name
            if name not in families:
                family = name.rpartition("_")[0]        # of a histogram: _bucket, _sum, _count
            families[family].append(f"{name}{where} {_number(value)}\n")
        lines = []
        for name, found in families.items():
            if found:
                kind, meaning = METRICS[name]
                lines.append(f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n")
                lines += found
        return "".join(lines).encode("utf-8", "surrogateescape")

    def _samples(self) -> Iterator[Sample]:
        yield "fastlb_info", labels(version=__version__), 1
        yield from self._series()
        yield from self._listeners()
        yield from self._pools()
        yield from self._servers()
        yield from self._policies()
        yield from self._rate_limits()
        yield from self._networks()
        yield from geo_samples(self._runtime)
        yield from source_metrics.samples(self._runtime, labels)
        yield from self._engines()
        yield from self._datagrams()
        yield from self._tls()
        yield from self._proxied()
        yield from _process()

    def _series(self) -> Iterator[Sample]:
        counts, calls, durations, others = series_of(self._runtime.live)
        for (listener, route, pool), codes in sorted(counts.items()):
            for code, n in sorted(codes.items()):
                if code >= REASON:
                    where = labels(listener=listener, route=route, pool=pool,
                                   reason=BY_NUMBER.get(code - REASON, ""))
                    yield "fastlb_sessions_total", where, n
                else:
                    where = labels(listener=listener, route=route, pool=pool, code=str(code))
                    yield "fastlb_requests_total", where, n
            times = durations.get((listener, route, pool))
            if times is None:
                continue
            found = {"listener": listener, "route": route, "pool": pool}
            if min(codes) >= REASON:
                yield from _histogram("fastlb_session_duration_seconds", found, times, POWERS)
            else:
                yield from _histogram("fastlb_request_duration_seconds", found, times, POWERS)
        for (listener, route, pool), codes in sorted(calls.items()):
            for code, n in sorted(codes.items()):
                where = labels(
                    listener=listener, route=route, pool=pool, grpc_code=GRPC_CODES[code])
                yield "fastlb_grpc_requests_total", where, n
        yield "fastlb_series_dropped_total", "", others

    def _listeners(self) -> Iterator[Sample]:
        of_udp = {one.name for one in self._runtime.effective.listeners if one.udp is not None}
        for listener in self._runtime.live.listeners():
            where = labels(listener=listener.name)
            yield "fastlb_listener_connections_active", where, listener.in_flight
            totals = listener.totals()
            for name, key in _OF_LISTENERS.items():
                yield name, where, totals[key]
            if listener.name not in of_udp:
                continue
            for way in ("in", "out"):
                yield ("fastlb_listener_datagrams_total", labels(listener=listener.name, way=way),
                       totals[f"datagrams_{way}"])
            yield "fastlb_listener_datagrams_dropped_total", where, totals["datagrams_dropped"]

    def _pools(self) -> Iterator[Sample]:
        in_flight: dict[str, int] = {}
        for server in self._runtime.live.servers():
            in_flight[server.pool] = in_flight.get(server.pool, 0) + server.in_flight
        for pool in self._runtime.live.pools():
            where = labels(pool=pool.name)
            yield "fastlb_pool_in_flight", where, in_flight.get(pool.name, 0)
            yield "fastlb_pool_pending", where, pool.pending
            yield "fastlb_pool_up", where, int(not pool.down)
            yield "fastlb_pool_panic", where, int(pool.panic)

    def _servers(self) -> Iterator[Sample]:
        current = self._runtime.current_servers
        for server in self._runtime.live.servers():
            pairs = {"pool": server.pool, "server": server.address}
            where = labels(**pairs)
            yield "fastlb_server_up", where, int(server.usable and server in current)
            state = server.state
            for one in STATES:
                if one == state:
                    yield "fastlb_server_state", labels(**pairs, state=one), 1
            yield "fastlb_server_weight", where, server.weight if server in current else 0
            yield "fastlb_server_in_flight", where, server.in_flight
            yield "fastlb_server_idle_connections", where, server.idle
            totals = server.totals()
            for name, key in _OF_SERVERS.items():
                yield name, where, totals[key]
            times = server.first_bytes()
            if times.count:
                yield from _histogram(
                    "fastlb_server_first_byte_seconds", pairs, times, POWERS_OF_SERVERS
                )

    def _policies(self) -> Iterator[Sample]:
        for name, totals in self._runtime.policies.totals().items():
            where = labels(policy=name)
            for key, n in totals.items():
                if f"fastlb_policy_{key}_total" in METRICS:
                    yield f"fastlb_policy_{key}_total", where, n

    def _rate_limits(self) -> Iterator[Sample]:
        plans = self._runtime.plans.totals()
        for limit in self._runtime.live.rate_limits():
            where = labels(limit=limit.name)
            for outcome, n in limit.totals().items():
                yield ("fastlb_rate_limit_requests_total",
                       labels(limit=limit.name, outcome=outcome), n)
            yield "fastlb_rate_limit_keys", where, limit.keys
            yield "fastlb_rate_limit_evicted_total", where, limit.evicted
            if limit.name in plans:
                yield "fastlb_rate_limit_plans", where, plans[limit.name]["plans"]
                for outcome in ("answered", "failed", "dropped"):
                    yield ("fastlb_rate_limit_plan_calls_total",
                           labels(limit=limit.name, outcome=outcome), plans[limit.name][outcome])
            most = {one["key"]: one["refused"] for one in reversed(refused_most(limit))}
            for key, n in most.items():         # (two keys may begin alike)
                yield "fastlb_rate_limit_key_refusals", labels(limit=limit.name, key=key), n

    def _networks(self) -> Iterator[Sample]:
        for one in self._runtime.live.networks():
            stats = one.stats()
            for origin, key in (("source", "entries"), ("added", "added")):
                yield ("fastlb_network_entries", labels(network=one.name, origin=origin),
                       stats[key])
            for outcome in ("denied", "reported"):
                yield ("fastlb_network_denials_total",
                       labels(network=one.name, outcome=outcome), stats[outcome])
        for name, source in self._runtime.networks.sources().items():
            if source["age"] is not None:
                yield "fastlb_network_age_seconds", labels(network=name), source["age"]
            for outcome in ("read", "unchanged", "failed"):
                yield ("fastlb_network_reads_total", labels(network=name, outcome=outcome),
                       source[outcome])

    def _engines(self) -> Iterator[Sample]:
        yield "fastlb_connections_active", "", self._runtime.live.in_flight
        for engine in self._runtime.engines.all:
            where = labels(engine=str(engine.id))
            totals = engine.totals()
            for name, key in _OF_ENGINES.items():
                yield name, where, totals[key]
        totals = self._runtime.recording.totals()
        yield "fastlb_records_total", "", totals["records"]
        yield "fastlb_records_dropped_total", "", totals["dropped"]
        yield "fastlb_log_lines_total", "", totals["lines"]
        yield "fastlb_log_lines_lost_total", "", totals["lost"]

    def _datagrams(self) -> Iterator[Sample]:
        """Only where there is udp."""
        if all(listener.udp is None for listener in self._runtime.effective.listeners):
            return
        engines = self._runtime.engines.all
        yield "fastlb_sessions_active", "", sum(engine.counts()["sessions"] for engine in engines)
        yield ("fastlb_sessions_evicted_total", "",
               sum(engine.totals()["ended_evicted"] for engine in engines))
        for name in DROPS:
            n = sum(engine.totals()[f"dropped_{name}"] for engine in engines)
            yield "fastlb_datagrams_dropped_total", labels(reason=name), n

    def _proxied(self) -> Iterator[Sample]:
        """Only where a listener hears of clients from proxies."""
        if all(one.proxy_protocol is None for one in self._runtime.effective.listeners):
            return
        totals = [engine.totals() for engine in self._runtime.engines.all]
        for word, key in (("believed", "proxy_headers"), ("refused", "ended_proxy_header")):
            yield "fastlb_proxy_headers_total", labels(result=word), sum(one[key] for one in totals)

    def _tls(self) -> Iterator[Sample]:
        """Only where there is TLS."""
        found = list(certificates(self._runtime.effective))
        values = self._runtime.effective
        if not found and all(pool.tls is None for pool in values.pools):
            return
        for where, name, one in found:
            yield ("fastlb_certificate_expires_timestamp_seconds",
                   labels(**{where: name, "certificate": one.file}), one.certificate.not_after)
        totals: dict[str, int] = {}
        for engine in self._runtime.engines.all:
            for key, n in (*engine.totals().items(), ("secured", engine.counts()["secured"])):
                totals[key] = totals.get(key, 0) + n
        yield "fastlb_tls_connections", "", totals["secured"]
        for side, prefix in (("client", ""), ("server", "server_")):
            resumed = totals[f"{prefix}resumed"]
            full = totals[f"{prefix}handshakes"] - resumed
            for word, n in (("false", full), ("true", resumed)):
                yield "fastlb_tls_handshakes_total", labels(side=side, resumed=word), n
            yield ("fastlb_tls_handshake_failures_total", labels(side=side),
                   totals[f"{prefix}handshakes_failed"])
        yield "fastlb_tls_refreshes_total", "", self._runtime.securing.refreshed
        yield "fastlb_tls_refreshes_refused_total", "", self._runtime.securing.refused


def certificates(values: Effective) -> Iterator[tuple[str, str, EffectiveCertificate]]:
    """Each file once: "listener" or "pool", which, and its certificate."""
    for listener in values.listeners:
        if listener.tls is not None:
            for one in {one.file: one for one in listener.tls.certificates}.values():
                yield "listener", listener.name, one
    for pool in values.pools:
        if pool.tls is not None and pool.tls.certificate is not None:
            yield "pool", pool.name, pool.tls.certificate


def _histogram(
    name: str, pairs: Labels, times: Times, powers: Iterable[int]
) -> Iterator[Sample]:
    powers = tuple(powers)
    for power, n in zip(powers, times.upto(*powers), strict=True):
        yield f"{name}_bucket", labels(**pairs, le=_seconds(power)), n
    yield f"{name}_bucket", labels(**pairs, le="+Inf"), times.count
    yield f"{name}_sum", labels(**pairs), times.sum
    yield f"{name}_count", labels(**pairs), times.count


def _seconds(power: int) -> str:
    return f"{(64 << power) / 1e9:.9f}".rstrip("0").rstrip(".")


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else repr(round(value, 9))


def _process() -> Iterator[Sample]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield "fastlb_stderr_lines_dropped_total", "", lines_dropped()
    yield "process_cpu_seconds_total", "", usage.ru_utime + usage.ru_stime
    yield "process_max_fds", "", resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        with open("/proc/self/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        yield ("process_start_time_seconds", "",
               round(time.time() - since_boot_s + int(fields[19]) / ticks, 2))
        yield "process_resident_memory_bytes", "", int(fields[21]) * resource.getpagesize()
        yield "process_open_fds", "", len(os.listdir("/proc/self/fd"))
    except OSError:         # no /proc here
        return
