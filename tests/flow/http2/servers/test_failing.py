"""Servers of HTTP/2 that refuse, leave or break off: nothing is lost that could be asked again, and
nothing broken looks whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http2.peers import Client
from tests.flow.http2.servers.conftest import Farm, Front
from tests.flow.http2.servers.origin import Call
from tests.flow.http2.servers.talk import Talk

Speak = Callable[[HttpSite], Talk]
REFUSED_STREAM, CANCEL, INTERNAL_ERROR = 7, 8, 2


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", ["refused", "goaway"])
def test_what_was_not_touched_is_asked_again(
    front: Front, farm: Farm, talk: Speak, how: str, method: str
) -> None:
    refused: list[Call] = []

    def serve(call: Call) -> None:
        if refused:
            call.answer(b"done")
            return
        refused.append(call)
        if how == "refused":
            call.refuse(REFUSED_STREAM)
        else:
            call.link.leave(call.stream - 2 if call.stream > 1 else 0)

    origin = farm(serve)
    got = talk(front([origin])).ask(method=method, body=b"12345" if method == "POST" else None)
    assert (got.status, got.body) == (200, b"done")
    assert len(origin.requests) == 2


@pytest.mark.parametrize("says", [True, False], ids=["length", "none"])
@pytest.mark.parametrize("how", ["reset", "cut"])
def test_an_answer_that_breaks_off(
    front: Front, farm: Farm, talk: Speak, how: str, says: bool
) -> None:
    def serve(call: Call) -> None:
        call.head(200, *([("content-length", "100")] if says else []))
        call.data(b"half")
        if how == "reset":
            call.refuse(INTERNAL_ERROR)
        else:
            call.link.cut()

    got = talk(front([farm(serve)])).ask()
    assert got.status == 502 or not got.whole       # (its head may not have gone out yet)


def test_a_client_that_cancels(front: Front, farm: Farm) -> None:
    origin = farm(lambda call: call.over.wait(DEADLINE_S) if call.path == "/slow"
                  else call.answer(b"ok"))
    client = Client(front([origin]).site.connect())
    stream = client.ask("/slow")
    wait_until(lambda: len(origin.requests) == 1)
    client.h2.reset_stream(stream, CANCEL)
    client.flush()
    wait_until(lambda: origin.requests[0].reset == CANCEL)
    assert client.get("/").status == 200
    assert origin.connections == 1
