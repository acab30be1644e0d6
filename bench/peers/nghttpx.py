"""nghttpx, from Debian's nghttp2-proxy: what stands on the HTTP/2 library that fastlb uses."""

from __future__ import annotations

from pathlib import Path

from bench.model import H2_MODES, H2_TO_H2, Command, Work
from bench.peers.base import DESCRIPTORS_MAX, ROUTES, Peer, first_line

BINARY = Path("/usr/sbin/nghttpx")
OPTIONS = (
    "--conf=/dev/null", "--workers=1", "--log-level=ERROR", "--backlog=4096", "--no-ocsp",
    "--no-via", "--no-server-rewrite", "--no-server-push", "--add-x-forwarded-for",
    "--frontend-read-timeout=5m", "--frontend-http2-read-timeout=5m",
    "--frontend-keep-alive-timeout=5m", "--backend-keep-alive-timeout=5m",
)


class Nghttpx(Peer):
    name = "nghttpx"
    modes = H2_MODES
    notes = ("nghttpx: Debian's package, one worker, no access log; HTTP/2 only.",)

    def missing(self) -> str:
        return "" if BINARY.exists() else "not installed: apt-get install -y nghttp2-proxy"

    def version(self) -> str:
        return first_line(str(BINARY), "--version").rpartition("/")[2]

    def command(self, work: Work, folder: Path) -> Command:
        assert work.certificate is not None
        proto = ";proto=h2" if work.mode == H2_TO_H2 else ""
        patterns = [*(f"/{name}/" for name in ROUTES), "/"]
        backends = [
            f"--backend=127.0.0.1,{port};{pattern}{proto}"
            for pattern in patterns for port in work.server_ports
        ]
        return Command((
            str(BINARY), *OPTIONS, f"--frontend=127.0.0.1,{work.bind_port}", *backends,
            f"--npn-list={','.join(work.alpn)}", f"--rlimit-nofile={DESCRIPTORS_MAX}",
            f"--pid-file={folder / 'nghttpx.pid'}",
            str(work.certificate.key), str(work.certificate.cert),
        ))
