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
from fastlb.observe.logs import lines_dropped

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

# (name, type, meaning); docs/observe.md lists the same.
METRICS = {
    "fastlb_info": ("gauge", "1, with the version."),
    "fastlb_requests_total": (
        "counter", "Requests answered. Code 0: the client got no answer, or not all of it;"
        " code 499: because the client left."),
    "fastlb_grpc_requests_total": (
        "counter", "Calls of gRPC, by the status that their clients know."),
    "fastlb_request_duration_seconds": (
        "histogram", "From a request's head to the last byte of its answer."),
    "fastlb_sessions_total": ("counter", "Sessions of tcp and udp that have ended, by how."),
    "fastlb_session_duration_seconds": ("histogram", "From accepting to the end."),
    "fastlb_series_dropped_total": (
        "counter", "Requests and sessions of a listener, route, pool and code for which there was"
        " no series left."),
    "fastlb_listener_connections_active": ("gauge", "Clients connected now."),
    "fastlb_listener_connections_total": ("counter", "Connections accepted."),
    "fastlb_listener_refused_total": ("counter", "Connections closed without a server."),
    "fastlb_listener_full_total": (
        "counter", "Times that accepting had to wait because max_connections were open."),
    "fastlb_listener_received_bytes_total": (
        "counter", "Bodies of requests, and what tcp clients sent, of what has ended."),
    "fastlb_listener_sent_bytes_total": ("counter", "Sent to clients, of what has ended."),
    "fastlb_listener_datagrams_total": ("counter", "Passed on, of clients (in) and servers (out)."),
    "fastlb_listener_datagrams_dropped_total": ("counter", "Of both, that went nowhere."),
    "fastlb_datagrams_dropped_total": ("counter", "The same of all listeners, by why."),
    "fastlb_sessions_active": ("gauge", "Sessions of udp under way."),
    "fastlb_sessions_evicted_total": (
        "counter", "Sessions of UDP that no server had answered, ended to make room for newer ones."
    ),
    "fastlb_pool_in_flight": ("gauge", "Requests, or tcp sessions, under way."),
    "fastlb_pool_pending": ("gauge", "Requests and sessions that wait for a place."),
    "fastlb_pool_up": ("gauge", "0 when no server could be had by the last client."),
    "fastlb_pool_panic": ("gauge", "1 when so few servers are up that all are used."),
    "fastlb_server_up": ("gauge", "1 when a server gets clients."),
    "fastlb_server_state": ("gauge", "1 for the state that it is in."),
    "fastlb_server_weight": ("gauge", "Its share next to other servers'."),
    "fastlb_server_in_flight": ("gauge", "Requests, or tcp sessions, under way."),
    "fastlb_server_idle_connections": ("gauge", "Connections that wait for a request."),
    "fastlb_server_connections_total": ("counter", "Connections made."),
    "fastlb_server_connect_failures_total": ("counter", "Connections that couldn't be made."),
    "fastlb_server_requests_total": ("counter", "Requests sent."),
    "fastlb_server_errors_total": ("counter", "Answers of 5xx, and those that never came whole."),
    "fastlb_server_reused_total": ("counter", "Requests on a connection that had served before."),
    "fastlb_server_sent_bytes_total": ("counter", "Sent to it."),
    "fastlb_server_received_bytes_total": ("counter", "Received from it."),
    "fastlb_server_first_byte_seconds": (
        "histogram", "From sending a request's head to having the answer's."),
    "fastlb_policy_calls_total": ("counter", "Requests that a Python policy was asked about."),
    "fastlb_policy_failures_total": ("counter", "Calls that raised, or decided what can't be."),
    "fastlb_policy_late_total": ("counter", "Calls past their deadline."),
    "fastlb_policy_refused_total": ("counter", "Requests for which too many were waiting."),
    "fastlb_policy_cached_total": ("counter", "Requests decided by what was said before."),
    "fastlb_rate_limit_requests_total": (
        "counter", "Requests by what a rate limit said (outcome): allowed, refused, reported (let"
        " pass beyond the limit), uncounted (let pass, as there was no room for another key)."),
    "fastlb_rate_limit_keys": ("gauge", "Keys that have used something of a rate limit."),
    "fastlb_rate_limit_evicted_total": (
        "counter", "Keys forgotten before their time, for want of room."),
    "fastlb_denied_total": (
        "counter", "Connections and requests that lists of networks denied, by engine."),
    "fastlb_denials_reported_total": (
        "counter", "Clients that lists with report = true would have denied, by engine."),
    "fastlb_source_full_total": (
        "counter", "Connections closed as their source had max_connections_per_source, by engine."),
    "fastlb_network_entries": ("gauge", "Networks in a set, by their origin: source, or added."),
    "fastlb_network_denials_total": (
        "counter", "Connections, requests and datagrams that a set had denied (outcome: denied), or"
        " would have (reported)."),
    "fastlb_network_age_seconds": (
        "gauge", "Seconds since a set was found to be what its file or URL has."),
    "fastlb_network_reads_total": (
        "counter", "Looks at a set's file or URL (outcome): read, unchanged, or failed, which keeps"
        " the set as it was."),
    "fastlb_connections_active": ("gauge", "Clients connected now, of the whole process."),
    "fastlb_connections_total": ("counter", "Connections accepted, by engine."),
    "fastlb_accept_errors_total": ("counter", "Connections lost while being accepted, by engine."),
    "fastlb_turns_total": ("counter", "Turns of an engine's loop."),
    "fastlb_retries_total": ("counter", "Requests and sessions sent to a server once more."),
    "fastlb_retries_denied_total": ("counter", "Those that the budget didn't allow."),
    "fastlb_hedges_total": ("counter", "Requests that were sent to a second server too."),
    "fastlb_hedges_won_total": ("counter", "Those that the second one answered first."),
    "fastlb_hedges_denied_total": ("counter", "Those that the budget didn't allow."),
    "fastlb_mirrored_total": ("counter", "Requests copied to a mirror."),
    "fastlb_mirrors_dropped_total": ("counter", "Requests not copied, or not to the end."),
    "fastlb_compressed_responses_total": ("counter", "Responses that were compressed."),
    "fastlb_compressed_input_bytes_total": (
        "counter", "Bytes of compressed responses before compression."),
    "fastlb_compressed_output_bytes_total": ("counter", "Bytes of compressed responses after it."),
    "fastlb_compressions_denied_total": (
        "counter", "Responses left as they were because too many were being compressed."),
    "fastlb_keys_missing_total": ("counter", "Requests without what their pool hashes."),
    "fastlb_bodies_unread_total": (
        "counter", "Bodies that a route asked about, too long or broken."),
    "fastlb_protocols_unknown_total": (
        "counter", "Connections of tcp listeners with routes that said nothing known in time."),
    "fastlb_http2_abused_total": (
        "counter", "Connections of HTTP/2 ended because of what their peer sent, by engine."),
    "fastlb_tls_connections": ("gauge", "Connections over TLS, with clients and servers."),
    "fastlb_tls_handshakes_total": (
        "counter", "Handshakes with clients or servers (side), and whether a session was resumed."),
    "fastlb_tls_handshake_failures_total": ("counter", "Those that failed, or took too long."),
    "fastlb_certificate_expires_timestamp_seconds": (
        "gauge", "When a certificate in use ends to hold, since 1970."),
    "fastlb_tls_refreshes_total": (
        "counter", "Listeners and pools whose files of certificates had changed and were read."),
    "fastlb_tls_refreshes_refused_total": (
        "counter", "Changes of such files that couldn't be used."),
    "fastlb_proxy_headers_total": (
        "counter", "Headers of the PROXY protocol, believed or refused (result)."),
    "fastlb_records_total": ("counter", "Records made for the access log and programs."),
    "fastlb_records_dropped_total": ("counter", "Records that came too fast."),
    "fastlb_log_lines_total": ("counter", "Lines written to the access log."),
    "fastlb_log_lines_lost_total": ("counter", "Lines that couldn't be written."),
    "fastlb_stderr_lines_dropped_total": (
        "counter", "Log lines of the process that nobody read from stderr in time."),
    "process_start_time_seconds": ("gauge", "When the process started, since 1970."),
    "process_cpu_seconds_total": ("counter", "CPU time used, user and system."),
    "process_resident_memory_bytes": ("gauge", "Memory in use."),
    "process_open_fds": ("gauge", "Descriptors in use."),
    "process_max_fds": ("gauge", "Descriptors allowed."),
}
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
        for limit in self._runtime.live.rate_limits():
            where = labels(limit=limit.name)
            for outcome, n in limit.totals().items():
                yield ("fastlb_rate_limit_requests_total",
                       labels(limit=limit.name, outcome=outcome), n)
            yield "fastlb_rate_limit_keys", where, limit.keys
            yield "fastlb_rate_limit_evicted_total", where, limit.evicted

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
            yield ("fastlb_proxy_headers_total", labels(result=word),
                   sum(one[key] for one in totals))

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
