"""Sets of networks from URLs: fetched at start, and again when their server has other ones."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

import fastlb
from fastlb.config import limits
from fastlb.errors import ConfigError
from fastlb.observe.metrics import Metrics
from fastlb.observe.status import status
from fastlb.testing import TestBalancer
from tests.flow.conftest import DEADLINE_S, wait_until

pytestmark = pytest.mark.plain

DENIED = "127.0.0.2"
Answer = Callable[[BaseHTTPRequestHandler], None]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        lists: Lists = self.server.lists  # type: ignore[attr-defined]
        lists.asked.append((self.path, dict(self.headers)))
        lists.answer(self)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Lists:
    """A server of lists. `answer` is what it does about a request."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.lists = self  # type: ignore[attr-defined]
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answer: Answer = says(f"{DENIED}\n")
        scheme = "https" if context is not None else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/bad.txt"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def says(text: str | bytes, status: int = 200, **fields: str) -> Answer:
    """An answer with these fields, in whose names "_" stands for "-". It is 304 for a client that
    has this ETag or date already."""
    data = text.encode() if isinstance(text, str) else text

    def answer(request: BaseHTTPRequestHandler) -> None:
        known = (request.headers.get("If-None-Match"), request.headers.get("If-Modified-Since"))
        version = (fields.get("ETag"), fields.get("Last_Modified"))
        if version != (None, None) and known == version:
            request.send_response(304)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        for name, value in fields.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(data)

    return answer


@pytest.fixture
def lists() -> Iterator[Lists]:
    made = Lists()
    yield made
    made.close()


@pytest.fixture(params=[0, 2], ids=["inline", "threads"])
def made(request: pytest.FixtureRequest) -> Iterator[TestBalancer]:
    with TestBalancer(threads=request.param) as balancer:
        yield balancer


@pytest.fixture
def one() -> Iterator[TestBalancer]:
    with TestBalancer(threads=1) as balancer:
        yield balancer


def site(made: TestBalancer, lists: Lists, **keys: Any) -> fastlb.Listener:
    made.balancer.network("bad", **{"url": lists.url, "timeout": "30s", **keys})
    return made.listen(pool=made.pool(servers=[made.origin()]), deny="bad")


def is_denied(site: fastlb.Listener, source: str = DENIED) -> bool:
    with socket.create_connection(("127.0.0.1", site.port), DEADLINE_S, (source, 0)) as client:
        try:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return client.recv(4096) == b""
        except ConnectionError:
            return True


def shown(made: TestBalancer) -> dict[str, Any]:
    return next(one for one in status(made.balancer._instance.running())["networks"]
                if one["name"] == "bad")


# --- what is fetched ---

def test_list_is_fetched_again_only_when_it_has_changed(made: TestBalancer, lists: Lists) -> None:
    lists.answer = says(f"{DENIED}\n", ETag='"1"')
    web = site(made, lists, refresh="10m")
    assert is_denied(web) and not is_denied(web, "127.0.0.3")
    made.clock.advance("4m")
    assert len(lists.asked) == 1 and "If-None-Match" not in lists.asked[0][1]
    assert 240 <= shown(made)["age"] < 240 + DEADLINE_S
    made.clock.advance("6m")
    assert lists.asked[1][1]["If-None-Match"] == '"1"'
    assert shown(made)["unchanged"] == 1 and shown(made)["age"] < DEADLINE_S
    lists.answer = says("127.0.0.3\n", ETag='"2"')
    made.clock.advance("10m")
    wait_until(lambda: is_denied(web, "127.0.0.3") and not is_denied(web))
    assert (shown(made)["read"], shown(made)["unchanged"], shown(made)["failed"]) == (2, 1, 0)
    text = Metrics(made.balancer._instance.running()).render().decode()
    assert 'fastlb_network_reads_total{network="bad",outcome="unchanged"} 1\n' in text
    assert 'fastlb_network_age_seconds{network="bad"} ' in text


def test_server_without_etags_is_asked_by_its_date(one: TestBalancer, lists: Lists) -> None:
    date = "Mon, 02 Nov 2026 08:00:00 GMT"
    lists.answer = says(f"{DENIED}\n", Last_Modified=date)
    web = site(one, lists)
    assert is_denied(web)
    one.clock.advance("10m")
    assert lists.asked[1][1]["If-Modified-Since"] == date
    assert shown(one)["unchanged"] == 1


LIST = "\ufeff# ours\r\n127.0.0.2 - 127.0.0.3 ; two\r\n\r\n127.0.1.9/24\r\n2001:db8::1/32"


