"""Functions that decide, and fail to: what the request gets, what is counted, what is said."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
import traceback
from typing import Any

import pytest

import fastlb
from fastlb.policy import Forward, Redirect, Request, Response
from tests.flow.conftest import DEADLINE_S, Site, forks_with_threads, reset, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.policies import Decided, add, get, of_kind

NONSENSE: list[tuple[Any, str]] = [
    (42, "TypeError: a policy can't return 42"),
    (object, "TypeError: a policy can't return <class 'object'>"),
    ("nowhere", "ValueError: there is no pool 'nowhere'"),
    (Forward("nowhere"), "ValueError: there is no pool 'nowhere'"),
    (Forward("nowhere", headers={"x-a": "b"}), "ValueError: there is no pool 'nowhere'"),
    (fastlb.Close(), "only the policy of a tcp listener can return Close()"),
    (fastlb.More(), "only the policy of a tcp listener can return More()"),
]


def fail(request: Request) -> None:
    raise RuntimeError("out of order")


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What is said of policies. (The control loop says it, and a client may be faster.)"""
    def found() -> list[logging.LogRecord]:
        return [r for r in caplog.records if r.name == "fastlb.policy"]

    wait_until(lambda: bool(found()))
    return found()


def traceback_of(record: logging.LogRecord) -> str:
    """The exception's traceback. (`exc_text` is written later than the record can be seen.)"""
    assert record.exc_info is not None
    return "".join(traceback.format_exception(*record.exc_info))


def counts(decided: Decided, **expected: int) -> None:
    totals = decided.totals()
    assert {name: totals[name] for name in expected} == expected


@pytest.mark.parametrize("times", [3])
def test_what_it_raises_is_said_once_with_its_traceback(
    decided: Decided, kind: str, caplog: pytest.LogCaptureFixture, times: int
) -> None:
    add(decided, kind, fail)
    web = decided.start()
    for _ in range(times):
        got = web.ask(get())
        assert (got.line, got.body) == ("HTTP/1.1 503 Service Unavailable",
                                        b"503 Service Unavailable\n")
    counts(decided, calls=times, failures=times, late=0)
    (record,) = told(caplog)
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "policy of web/r failed; this is said once"
    assert 'in fail\n    raise RuntimeError("out of order")' in traceback_of(record)


def test_the_error_header_says_that_it_was_the_policy(decided: Decided) -> None:
    decided.lb._instance.draft.change_listener("web", {"error_header": "X-Error"})
    add(decided, "sync", fail)
    assert decided.start().ask(get())["x-error"] == "policy_failed"


def test_on_error_is_where_it_goes_then(decided: Decided, kind: str) -> None:
    add(decided, kind, fail, on_error=decided.pool_b)
    assert decided.start().ask(get()).body == b"b GET /x HTTP/1.1\n"


