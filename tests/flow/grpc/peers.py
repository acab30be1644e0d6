"""grpcio's servers and clients: what they answer, ask and count."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc

DEADLINE_S = 30
STREAM_S = 300                      # of a stream, which is many messages and other calls beside it
seen: dict[str, Any] = {}       # what handlers have to tell
Files = tuple[str, ...]         # of a certificate and its key, or none


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

    def _greet(self, context: Any) -> None:
        context.send_initial_metadata((("x-name", self.name), ("x-name-bin", b"\xfe\0")))

    def one(self, message: bytes, context: Any) -> bytes:
        if message != b"wait":
            self._greet(context)
        context.set_trailing_metadata((
            ("x-sum", hashlib.sha256(message).hexdigest()), ("x-raw-bin", b"\0\xff"),
            *((k, v) for k, v in context.invocation_metadata() if k.startswith("x-mine"))))
        if message == b"abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: äöü")
        if message == b"wait":
            seen["waits"] = seen.get("waits", 0) + 1
            until = time.monotonic() + DEADLINE_S
            while context.is_active() and time.monotonic() < until:
                time.sleep(0.01)
            seen["over"] = context.is_active()
        return self.name.encode() if message == b"who" else message[::-1]

    def incoming(self, messages: Iterator[bytes], context: Any) -> bytes:
        return hashlib.sha256(b"".join(messages)).digest()

    def outgoing(self, message: bytes, context: Any) -> Iterator[bytes]:
        self._greet(context)
        n, times = map(int, message.split())
        for i in range(n):
            seen["sent"] = i
            yield b"%d" % i * times

    def both(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self._greet(context)
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


class Tally(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor, grpc.StreamStreamClientInterceptor,
):
    """How often clients saw each status."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: Counter[str] = Counter()
        self._open = 0

    def _call(self, go_on: Any, details: Any, message: Any) -> Any:
        with self._lock:
            self._open += 1
        call = go_on(details, message)
        call.add_done_callback(self._done)
        return call

    intercept_unary_unary = intercept_unary_stream = _call
    intercept_stream_unary = intercept_stream_stream = _call

    def _done(self, call: Any) -> None:
        with self._lock:
            self._codes[call.code().name] += 1
            self._open -= 1

    def codes(self) -> dict[str, int]:
        """When all calls are over."""
        wait_for(lambda: not self._open)
        return dict(self._codes)


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def refused(call: Callable[[], Any]) -> grpc.RpcError:
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it was answered")


def serve(name: str, files: Files) -> tuple[grpc.Server, int]:
    """A running server, and its port."""
    server = grpc.server(futures.ThreadPoolExecutor(32))
    server.add_generic_rpc_handlers((Handlers(name),))
    if files:
        with open(files[0], "rb") as cert, open(files[1], "rb") as key:
            credentials = grpc.ssl_server_credentials([(key.read(), cert.read())])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def connect(target: str, files: Files) -> grpc.Channel:
    if not files:
        return grpc.insecure_channel(target)
    with open(files[0], "rb") as cert:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(cert.read()), [
            ("grpc.ssl_target_name_override", "site.test")])