@pytest.mark.parametrize(("data", "fields"), [
    (LIST.encode(), {}),
    (gzip.compress(LIST.encode()), {}),
    (gzip.compress(LIST.encode()), {"Content_Encoding": "gzip"}),
    (gzip.compress(gzip.compress(LIST.encode())), {"Content_Encoding": "gzip"}),
    (b"".join(gzip.compress(line.encode()) for line in LIST.splitlines(True)), {}),
], ids=["plain", "gz-file", "coded", "gz-file-coded", "members"])
def test_list_may_look_like_this(
    one: TestBalancer, lists: Lists, data: bytes, fields: dict[str, str]
) -> None:
    lists.answer = says(data, **fields)
    web = site(one, lists)
    assert [is_denied(web, host) for host in ("127.0.0.2", "127.0.0.3", "127.0.1.7", "127.0.0.4")
            ] == [True, True, True, False]
    assert one.balancer.networks["bad"].stats()["entries"] == 3


def test_chunked_list_is_read(one: TestBalancer, lists: Lists) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"5\r\n127.0\r\n5\r\n.0.2\n\r\n0\r\n\r\n")

    lists.answer = answer
    assert is_denied(site(one, lists))


def test_redirects_are_followed(one: TestBalancer, lists: Lists) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/bad.txt?key=7":
            says("", 302, Location="/moved?a=1")(request)
        else:
            says(f"{DENIED}\n")(request)

    lists.answer = answer
    assert is_denied(site(one, lists, url=f"{lists.url}?key=7"))
    assert [path for path, _ in lists.asked] == ["/bad.txt?key=7", "/moved?a=1"]


# --- what can't be used ---

