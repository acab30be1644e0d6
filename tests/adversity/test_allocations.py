"""Memory that is gone: each allocation of the core, of nghttp2 and of OpenSSL fails in turn, while
a client asks over HTTP/2. Requests may fail then; nothing may hang, crash or be left over."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.flow.conftest import BUILD, DEADLINE_S, wait_until
from tests.flow.http.coded import decode
from tests.flow.http.peers import HttpOrigin, Message, Wire
from tests.flow.http2.peers import Client
from tests.flow.http2.servers.origin import Call, H2Origin

HERE = Path(__file__).parent
LOST = "5s"         # ends what waits for something that no memory was left for

# A balancer that does as its standard input says, a line each.
SERVE = """
import ctypes, json, sys, time
import fastlb
failing = ctypes.CDLL(None)
failing.allocations.restype = ctypes.c_long
failing.fail_allocation.argtypes = [ctypes.c_long]
balancer = fastlb.Balancer(fastlb.Config.build(json.loads(sys.argv[1])))
with balancer.background():
    print(balancer.listeners["web"].url, flush=True)
    for line in sys.stdin:
        word, _, number = line.strip().partition(" ")
        if word == "fail":
            failing.fail_allocation(int(number))
            print("ok", flush=True)
        elif word == "only":
            failing.fail_only(number.encode())
            print("ok", flush=True)
        elif word == "count":
            print(failing.allocations(), flush=True)
            failing.fail_allocation(0)
        else:
            print(json.dumps(balancer._instance.runtime.counts()), flush=True)
"""


class Far:
    """The balancer's process."""

    coding = ""         # that clients ask for

    def __init__(self, library: Path, config: dict[str, Any]) -> None:
        preload = " ".join([str(library), *os.environ.get("LD_PRELOAD", "").split()])
        options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, json.dumps(config)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, "LD_PRELOAD": preload, "ASAN_OPTIONS": options})
        host, _, port = self.line().rpartition("//")[2].rpartition(":")
        self.at = (host, int(port))

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it has ended: {self.process.wait()}"
        return line.strip()

    def say(self, words: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        return self.line()

    def alive(self) -> dict[str, int]:
        counts: dict[str, int] = json.loads(self.say("counts"))
        return {name: n for name, n in counts.items() if n}

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    assert compiler is not None
    made = tmp_path_factory.mktemp("failing") / "failing.so"
    subprocess.run(
        [compiler, "-O1", "-fno-builtin", "-fno-optimize-sibling-calls", "-shared", "-fPIC", "-o",
         str(made), str(HERE / "failing.c"), "-ldl"],
        check=True, env={**os.environ, "LD_PRELOAD": ""})
    return made


def _serve(wire: Wire, request: Message) -> None:
    """An answer with trailers, as a call of gRPC has."""
    body = request.body + b"ok"
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
              b"Trailer: x-sum\r\n\r\n%x\r\n%s\r\n0\r\nx-sum: 1\r\n\r\n" % (len(body), body))


def _call(call: Call) -> None:
    body = b"".join(iter(call.part, b""))
    call.head(200)
    call.data(body + b"ok")
    call.end(("x-sum", "1"))


# Servers of either version; or those of HTTP/1.1, with responses that are compressed.
@pytest.fixture(params=["h1", "h2", "gzip", "br", "zstd"])
def far(
    request: pytest.FixtureRequest, library: Path, pair: tuple[str, str]
) -> Iterator[Far]:
    """In front of servers, over TLS to the client."""
    if not H2_AVAILABLE:
        pytest.skip("built without HTTP/2")
    origin = H2Origin(_call, early=True) if request.param == "h2" else HttpOrigin(_serve)
    protocol = "h2" if request.param == "h2" else "http/1.1"
    coding = "" if request.param.startswith("h") else request.param
    made = Far(library, {
        "threads": 1,
        "listeners": {"web": {
            "bind": "https://127.0.0.1:0", "pool": "app",
            "compress": {"min_size": "0B"} if coding else False,
            "request_header_timeout": LOST, "keepalive_timeout": LOST, "body_idle_timeout": LOST,
            "response_header_timeout": LOST,
            "tls": {"certificates": [{"cert": pair[0], "key": pair[1]}],
                    "handshake_timeout": LOST}}},
        "pools": {"app": {"servers": [origin.address], "protocol": protocol,
                          "retry": {"attempts": 1}, "connect_timeout": LOST,
                          "outliers": {"consecutive_failures": 0}}},
    })
    made.coding = coding
    yield made
    made.process.kill()
    made.process.wait()
    origin.close()


