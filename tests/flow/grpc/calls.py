"""Calls of grpcio's clients to its servers, in a process of their own: its threads go with no fork.

Prints its servers' ports, reads where fastlb is, makes the calls of one scenario through it, prints
how often clients saw each status, and ends with 0 if all went as it should:
python -m tests.flow.grpc.calls SCENARIO [CERT KEY]. With "serve" it is one server, until its input
ends."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import queue
import sys
import time
from typing import Any

import grpc

from tests.flow.grpc.changes import (
    calls_while_it_reloads,
    draining,
    killed,
    while_it_reloads,
)
from tests.flow.grpc.peers import (
    DEADLINE_S,
    STREAM_S,
    Tally,
    Through,
    connect,
    refused,
    seen,
    serve,
    wait_for,
)

MESSAGE_BYTES = 3 << 20


def kinds(to: Through, servers: list[Any]) -> None:
    assert to.one(b"abc", timeout=DEADLINE_S) == b"cba"
    parts = [b"%d" % i * 1000 for i in range(300)]
    assert to.incoming(iter(parts), timeout=STREAM_S) == hashlib.sha256(b"".join(parts)).digest()
    heard = list(to.outgoing(b"2000 100", timeout=STREAM_S))
    assert heard == [b"%d" % i * 100 for i in range(2000)]


def ping_pong(to: Through, servers: list[Any]) -> None:
    said: queue.Queue[bytes | None] = queue.Queue()
    heard = to.both(iter(said.get, None), timeout=STREAM_S)
    for i in range(1000):
        said.put(b"%d" % i)
        assert next(heard) == b"re: %d" % i
    said.put(None)
    assert list(heard) == []


def metadata(to: Through, servers: list[Any]) -> None:
    mine = (("x-mine", "1"), ("x-mine-bin", bytes(range(256))))
    _, call = to.one.with_call(b"x", metadata=mine, timeout=DEADLINE_S)
    assert dict(call.initial_metadata())["x-name-bin"] == b"\xfe\0"
    found = dict(call.trailing_metadata())
    assert found["x-mine"] == "1"
    assert found["x-mine-bin"] == bytes(range(256))
    assert found["x-raw-bin"] == b"\0\xff"


def statuses(to: Through, servers: list[Any]) -> None:
    error = refused(lambda: to.one(b"abort", timeout=DEADLINE_S))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing: äöü")
    assert refused(lambda: to.none(b"", timeout=DEADLINE_S)).code() \
        == grpc.StatusCode.UNIMPLEMENTED


def large(to: Through, servers: list[Any]) -> None:
    message = bytes(itertools.islice(itertools.cycle(range(251)), MESSAGE_BYTES))
    for _ in range(3):
        answer, call = to.one.with_call(message, timeout=DEADLINE_S)
        assert answer == message[::-1]
        assert dict(call.trailing_metadata())["x-sum"] == hashlib.sha256(message).hexdigest()


def taken_back(to: Through, servers: list[Any]) -> None:
    before = seen.get("waits", 0)
    call = to.one.future(b"wait", timeout=DEADLINE_S)
    wait_for(lambda: seen.get("waits", 0) > before)
    call.cancel()
    wait_for(lambda: "over" in seen)
    assert seen.pop("over") is False
    before = seen["waits"]
    assert refused(lambda: to.one(b"wait", timeout=1)).code() \
        == grpc.StatusCode.DEADLINE_EXCEEDED
    # (on a busy machine, its time may be over before a server hears of it)
    wait_for(lambda: "over" in seen or seen["waits"] == before)
    assert seen.pop("over", False) is False


def spread(to: Through, servers: list[Any]) -> None:
    calls = [to.one.future(b"who", timeout=DEADLINE_S) for _ in range(200)]
    names = [call.result() for call in calls]
    assert len(set(names)) == len(servers)
    assert all(60 <= names.count(name) <= 74 for name in set(names)), names


def slow_reader(to: Through, servers: list[Any]) -> None:
    stream = to.outgoing(b"8000 2000", timeout=STREAM_S)
    next(stream)
    before = -1
    while seen["sent"] != before:               # until all windows are full, as it seems
        before = seen["sent"]
        time.sleep(0.3)
    for _ in range(50):
        assert to.one(b"ab", timeout=DEADLINE_S) == b"ba"
    assert seen["sent"] < 7_900, seen["sent"]
    assert sum(1 for _ in stream) == 7_999


SCENARIOS = {one.__name__: one for one in (
    kinds, ping_pong, metadata, statuses, large, taken_back, spread, slow_reader, draining,
    while_it_reloads, calls_while_it_reloads, killed)}


def main(name: str, *files: str) -> None:
    n = {"serve": 1, "killed": 0}.get(name, 3)
    made = [serve(f"{os.getpid()} {i}", files) for i in range(n)]
    servers = [server for server, _ in made]
    print(json.dumps([port for _, port in made]), flush=True)
    if name == "serve":
        sys.stdin.read()
    else:
        tally = Tally()
        with connect(f"127.0.0.1:{int(sys.stdin.readline())}", files) as channel:
            SCENARIOS[name](Through(grpc.intercept_channel(channel, tally)), servers)
            print(json.dumps(tally.codes()), flush=True)
    for server in servers:
        server.stop(0).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
