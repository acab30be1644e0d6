"""Addresses that count on one link only: of listeners and servers at fe80::/10."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flow.conftest import DEADLINE_S, Origin, read_to_end
from tests.flow.networks import Machine, machines  # noqa: F401
from tests.flow.test_process import Serve, serve  # noqa: F401

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@pytest.mark.parametrize("scheme", ["tcp", "http"])
def test_a_listener_and_a_server_name_their_link(
    machines: tuple[Machine, Machine], serve: Serve, tmp_path: Path,    # noqa: F811
    scheme: str,
) -> None:
    near, far = machines
    with far.inside():
        link = socket.if_nametoindex(far.link)
        origin = Origin(socket.AF_INET6, (far.local, 8000, 0, link))
    file = tmp_path / "fastlb.toml"
    file.write_text(
        f'[listeners.l]\nbind = "{scheme}://[{near.local}%{near.link}]:8080"\npool = "p"\n'
        f'[pools.p]\nservers = ["[{far.local}%{near.link}]:8000"]\n'
        'health = { tcp = true, timeout = "30s" }\n')
    with near.inside():
        checked = subprocess.run(
            [sys.executable, "-m", "fastlb", "check", str(file)], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        process = serve(str(file)).ready()
    origin.accept().close()             # (a check's)
    with far.inside(), socket.socket(socket.AF_INET6) as client:
        client.settimeout(DEADLINE_S)
        client.connect((near.local, 8080, 0, link))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        server, said = said_to(origin)
        while not said.endswith(b"\r\n\r\n"):
            said += server.recv(1000)
        server.sendall(OK)
        server.close()
        assert read_to_end(client).endswith(b"\r\n\r\nok")
    assert "is down" not in process.log()
    origin.close()


def said_to(origin: Origin) -> tuple[socket.socket, bytes]:
    """A connection that is no health check's, and what comes first."""
    while True:
        server = origin.accept()
        with contextlib.suppress(ConnectionResetError):
            if said := server.recv(1000):
                return server, said
        server.close()
