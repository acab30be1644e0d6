"""fastlb itself: the project's .venv, $FASTLB_CMD, or any other build as fastlb@COMMAND."""

from __future__ import annotations

import json
import os
import random
import shlex
from dataclasses import replace
from pathlib import Path

from bench.environment import ROOT
from bench.model import H2_MODES, H2_TO_H2, TLS_MODES, UDP_MODES, UDP_STREAM, Command, Work
from bench.peers.base import CONNECTIONS_MAX, ROUTES, Peer, first_line

TOP = """\
threads = 1

[listeners.web]
bind = "{scheme}://127.0.0.1:{port}"
pool = "servers"
{listener}
"""
TLS = 'tls = {{ certificates = [{{ cert = "{cert}", key = "{key}" }}]{more} }}\n'
ROUTE = """
[[listeners.web.routes]]
name = "{name}"
match.path = "/{name}/*"
pool = "{name}"
"""
# What every peer adds to a request, and nothing else.
SAME_FIELDS = """\
forwarded.headers = ["x-forwarded-for", "x-forwarded-proto"]
request_id = false
"""
DATAGRAM_KEYS = f"""\
idle_timeout = "5m"
max_sessions = {CONNECTIONS_MAX}
"""
COALESCE = 'coalesce = "1ms"\n'
POOL = """
[pools.{name}]
servers = [{servers}]
"""
H2_SERVERS = 'protocol = "h2"\n'

DEFAULT = ROOT / ".venv" / "bin" / "fastlb"


# What a careful operator has, all at once.
SERVER = '{{ address = "127.0.0.1:{port}", max_connections = 5_000 }}'
KEYS = """\
balance = "least_request"
health = { http = "/small", interval = "1s" }
limits = { max_requests = 10_000, max_pending = 1_000 }
outliers = { error_rate = "50%" }
"""
CHECK = 'health = { http = "/small", interval = "1s" }\n'
CHECKED_POOLS = 1000            # of two servers each
NETWORKS = 100_000
POLICY_KEY = 'policy = "by_tier:by_tier"\n'
POLICY = """\
def by_tier(request):
    return "small" if request.headers.get("x-tier") == "premium" else None
"""


def top(work: Work) -> str:
    listener = SAME_FIELDS
    if work.certificate:
        more = f", alpn = {json.dumps(work.alpn)}" if work.mode in H2_MODES else ""
        shown = work.certificate
        listener += TLS.format(cert=shown.cert, key=shown.key, more=more)
    return TOP.format(scheme=work.scheme, port=work.bind_port, listener=listener)


def http_config(work: Work, policy: str = "") -> str:
    servers = ", ".join(f'"127.0.0.1:{port}"' for port in work.server_ports)
    parts = [top(work)]
    routes = (*ROUTES, "small") if work.mode == "policy" else ROUTES
    parts += [ROUTE.format(name=name) for name in routes]
    parts.append(policy)                    # (of the last one)
    protocol = H2_SERVERS if work.mode == H2_TO_H2 else ""
    parts += [
        POOL.format(name=name, servers=servers) + protocol for name in (*routes, "servers")
    ]
    return "".join(parts)


def udp_config(work: Work, more: str = "") -> str:
    servers = ", ".join(f'"127.0.0.1:{port}"' for port in work.server_ports)
    listener = TOP.format(scheme=work.scheme, port=work.bind_port, listener=DATAGRAM_KEYS + more)
    return listener + POOL.format(name="servers", servers=servers)


def pools_config(work: Work) -> str:
    servers = ", ".join(SERVER.format(port=port) for port in work.server_ports)
    parts = [top(work)]
    parts += [ROUTE.format(name=name) for name in ROUTES]
    parts += [POOL.format(name=name, servers=servers) for name in (*ROUTES, "servers")]
    return "".join(parts) + KEYS            # (of the last one, which is the one in use)


def checks_config(work: Work) -> str:
    servers = ", ".join(f'"127.0.0.1:{port}"' for port in work.server_ports)
    watched = [f"watched{i}" for i in range(CHECKED_POOLS)]
    return http_config(work) + "".join(
        POOL.format(name=name, servers=servers) + CHECK for name in watched
    )