def _ask(far: Far, context: ssl.SSLContext) -> list[Any]:
    """A connection with a GET and a POST at a time: what they were answered, "" if they weren't."""
    got: list[Any] = ["", ""]
    with contextlib.suppress(OSError, AssertionError, ConnectionError), \
            socket.create_connection(far.at, DEADLINE_S) as plain, \
            context.wrap_socket(plain, server_hostname="site.test") as sock:
        client = Client(sock)       # type: ignore[arg-type]
        fields = [("te", "trailers"), ("accept-encoding", far.coding)]
        streams = [client.ask("/", *fields),
                   client.ask("/", *fields, method="POST", body=b"x" * 40_000)]
        for i, stream in enumerate(streams):
            answer = client.answer(stream)
            if answer.ended and answer.reset is None:
                body = bytes(answer.body)
                if "content-encoding" in answer.fields:
                    body = decode(answer.fields["content-encoding"], body)
                got[i] = (answer.status, body, answer.trailers)
    return got


WHOLE = [(200, b"ok", [("x-sum", "1")]), (200, b"x" * 40_000 + b"ok", [("x-sum", "1")])]


# All of them on a build with sanitizers, where each is worth the most; else one of so many.
STEP = 1 if BUILD == "asan" else 12


@pytest.mark.timeout(1200 if BUILD == "asan" else 300)
def test_each_allocation_fails_in_turn(
    far: Far, pair: tuple[str, str], record_property: Callable[[str, object], None]
) -> None:
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    context = ssl.create_default_context(cafile=pair[0])
    context.set_alpn_protocols(["h2"])
    assert _ask(far, context) == WHOLE
    n = random.Random(seed).randrange(STEP)
    spared = False
    while not spared:
        n += STEP
        assert far.say(f"fail {n}") == "ok"
        got = _ask(far, context)
        count = int(far.say("count"))
        spared = count < n
        print(f"allocation {n}: {[one and one[0] for one in got]}")
        for one, whole in zip(got, WHOLE, strict=True):
            # What isn't an error of ours is whole: bodies and trailers.
            assert one == "" or one[0] >= 500 or one == whole, (n, one)
        wait_until(lambda: not far.alive())
        assert n < 5000
    record_property("allocations", n)
    assert _ask(far, context) == WHOLE
    assert far.end() == 0


# Who takes the memory of each coding's contexts. (zlib asks by itself, and so does zstd.)
TAKERS = {"gzip": "libz.", "br": "/coders.", "zstd": "libzstd."}


@pytest.mark.parametrize("far", TAKERS, indirect=True)
def test_each_allocation_of_a_new_coder_fails_in_turn(far: Far, pair: tuple[str, str]) -> None:
    """A coder that works rests, and takes nothing for the next response: so they are new here."""
    context = ssl.create_default_context(cafile=pair[0])
    context.set_alpn_protocols(["h2"])
    assert far.say(f"only {TAKERS[far.coding]}") == "ok"
    for n in range(1, 200):
        assert far.say(f"fail {n}") == "ok"
        got = _ask(far, context)
        if int(far.say("count")) < n:
            break
        for one, whole in zip(got, WHOLE, strict=True):
            assert one == "" or one[0] >= 500 or one == whole, (n, one)
        wait_until(lambda: not far.alive())
    else:
        raise AssertionError("it takes memory without end")
    assert n > 1 and got == WHOLE
    assert far.end() == 0
