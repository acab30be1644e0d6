"""How a configuration that can't be used is written down, with what is said about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

LISTENER = '[listeners.web]\nbind = "tcp://127.0.0.1:8080"\npool = "api"\n'
POLICIES = (
    "round_robin, random, least_connections, least_request, peak_ewma,"
    " prequal, ring_hash, maglev, rendezvous"
)
POOL = '[pools.api]\nservers = ["10.0.0.1:7000"]\n'
LISTENER_KEYS = (
    "tcp_nodelay, keepalive, deny, allow, max_connections_per_source,"
    " max_connection_rate_per_source, tarpit, ban, max_upload_rate, max_download_rate,"
    " sniff_timeout, sniff_whole_timeout, request_header_timeout,"
    " response_header_timeout, request_timeout,"
    " body_idle_timeout, keepalive_timeout, websocket_timeout,"
    " request_headers, response_headers, errors, rate_limit, compress,"
    " max_sessions,"
    " max_sessions_per_source, max_session_rate_per_source, pick, answers, on_server_down,"
    " coalesce,"
    " receive_buffer_size, routes,"
    " max_header_size,"
    " max_headers, min_request_rate, max_uri_length, max_body_size, max_requests, max_h2_window,"
    " forwarded, request_id, traceparent, via, error_header, max_discard_size, on_client_close,"
    " h2c, merge_slashes, underscores, path_parameters, methods,"
    " max_match_body, bind, tls, proxy_protocol, pool, policy,"
    " max_connections, idle_timeout, backlog, buffer_size,"
    " bulk_buffer_size, reuse_port, mode"
)
POOL_KEYS = (
    "tcp_nodelay, keepalive, request_headers, response_headers, servers, balance, hash_on,"
    " bounded_load, table_size, slow_start, sticky, subset, health, outliers, retry, hedge,"
    " fallback, unavailable,"
    " max_idle_connections, max_response_header_size, idle_connection_timeout, max_connection_age,"
    " max_connection_requests, max_h2_window, connect_timeout, tls, protocol, proxy_protocol,"
    " limits"
)
SERVER_KEYS = "address, dns, refresh, weight, max_connections, priority, zone, state"
BIND_HOW = 'write it like "http://127.0.0.1:8080" or "tcp://unix:/run/a.sock"'
SERVER_HOW = 'write it like "10.0.0.1:7000", "[::1]:7000" or "unix:/run/a.sock"'
ANYWHERE = 'write "tcp://0.0.0.0:8080", or "tcp://127.0.0.1:8080" for this machine only'
NO_SCHEME = ANYWHERE.replace("tcp", "http") + "; tcp:// is for other protocols"
LONG_PATH = "/" + "a" * 107


@dataclass(frozen=True)
class Bad:
    id: str
    text: str
    told: str
    beyond_schema: str = ""  # why a schema can't tell


def bind(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    text = f'[listeners.web]\nbind = {written}\npool = "api"\n{POOL}'
    return Bad(f"bind-{id}", text, f"f.toml:2: listeners.web.bind: {told}", beyond_schema)


def server(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    text = f"{LISTENER}[pools.api]\nservers = [{written}]\n"
    return Bad(f"server-{id}", text, f"f.toml:5: pools.api.servers[0]{told}", beyond_schema)


def listener(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    return Bad(id, f"{LISTENER}{written}\n{POOL}", f"f.toml:4: listeners.web.{told}", beyond_schema)


def pool(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    return Bad(id, f"{LISTENER}{POOL}{written}\n", f"f.toml:6: pools.api.{told}", beyond_schema)


def http_pool(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    """The same, behind a listener of http."""
    made = pool(id, written, told, beyond_schema)
    return replace(made, text=made.text.replace("tcp://", "http://"))


def top(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    return Bad(id, f"{written}\n{LISTENER}{POOL}", f"f.toml:1: {told}", beyond_schema)
