"""An engine that stood still, as on a machine that was paused: nobody is late because of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import fastlb
from fastlb.policy import Response
from tests.flow.conftest import DEADLINE_S, Site, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import get

pytestmark = pytest.mark.plain

# An engine hears of 256 sockets in a turn.
CLIENTS = 700
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HOUR_NS = 3_600 * 10**9


def test_clients_that_were_in_time_are_answered() -> None:
    held, go_on = threading.Event(), threading.Event()
    lb = fastlb.Balancer(threads=1)
    listener = lb.listen("http://127.0.0.1:0", request_header_timeout="10m", routes=[
        {"name": "all", "match": {"path": "/"}, "respond": {"status": 204}}])

    @listener.route("/hold")
    def hold(request: Any) -> Response:
        held.set()
        assert go_on.wait(DEADLINE_S)
        return Response(204)

    with lb.background():
        web = HttpSite(Site(lb, listener))
        clients = [web.client() for _ in range(CLIENTS)]
        late, holder = web.client(), web.client()
        for client in (*clients, late):
            client.send(HEAD[:-2])
        wait_until(lambda: web.totals()["accepted"] == CLIENTS + 2)
        holder.send(get("/hold"))
        assert held.wait(DEADLINE_S)
        for client in clients:
            client.send(HEAD[-2:])
        # (advance() would wait for the engine)
        lb._instance.running().live.clock.advance(HOUR_NS)
        go_on.set()
        assert {client.response().status for client in clients} == {204}
        assert late.response().status == 408
        for client in (*clients, late, holder):
            client.close()
        web.wait_idle()
