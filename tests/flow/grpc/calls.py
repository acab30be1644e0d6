"""grpcio's servers and clients, in a process of their own, as its threads go with no fork.

Prints its servers' ports, reads where fastlb is, makes the calls of one scenario through it, and
ends with 0 if all went as it should: python -m tests.flow.grpc.calls SCENARIO [CERT KEY]."""

from __future__ import annotations

import hashlib
import itertools
import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc

DEADLINE_S = 20
MESSAGE_BYTES = 3 << 20
CANCELLED = grpc.StatusCode.CANCELLED
seen: dict[str, Any] = {}       # what handlers have to tell


class Handlers(grpc.GenericRpcHandler):
    """Messages are bytes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def service(self, details: Any) -> Any:
        return {
            "/t.T/One": grpc.unary_unary_rpc_method_handler(self.one),
            "/t.T/In": grpc.stream_unary_rpc_method_handler(self.incoming),
            "/t.T/Out": grpc.unary_stream_rpc_method_handler(self.outgoing),
            "/t.T/Both": grpc.stream_stream_rpc_method_handler(self.both),
        }.get(details.method)

    def one(self, message: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((
            ("x-sum", hashlib.sha256(message).hexdigest()), ("x-raw-bin", b"\0\xff"),
            *((k, v) for k, v in context.invocation_metadata() if k.startswith("x-mine"))))
        if message == b"abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: äöü")
        if message == b"wait":
            until = time.monotonic() + DEADLINE_S
            while context.is_active() and time.monotonic() < until:
                time.sleep(0.01)
            seen["over"] = context.is_active()
        return self.name.encode() if message == b"who" else message[::-1]

    def incoming(self, messages: Iterator[bytes], context: Any) -> bytes:
        return hashlib.sha256(b"".join(messages)).digest()

    def outgoing(self, message: bytes, context: Any) -> Iterator[bytes]:
        n, times = map(int, message.split())
        for i in range(n):
            seen["sent"] = i
            yield b"%d" % i * times

    def both(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for message in messages:
            yield b"re: " + message


class Through:
    """Calls through fastlb."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.one = channel.unary_unary("/t.T/One")
        self.incoming = channel.stream_unary("/t.T/In")
        self.outgoing = channel.unary_stream("/t.T/Out")
        self.both = channel.stream_stream("/t.T/Both")
        self.none = channel.unary_unary("/t.T/None")


def refused(call: Callable[[], Any]) -> grpc.RpcError:
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it was answered")


def kinds(to: Through, servers: list[Any]) -> None:
    assert to.one(b"abc", timeout=DEADLINE_S) == b"cba"
    parts = [b"%d" % i * 1000 for i in range(300)]
    assert to.incoming(iter(parts), timeout=DEADLINE_S) == hashlib.sha256(b"".join(parts)).digest()
    heard = list(to.outgoing(b"2000 100", timeout=DEADLINE_S))
    assert heard == [b"%d" % i * 100 for i in range(2000)]


def ping_pong(to: Through, servers: list[Any]) -> None:
    said: queue.Queue[bytes | None] = queue.Queue()
    heard = to.both(iter(said.get, None), timeout=DEADLINE_S)
    for i in range(1000):
        said.put(b"%d" % i)
        assert next(heard) == b"re: %d" % i
    said.put(None)
    assert list(heard) == []


def metadata(to: Through, servers: list[Any]) -> None:
    mine = (("x-mine", "1"), ("x-mine-bin", bytes(range(256))))
    _, call = to.one.with_call(b"x", metadata=mine, timeout=DEADLINE_S)
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
    call = to.one.future(b"wait", timeout=DEADLINE_S)
    time.sleep(0.2)
    call.cancel()
    until = time.monotonic() + DEADLINE_S
    while "over" not in seen:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert seen.pop("over") is False
    assert refused(lambda: to.one(b"wait", timeout=0.2)).code() \
        == grpc.StatusCode.DEADLINE_EXCEEDED


def spread(to: Through, servers: list[Any]) -> None:
    calls = [to.one.future(b"who", timeout=DEADLINE_S) for _ in range(200)]
    names = [call.result() for call in calls]
    assert len(set(names)) == len(servers)
    assert all(60 <= names.count(name) <= 74 for name in set(names)), names


def slow_reader(to: Through, servers: list[Any]) -> None:
    stream = to.outgoing(b"8000 2000", timeout=DEADLINE_S)
    next(stream)
    before = -1
    while seen["sent"] != before:               # until all windows are full
        before = seen["sent"]
        time.sleep(0.3)
    assert before < 7_900, before
    for _ in range(50):
        assert to.one(b"ab", timeout=DEADLINE_S) == b"ba"
    assert seen["sent"] == before
    assert sum(1 for _ in stream) == 7_999


def draining(to: Through, servers: list[Any]) -> None:
    """One of three goes; GOAWAY, and no call is lost."""
    over = threading.Event()
    wrong: list[Any] = []

    def ask() -> None:
        while not over.is_set():
            try:
                assert to.one(b"ab", timeout=DEADLINE_S) == b"ba"
            except Exception as error:
                # (grpcio cancels by itself what it has taken and not begun when it is stopped)
                if not isinstance(error, grpc.RpcError) or error.code() != CANCELLED:
                    wrong.append(error)
                    return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    servers[0].stop(5).wait()
    time.sleep(0.5)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


SCENARIOS = {one.__name__: one for one in (
    kinds, ping_pong, metadata, statuses, large, taken_back, spread, slow_reader, draining)}


def main(name: str, *files: str) -> None:
    servers, ports = [], []
    for i in range(3):
        server = grpc.server(futures.ThreadPoolExecutor(32))
        server.add_generic_rpc_handlers((Handlers(f"server {i}"),))
        if files:
            with open(files[0], "rb") as cert, open(files[1], "rb") as key:
                credentials = grpc.ssl_server_credentials([(key.read(), cert.read())])
            ports.append(server.add_secure_port("127.0.0.1:0", credentials))
        else:
            ports.append(server.add_insecure_port("127.0.0.1:0"))
        server.start()
        servers.append(server)
    print(json.dumps(ports), flush=True)
    target = f"127.0.0.1:{int(sys.stdin.readline())}"
    if files:
        with open(files[0], "rb") as cert:
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(cert.read()), [
                ("grpc.ssl_target_name_override", "site.test")])
    else:
        channel = grpc.insecure_channel(target)
    with channel:
        SCENARIOS[name](Through(channel), servers)
    for server in servers:
        server.stop(0).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
