"""The benchmarks' load generators: what they refuse to count, so that no figure flatters."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import certificate, environment
from bench.load import parse_h2load
from bench.model import Certificate, SetupError, Traffic

BODY = bytes(i % 251 for i in range(101))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + BODY
CLOSE_SECONDS = 0.01
ANSWERS_WANTED = 20

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("openssl") is None,
    reason="the load generator is C, and certificates come from the openssl program",
)
Contexts = Callable[[], ssl.SSLContext]


@pytest.fixture(scope="module")
def binary() -> Path:
    try:
        return environment.compile_c("load", "ssl", "crypto")
    except SetupError as error:
        if "openssl/" in str(error):
            pytest.skip("no headers of OpenSSL")
        raise


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate.make(tmp_path_factory.mktemp("shown"))


def context(shown: Certificate, tickets: int = 2, protocol: str = "http/1.1") -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(shown.cert, shown.key)
    made.num_tickets = tickets
    made.set_alpn_protocols([protocol])
    return made


def answer(accepted: socket.socket, made: ssl.SSLContext, notify: bool) -> None:
    with contextlib.suppress(OSError), made.wrap_socket(accepted, server_side=True) as stream:
        stream.recv(4096)
        stream.sendall(ANSWER)
        if notify:
            stream.settimeout(CLOSE_SECONDS)
            stream.unwrap()


@contextlib.contextmanager
def origin(contexts: Contexts, notify: bool = True) -> Iterator[int]:
    """A server of one answer a connection, each with a context of `contexts`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                answer(accepted, contexts(), notify)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def found(binary: Path, port: int, option: str, shown: Certificate) -> dict[str, float]:
    """What a load of two connections at a time counts, until it has enough or an error."""
    argv = [str(binary), option, str(shown.cert), str(port), "2", "/small", "101", "close"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as load:
        assert load.stdin is not None
        assert load.stdout is not None
        try:
            while True:
                load.stdin.write(b"s")
                load.stdin.flush()
                window: dict[str, float] = json.loads(load.stdout.readline())
                if window["requests"] >= ANSWERS_WANTED or errors(window):
                    return window
        finally:
            load.kill()


def errors(window: dict[str, float]) -> set[str]:
    return {key for key, value in window.items() if key.startswith("error_") and value}


@pytest.mark.parametrize("option", ["-f", "-r"])
def test_handshakes_as_asked_for_are_counted(
    binary: Path, shown: Certificate, option: str
) -> None:
    made = context(shown)
    with origin(lambda: made) as port:
        assert not errors(found(binary, port, option, shown))


def test_a_handshake_that_should_be_resumed_and_is_full_is_an_error(
    binary: Path, shown: Certificate
) -> None:
    # Each context has keys of its own, so that no ticket is of any use.
    with origin(lambda: context(shown)) as port:
        assert errors(found(binary, port, "-r", shown)) == {"error_resumption"}


def test_a_handshake_without_a_ticket_is_an_error(binary: Path, shown: Certificate) -> None:
    made = context(shown, tickets=0)
    with origin(lambda: made) as port:
        assert errors(found(binary, port, "-f", shown)) == {"error_ticket"}


def test_another_protocol_than_http_1_is_an_error(binary: Path, shown: Certificate) -> None:
    made = context(shown, protocol="h2")
    with origin(lambda: made) as port:
        assert errors(found(binary, port, "-f", shown)) & {"error_terms", "error_handshake"}


def test_another_certificate_is_an_error(
    binary: Path, shown: Certificate, tmp_path: Path
) -> None:
    made = context(certificate.make(tmp_path))
    with origin(lambda: made) as port:
        assert errors(found(binary, port, "-f", shown)) == {"error_handshake"}


def test_an_older_tls_is_an_error(binary: Path, shown: Certificate) -> None:
    made = context(shown)
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    with origin(lambda: made) as port:
        assert errors(found(binary, port, "-f", shown)) == {"error_handshake"}


def test_an_end_without_close_notify_is_an_error(binary: Path, shown: Certificate) -> None:
    made = context(shown)
    with origin(lambda: made, notify=False) as port:
        assert errors(found(binary, port, "-f", shown)) == {"error_socket"}


H2LOAD = """\
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Application protocol: h2

finished in 502.27ms, 184640.00 req/s, 5.29MB/s
requests: 1000 total, 1160 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 2.64MB (2771520) total, 812KB (832416) headers (space savings 94.11%), 99KB (101000) data
                     min         max         mean         sd        +/- sd
time for request:       53us      3.66ms       824us       315us    77.11%
"""
STREAMS = Traffic(16, "/small", 101, "keep", streams=10)


def test_what_h2load_says_is_read() -> None:
    assert parse_h2load(H2LOAD, STREAMS) == (
        {"requests": 1000.0, "seconds": 0.50227, "mean_us": 824.0, "max_us": 3660.0}, ""
    )


@pytest.mark.parametrize(("good", "bad"), [
    ("Cipher: TLS_AES_128_GCM_SHA256", "Cipher: TLS_AES_256_GCM_SHA384"),
    ("Application protocol: h2", "Application protocol: http/1.1"),
    ("1000 2xx, 0 3xx", "999 2xx, 1 3xx"),
    ("0 errored", "3 errored"),
    ("(101000) data", "(100999) data"),
    ("(101000) data", "(999000) data"),
    ("finished in", "ended"),
])
def test_what_h2load_finds_wrong_is_an_error(good: str, bad: str) -> None:
    values, error = parse_h2load(H2LOAD.replace(good, bad), STREAMS)
    assert error
    assert not values