@pytest.mark.parametrize(("value", "message"), NONSENSE)
def test_nonsense_is_a_failure(
    decided: Decided, kind: str, value: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    add(decided, kind, lambda r: value, on_error=decided.pool_b)
    assert decided.start().ask(get()).body == b"b GET /x HTTP/1.1\n"
    counts(decided, calls=1, failures=1)
    (record,) = told(caplog)
    assert message in traceback_of(record)


def test_a_server_that_is_no_more_is_a_failure(decided: Decided, kind: str) -> None:
    class Gone:
        _decided = ("a", "127.0.0.1:1", None, None, (), ())

    add(decided, kind, lambda r: Gone(), on_error=decided.pool_b)
    assert decided.start().ask(get()).body == b"b GET /x HTTP/1.1\n"
    counts(decided, calls=1, failures=1)


def test_a_function_that_hands_on_an_async_one_is_told(
    decided: Decided, caplog: pytest.LogCaptureFixture
) -> None:
    async def later(request: Request) -> None:
        return None

    @decided.listener.route(name="r", deadline="60s")
    def now(request: Request) -> Any:
        return later(request)

    assert decided.start().ask(get()).status == 503
    (record,) = told(caplog)
    assert "it runs an async function and is none itself; write it with async def" in (
        traceback_of(record))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Response(199), "199 is not a status from 200 to 599"),
        (lambda: Response(204, "x"), "an answer with 204 has no body"),
        (lambda: Response(headers={"x": "a\r\nb: c"}), "characters that a header field can't have"),
        (lambda: Response(headers={"a b": "c"}), "'a b' is not the name of a header field"),
        (lambda: Response(headers={"Content-Length": "3"}), "is not for routes to change"),
        (lambda: Response(headers={"content_length": "3"}), "is not for routes to change"),
        (lambda: Response(headers={"x\n": "y"}), "is not the name of a header field"),
        (lambda: Response(content_type="a\nb"), "characters that a header field can't have"),
        (lambda: Response(200, "x" * 262_145), "an answer of more than 262144 bytes"),
        (lambda: Redirect("/x", 200), "200 is no redirect: 301, 302, 303, 307 or 308"),
        (lambda: Redirect("/x\r\ny: z"), "characters that a header field can't have"),
        (lambda: Forward(headers={"Host": "b"}), "is not for routes to change"),
        (lambda: Forward(response_headers={"a": "\0"}), "that a header field can't have"),
    ],
)
def test_what_cannot_be_sent_is_not_made(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_policy_that_is_late_is_discarded_and_its_stack_said(
    decided: Decided, caplog: pytest.LogCaptureFixture
) -> None:
    go = threading.Event()

    @decided.listener.route(name="r", deadline="500ms", on_error="b")
    def stuck(request: Request) -> str:
        assert go.wait(DEADLINE_S)
        return "a"

    wire = decided.start().client()
    wire.send(get())
    wait_until(lambda: any("is past its deadline" in r.getMessage() for r in caplog.records))
    go.set()
    assert wire.response().body == b"b GET /x HTTP/1.1\n"
    counts(decided, calls=1, late=1, failures=0)
    (record,) = told(caplog)
    assert record.getMessage().startswith(
        "policy of web/r is past its deadline of 0.5 s and holds up an engine; it is here:\n")
    assert "in stuck\n    assert go.wait(DEADLINE_S)" in record.getMessage()
    wire.close()


def ask_until_begun(decided: Decided, begun: list[str]) -> int:
    """How often it took, as on a busy machine a policy may be late before it has begun."""
    site = decided.start()

    def has_begun() -> bool:
        nonlocal n
        n += 1
        assert site.ask(get()).body == b"b GET /x HTTP/1.1\n"
        return bool(begun)

    n = 0
    wait_until(has_begun)
    return n


def test_an_async_policy_is_cancelled_at_its_deadline(
    decided: Decided, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[str] = []
    ended: list[str] = []

    @decided.listener.route(name="r", deadline="20ms", on_error="b")
    async def slow(request: Request) -> None:
        begun.append("begun")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    n = ask_until_begun(decided, begun)
    wait_until(lambda: ended == ["cancelled"] * len(begun))
    counts(decided, calls=n, late=n, failures=0, pending=0)
    said = told(caplog)[0].getMessage()
    assert said.startswith("policy of web/r is past its deadline of 0.02 s, and was given up")
    if n == 1:                  # (it is said once; one that hasn't begun is nowhere yet)
        assert "in slow\n    await asyncio.sleep(60)" in said and "in sleep\n" in said


def test_a_blocking_policy_is_left_behind_at_its_deadline(decided: Decided) -> None:
    go = threading.Event()
    begun: list[str] = []
    ended: list[str] = []

    @decided.listener.route(name="r", deadline="20ms", on_error="b", blocking=True)
    def slow(request: Request) -> str:
        begun.append("begun")
        assert go.wait(DEADLINE_S)
        ended.append("ended")
        return "a"

    n = ask_until_begun(decided, begun)
    counts(decided, calls=n, late=n, failures=0, pending=0)
    go.set()
    wait_until(lambda: ended == ["ended"] * len(begun))


def test_a_policy_that_ignores_its_cancellation_decides_nothing(decided: Decided) -> None:
    go = threading.Event()
    begun: list[str] = []
    ended: list[str] = []

    @decided.listener.route(name="r", deadline="20ms", on_error="b")
    async def stubborn(request: Request) -> str:
        begun.append("begun")
        while not go.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass
        ended.append("ended")
        return "a"

    n = ask_until_begun(decided, begun)
    go.set()
    wait_until(lambda: ended == ["ended"] * len(begun))
    counts(decided, calls=n, late=n, failures=0)


def test_a_policy_that_cancels_itself_has_failed(decided: Decided) -> None:
    @decided.listener.route(name="r", deadline="60s")
    async def cancelled(request: Request) -> None:
        raise asyncio.CancelledError

    assert decided.start().ask(get()).status == 503
    counts(decided, calls=1, late=0, failures=1)


def test_who_leaves_is_not_decided_about(decided: Decided) -> None:
    states: list[str] = []

    @decided.listener.route(name="r", deadline="60s")
    async def slow(request: Request) -> None:
        states.append("begun")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            states.append("cancelled")
            raise

    web = decided.start()
    wire = web.client()
    wire.send(get())
    wait_until(lambda: states == ["begun"])
    reset(wire.sock)
    wait_until(lambda: states == ["begun", "cancelled"])
    web.wait_idle()
    wait_until(lambda: web.totals()["ended_client_reset"] == 1)
    counts(decided, calls=1, late=0, failures=0, pending=0)


def test_who_has_sent_all_before_it_is_asked_gets_the_answer(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda r: decided.pool_b)
    wire = decided.start().client()
    wire.sock.send(get(), socket.MSG_MORE)      # so that it leaves together with the end
    wire.sock.shutdown(socket.SHUT_WR)
    assert wire.response().body == b"b GET /x HTTP/1.1\n"
    wire.close()


def test_only_so_many_wait_for_it(decided: Decided) -> None:
    go = threading.Event()

    @decided.listener.route("/*", name="r", max_pending=2, deadline="60s", on_error="b")
    async def slow(request: Request) -> str:
        while not go.is_set():
            await asyncio.sleep(0.001)
        return "a"

    web = decided.start()
    wires = [web.client() for _ in range(2)]
    for wire in wires:
        wire.send(get())
    wait_until(lambda: decided.totals()["pending"] == 2)
    assert web.ask(get(b"/3")).body == b"b GET /3 HTTP/1.1\n"
    go.set()
    for wire in wires:
        assert wire.response().body == b"a GET /x HTTP/1.1\n"
        wire.close()
    counts(decided, calls=3, refused=1, pending=0)


@pytest.mark.modes("inline")
@pytest.mark.parametrize("kind", ["async", "blocking"])     # (nobody waits for a sync one)
def test_a_stop_resets_who_still_waits_for_it(origins: Any, mode: int, kind: str) -> None:
    go, begun, ended = threading.Event(), threading.Event(), threading.Event()
    lb = fastlb.Balancer(threads=mode)
    pool = lb.pool("a", [origins(name="a").address])
    listener = lb.listen("http://127.0.0.1:0", name="web", pool=pool)

    def block(request: Request) -> None:
        begun.set()
        assert go.wait(DEADLINE_S)
        ended.set()

    async def wait(request: Request) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    listener.route(deadline="60s", blocking=kind == "blocking")(
        block if kind == "blocking" else wait)
    with lb.background():
        wire = HttpSite(Site(lb, listener)).client()
        wire.send(get())
        assert begun.wait(DEADLINE_S)
        lb.stop(timeout=0.05).wait(DEADLINE_S)
        with pytest.raises(ConnectionResetError):
            wire.sock.recv(1)
        wire.close()
    go.set()
    assert ended.wait(DEADLINE_S)


@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_a_drain_waits_for_its_answer(origins: Any, kind: str) -> None:
    go, begun = threading.Event(), threading.Event()
    lb = fastlb.Balancer(threads=1)
    listener = lb.listen(
        "http://127.0.0.1:0", name="web", pool=lb.pool("a", [origins(name="a").address]))

    def decide(request: Request) -> Response:
        begun.set()
        assert go.wait(DEADLINE_S)
        return Response(200, "in time")

    async def decide_later(request: Request) -> Response:
        begun.set()
        while not go.is_set():
            await asyncio.sleep(0.001)
        return Response(200, "in time")

    listener.route(deadline="60s", blocking=kind == "blocking")(
        decide if kind == "blocking" else decide_later)
    with lb.background():
        wire = HttpSite(Site(lb, listener)).client()
        wire.send(get())
        assert begun.wait(DEADLINE_S)
        stopping = lb.stop(timeout=60)
        go.set()
        assert wire.response().body == b"in time"
        stopping.wait(DEADLINE_S)
        wire.close()


def test_threads_of_blocking_policies_are_gone_after_the_stop(origins: Any) -> None:
    before = threading.active_count()
    for _ in range(10):
        lb = fastlb.Balancer(threads=1)
        listener = lb.listen(
            "http://127.0.0.1:0", name="web", pool=lb.pool("a", [origins(name="a").address]))
        function, more = of_kind("blocking", lambda r: Response(200, "x"))
        listener.route(**more)(function)
        listener.route("/sync", deadline="60s")(lambda r: None)
        with lb.background():
            assert HttpSite(Site(lb, listener)).ask(get()).body == b"x"
    wait_until(lambda: threading.active_count() <= before + 10, "threads of policies are left")
    wait_until(lambda: not any(t.name.startswith(("fastlb-policy", "fastlb-watchdog"))
                               for t in threading.enumerate()))


@forks_with_threads
@pytest.mark.modes("inline", "threads")
def test_a_policy_may_fork(origins: Any, mode: int, kind: str) -> None:
    """The child that comes back from the function ends quietly; the parent goes on."""
    lb = fastlb.Balancer(threads=mode)
    listener = lb.listen(
        "http://127.0.0.1:0", name="web", pool=lb.pool("a", [origins(name="a").address]))
    children: list[int] = []

    def fork(request: Request) -> Response:
        child = os.fork()
        if child == 0:
            if kind != "sync":
                os._exit(0)             # (there, the thread of the loop or of a pool would go on)
            return Response(200, "child")
        children.append(child)
        return Response(200, "parent")

    function, more = of_kind(kind, fork)
    listener.route(**more)(function)
    with lb.background():
        web = HttpSite(Site(lb, listener))
        for _ in range(3):
            assert web.ask(get()).body == b"parent"
        web.wait_idle()
    deadline = time.monotonic() + DEADLINE_S
    for child in children:
        pid, status = 0, -1
        while pid == 0:
            assert time.monotonic() < deadline
            pid, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.002)
        assert status == 0
