"""What clients notice of a stop: idle connections may still ask once, and a delay comes first."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, read_to_end, wait_until
from tests.flow.http.conftest import origins  # noqa: F401
from tests.flow.http.peers import HttpOrigin, Wire, get

Origins = Callable[..., HttpOrigin]


def serving(
    origins: Origins, threads: int = 1, **keys: object  # noqa: F811
) -> tuple[fastlb.Balancer, fastlb.Listener]:
    balancer = fastlb.Balancer(threads=threads, **keys)
    pool = balancer.pool("p", [origins().address])
    return balancer, balancer.listen("http://127.0.0.1:0", pool=pool)


def idle(listener: fastlb.Listener) -> Wire:
    """A client that has had a response."""
    wire = Wire(socket.create_connection(("127.0.0.1", listener.port), DEADLINE_S))
    wire.send(get("/"))
    assert wire.response("GET").status == 200
    return wire


def is_draining(balancer: fastlb.Balancer) -> bool:
    """Whether it accepts no more, and all engines have heard of that."""
    runtime = balancer._instance.runtime
    assert runtime is not None
    return runtime.stopping and not runtime.leaving.all and runtime.engines.closing


@pytest.mark.parametrize("threads", [0, 2])
def test_an_idle_client_may_ask_once_more_while_we_stop(
    origins: Origins, threads: int  # noqa: F811
) -> None:
    balancer, listener = serving(origins, threads, shutdown_idle_timeout="20s")
    with balancer.background():
        wires = [idle(listener) for _ in range(3)]
        stopping = balancer.stop()
        wait_until(lambda: is_draining(balancer))
        for wire in wires:
            wire.send(get("/"))
            response = wire.response("GET")
            assert (response.status, response["connection"]) == (200, "close")
            assert wire.some() == b""
            wire.close()
        stopping.wait(DEADLINE_S)


@pytest.mark.parametrize(("keys", "timeout"), [
    ({"shutdown_idle_timeout": "50ms"}, None), ({"shutdown_idle_timeout": "0s"}, None),
    ({"shutdown_idle_timeout": "1h"}, 0), ({"shutdown_idle_timeout": "1h"}, 1),
])
def test_idle_clients_are_closed_in_order(
    origins: Origins, keys: dict[str, str], timeout: float | None,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    balancer, listener = serving(origins, **keys)
    with balancer.background():
        wire = idle(listener)
        balancer.stop(timeout).wait(DEADLINE_S)
        assert wire.some() == b""                   # (and no reset)
        wire.close()
    assert "had not ended in time" not in caplog.text


def ready(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(path))
        sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return read_to_end(sock)


def test_a_delay_says_no_to_probes_and_accepts(
    origins: Origins, tmp_path: Path  # noqa: F811
) -> None:
    path = tmp_path / "admin.sock"
    balancer, listener = serving(
        origins, shutdown_delay="1h", admin={"bind": f"http://unix:{path}"})
    with balancer.background():
        assert ready(path).startswith(b"HTTP/1.1 200")
        stopping = balancer.stop()
        runtime = balancer._instance.runtime
        wait_until(lambda: runtime is not None and runtime.draining)
        told = ready(path)
        assert told.startswith(b"HTTP/1.1 503") and b"draining" in told
        idle(listener).close()
        balancer.stop()                             # a second one waits for nothing
        stopping.wait(DEADLINE_S)