def drops_off(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100")
    request.end_headers()
    request.wfile.write(b"127.0.0.3\n")
    request.close_connection = True


FAILURES = {
    "error": (says("nobody", 500), "it answered 500"),
    "empty": (says("# nobody\n"), "is empty"),
    "page": (says("<html>\n"), "no networks in line 1"),
    "ends-early": (drops_off, "its answer"),
    "gzip-broken": (says(b"\x1f\x8bnonsense......"), "its gzip is broken"),
    "gzip-cut": (says(gzip.compress(b"127.0.0.3\n" * 99)[:-9]), "its gzip ended before its end"),
    "loop": (says("", 301, Location="/bad.txt"), "more than 5 redirects"),
    "redirect-nowhere": (says("", 302, Location="ftp://a/"), "a redirect to no URL"),
    "no-http": (lambda request: request.wfile.write(b"SSH-2.0-x\r\n") and None, "no HTTP"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_broken_source_keeps_the_set_and_says_so_once(
    one: TestBalancer, lists: Lists, caplog: pytest.LogCaptureFixture, failure: str
) -> None:
    caplog.set_level("INFO", "fastlb.networks")
    good = lists.answer = says(f"{DENIED}\n", ETag='"1"')
    web = site(one, lists, url=f"{lists.url}?token=secret")
    assert is_denied(web)
    lists.answer, why = FAILURES[failure]
    for _ in range(3):
        one.clock.advance("10m")
    assert is_denied(web)
    warnings = [line for line in caplog.messages if "the set stays as it was (entries: 1)" in line]
    assert len(warnings) == 1 and why in warnings[0]
    assert why in shown(one)["error"] and shown(one)["failed"] == 3
    assert "secret" not in caplog.text and "secret" not in str(shown(one))
    lists.answer = good
    one.clock.advance("1m")             # (not ten, as it has failed)
    assert shown(one)["error"] == ""
    assert sum("can be read again, and hasn't changed" in line for line in caplog.messages) == 1


def test_content_of_a_large_answer_is_not_kept(
    one: TestBalancer, lists: Lists, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = site(one, lists)
    assert is_denied(web)
    monkeypatch.setattr(limits, "NETWORKS_BYTES_MAX", 1 << 20)
    for data in (b"#" * (3 << 20), gzip.compress(b"#" * (3 << 20))):
        lists.answer = says(data)
        one.clock.advance("10m")
        assert "more than 1 MiB" in shown(one)["error"] and is_denied(web)
    assert shown(one)["failed"] == 2


def test_list_of_five_million_networks_is_refused(lists: Lists) -> None:
    lists.answer = says(gzip.compress(b"10.0.0.1\n" * 5_000_000, 1))
    balancer = fastlb.Balancer(threads=1, networks={"bad": {"url": lists.url, "timeout": "60s"}})
    with pytest.raises(ConfigError, match="it has more than 1,000,000 networks"), \
            balancer.background():
        pass


def silence(request: BaseHTTPRequestHandler) -> None:
    request.connection.settimeout(DEADLINE_S)
    request.server.heard = request.connection.recv(1)  # type: ignore[attr-defined]


def drips(request: BaseHTTPRequestHandler) -> None:
    """A head without an end, a byte at a time."""
    request.connection.settimeout(0.01)
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        try:
            request.wfile.write(b"x")
            if request.connection.recv(1) == b"":
                break
        except TimeoutError:
            pass
        except OSError:
            break
    request.server.heard = b""  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer", [silence, drips])
def test_server_that_does_not_end_is_left(
    one: TestBalancer, lists: Lists, answer: Answer
) -> None:
    lists.answer = answer
    web = site(one, lists, timeout="300ms", required=False)
    assert not is_denied(web)
    assert "no answer within 0.3 s" in shown(one)["error"]
    wait_until(lambda: getattr(lists._server, "heard", None) == b"")


def test_stop_ends_what_is_being_fetched(lists: Lists) -> None:
    with TestBalancer(threads=1) as balancer:
        web = site(balancer, lists)
        assert is_denied(web)
        lists.answer = silence
        runtime = balancer.balancer._instance.running()
        assert runtime.loop is not None
        runtime.loop.call_soon_threadsafe(runtime.clock.advance, 600)
        wait_until(lambda: len(lists.asked) == 2)
    wait_until(lambda: getattr(lists._server, "heard", None) == b"")


# --- at start, and in a reload ---

def nowhere() -> str:
    """A URL whose server refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"http://127.0.0.1:{sock.getsockname()[1]}/bad.txt"


def test_unreachable_list_is_an_error_at_start() -> None:
    balancer = fastlb.Balancer(threads=1, networks={"bad": {"url": nowhere()}})
    balancer.listen("http://127.0.0.1:0", pool=balancer.pool("p", ["127.0.0.1:9"]), deny="bad")
    with pytest.raises(ConfigError, match=r"connection refused.*required = false") as raised, \
            balancer.background():
        pass
    assert raised.value.problems[0].path == "networks.bad.url"


def test_list_that_is_not_required_is_filled_later(made: TestBalancer, lists: Lists) -> None:
    lists.answer = says("", 503)
    web = site(made, lists, required=False)
    assert not is_denied(web)
    lists.answer = says(f"{DENIED}\n")
    made.clock.advance("1m")
    wait_until(lambda: is_denied(web))


def test_saved_copy_is_used_when_the_url_fails_at_start(
    lists: Lists, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "copy.txt"
    for answer in (says(f"{DENIED}\n"), says("", 503)):
        lists.answer = answer
        with TestBalancer(threads=1) as balancer:
            web = site(balancer, lists, saved_copy=str(copy))
            assert is_denied(web)
            assert [*tmp_path.iterdir()] == [copy] and copy.read_text() == f"{DENIED}\n"
    assert "it answered 503; its saved copy is used (entries: 1)" in caplog.text
    copy.write_text("nonsense\n")
    balancer = fastlb.Balancer(
        threads=1, networks={"bad": {"url": lists.url, "saved_copy": str(copy)}})
    with pytest.raises(ConfigError, match=r"503; .*copy.txt: no networks in line 1"), \
            balancer.background():
        pass


def test_many_servers_that_are_silent_hold_up_no_other(
    lists: Lists, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Lists()
    slow.answer = silence
    try:
        with TestBalancer(threads=1) as balancer:
            for i in range(8):
                balancer.balancer.network(
                    f"slow{i}", url=slow.url, timeout="300ms", required=False)
            assert is_denied(site(balancer, lists))
            for i in range(8):
                assert f"networks.slow{i}: {slow.url}: no answer within 0.3 s" in caplog.text
            balancer.clock.advance("1m")
            assert caplog.text.count("no answer within 0.3 s") == 8     # (once each)
    finally:
        slow.close()


def test_copy_that_can_not_be_written_is_told(
    one: TestBalancer, lists: Lists, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert is_denied(site(one, lists, saved_copy=str(tmp_path / "no" / "copy.txt")))
    assert "copy.txt can't be written: No such file or directory" in caplog.text


def test_reload_does_not_wait_for_a_list_that_it_has(made: TestBalancer, lists: Lists) -> None:
    web = site(made, lists)
    assert is_denied(web)
    config = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    lists.answer = says("", 503)
    config["networks"]["bad"]["refresh"] = "1h"
    asyncio.run(made.balancer.reload(fastlb.Config.build(config)))
    wait_until(lambda: shown(made)["failed"] == 1)
    assert is_denied(web)
    config["networks"]["bad"]["url"] = nowhere()
    with pytest.raises(ConfigError, match="connection refused"):
        asyncio.run(made.balancer.reload(fastlb.Config.build(config)))
    lists.answer = says("127.0.0.3\n")
    config["networks"]["bad"]["url"] = f"{lists.url}?other"
    asyncio.run(made.balancer.reload(fastlb.Config.build(config)))
    assert [is_denied(web, host) for host in (DENIED, "127.0.0.3")] == [False, True]


# --- TLS ---

@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure_lists(authority: trustme.CA) -> Iterator[Lists]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    made = Lists(context)
    yield made
    made.close()


def test_certificate_of_the_server_is_verified(
    authority: trustme.CA, secure_lists: Lists, lists: Lists, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    with TestBalancer(threads=1) as balancer:
        assert is_denied(site(balancer, secure_lists, ca=str(ca)))
    secure_lists.answer = says("", 302, Location=lists.url)
    for keys, why in (({}, "its certificate: "), (
            {"ca": str(ca)}, "a redirect from https to http://127.0.0.1")):
        balancer = fastlb.Balancer(
            threads=1, networks={"bad": {"url": secure_lists.url, **keys}})
        with pytest.raises(ConfigError, match=why), balancer.background():
            pass
    assert lists.asked == []