class Fastlb(Peer):
    """The command is either a program that takes fastlb's arguments, or a whole command line with
    {mode}, {port}, {server0}, {server1} and {config}, a file, in it."""

    name = "fastlb"
    modes = frozenset(
        {"tcp", *UDP_MODES, "http", *TLS_MODES, "pools", "observed", "policy", "filter",
         "limited", "listed"})
    notes = ("fastlb: --threads 1, and one configuration for all work.",)

    def __init__(self, command: str = "") -> None:
        self._given = command
        self._command = command or os.environ.get("FASTLB_CMD", "") or str(DEFAULT)

    @property
    def label(self) -> str:
        return f"{self.name}@{self._given}" if self._given else self.name

    def missing(self) -> str:
        program = shlex.split(self._command)[0]
        if Path(program).exists():
            return ""
        shown = program.removeprefix(f"{ROOT}/")
        return f"{shown} does not exist: build it first"

    def version(self) -> str:
        if "{" in self._command:
            return self._command
        return first_line(*shlex.split(self._command), "version").removeprefix("fastlb ")

    def _config(self, work: Work) -> str:
        return udp_config(work) if work.mode in UDP_MODES else http_config(work)

    def command(self, work: Work, folder: Path) -> Command:
        config = folder / "fastlb.toml"
        if work.mode != "tcp":
            config.write_text(self._config(work))
        if "{" in self._command:
            servers = {f"server{i}": port for i, port in enumerate(work.server_ports)}
            whole = self._command.format(
                mode=work.mode, port=work.bind_port, config=config, **servers
            )
            return Command(tuple(shlex.split(whole)))
        if work.mode != "tcp":
            return Command((*shlex.split(self._command), "serve", str(config)))
        servers_given = [a for p in work.server_ports for a in ("--server", f"127.0.0.1:{p}")]
        return Command((
            *shlex.split(self._command), "serve",
            "--bind", f"{work.mode}://127.0.0.1:{work.bind_port}", *servers_given,
            "--threads", "1",
        ))


class FastlbCoalesce(Fastlb):
    """With datagrams that wait a little, as streams may."""

    name = "fastlb-coalesce"
    modes = frozenset({UDP_STREAM})
    notes = ()

    def _config(self, work: Work) -> str:
        return udp_config(work, COALESCE)


class FastlbPools(Fastlb):
    """With all that pools can be asked for, to see what that costs."""

    name = "fastlb-pools"
    modes = frozenset({"pools"})
    notes = ()

    def _config(self, work: Work) -> str:
        return pools_config(work)


class FastlbObserved(Fastlb):
    """With an access log of all requests."""

    name = "fastlb-observed"
    modes = frozenset({"observed"})
    notes = ()

    def command(self, work: Work, folder: Path) -> Command:
        self._log = folder / "access.json"
        return super().command(work, folder)

    def _config(self, work: Work) -> str:
        return f'access_log = {{ path = "{self._log}" }}\n{http_config(work)}'


class FastlbPolicy(Fastlb):
    """With a function that looks at a header field and names a pool."""

    name = "fastlb-policy"
    modes = frozenset({"policy"})
    notes = ()

    def command(self, work: Work, folder: Path) -> Command:
        (folder / "by_tier.py").write_text(POLICY)
        return super().command(work, folder)

    def _config(self, work: Work) -> str:
        return http_config(work, POLICY_KEY)


class FastlbFilter(Fastlb):
    """With a filter that uses every hook and changes nothing."""

    name = "fastlb-filter"
    modes = frozenset({"filter"})
    notes = ()

    def command(self, work: Work, folder: Path) -> Command:
        return replace(super().command(work, folder), env={"FASTLB_IDENTITY_FILTER": "1"})


class FastlbLimited(Fastlb):
    """With a rate limit by client, which is never reached."""

    name = "fastlb-limited"
    modes = frozenset({"limited"})
    notes = ()

    def _config(self, work: Work) -> str:
        limited = 'rate_limit = { limit = "1000000/s", headers = false }\n'
        return TOP.format(scheme=work.scheme, port=work.bind_port, listener=SAME_FIELDS + limited) \
            + http_config(work).removeprefix(top(work))


class FastlbListed(Fastlb):
    """With 100,000 networks that are denied, of which none is a client's."""

    name = "fastlb-listed"
    modes = frozenset({"listed"})
    notes = ()

    def command(self, work: Work, folder: Path) -> Command:
        spread = random.Random(7)
        # (above 127.0.0.0/8, so that it is looked for to the end)
        lines = {f"{spread.randrange(128, 224)}.{spread.randrange(256)}.{spread.randrange(256)}"
                 f".{spread.randrange(256)}" for _ in range(NETWORKS)}
        (folder / "bad.txt").write_text("\n".join(lines))
        self._list = folder / "bad.txt"
        return super().command(work, folder)

    def _config(self, work: Work) -> str:
        listed = f'[networks.bad]\nfile = "{self._list}"\n'
        deny = SAME_FIELDS + 'deny = "bad"\n'
        return TOP.format(scheme=work.scheme, port=work.bind_port, listener=deny) \
            + http_config(work).removeprefix(top(work)) + listed


class FastlbChecks(Fastlb):
    """With 2,000 more servers that are checked each second."""

    name = "fastlb-checks"
    modes = frozenset({"pools"})
    notes = ()

    def _config(self, work: Work) -> str:
        return checks_config(work)
