"""Streams that their clients reset: a reason of their own, and nothing against their servers."""

from __future__ import annotations

import contextlib
import threading

from h2.errors import ErrorCodes

from fastlb.observe.records import Record
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.peers import Message, Wire, answer
from tests.flow.http2.conftest import Open, Origins


def test_clients_that_cancel_are_no_errors_of_the_server(h2: Open, origins: Origins) -> None:
    begun, ended = threading.Semaphore(0), threading.Semaphore(0)

    def serve(wire: Wire, request: Message) -> bool | None:
        if request.target == "/fine":
            wire.send(answer(b"fine"))
            return None
        begun.release()
        with contextlib.suppress(ConnectionResetError):
            assert wire.some() == b""
        ended.release()
        return False

    origin = origins(serve)
    site, client = h2([origin.address], pool={"outliers": {"consecutive_failures": 2}})
    with site.site.balancer.records() as records:
        for _ in range(5):
            stream = client.ask("/slow")
            assert begun.acquire(timeout=DEADLINE_S)
            client.h2.reset_stream(stream, ErrorCodes.CANCEL)
            client.flush()
            assert ended.acquire(timeout=DEADLINE_S)
        assert client.get("/fine").status == 200
        seen: list[Record] = []

        def all_are_here() -> bool:
            seen.extend(records.take())
            return len(seen) == 6

        wait_until(all_are_here)
    assert [(one.status, one.reason) for one in seen[:5]] == [(0, "client_cancelled")] * 5
    runtime = site.site.balancer._instance.runtime
    assert runtime is not None
    (server,) = runtime.live.servers()
    assert (server.totals()["errors"], server.state) == (0, "up")
