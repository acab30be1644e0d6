"""The access log: what is in a line, and what becomes of the file."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastlb
from fastlb.config.observing import JSON_FIELDS
from tests.flow.conftest import DEADLINE_S, Origin, Site, read_exactly, read_to_end, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

Make = Callable[..., contextlib.AbstractContextManager[HttpSite]]


@pytest.fixture
def logged(mode: int, tmp_path: Path) -> Make:
    """Makes an HttpSite that writes tmp_path/access; it is stopped, and all is written, at the end
    of the `with`."""

    @contextlib.contextmanager
    def make(
        servers: list[str], path: str = "", scheme: str = "http",
        pool: dict[str, Any] | None = None, buffer: str = "1MiB", format: str = "json",
        fields: list[str] | None = None, **keys: Any,
    ) -> Iterator[HttpSite]:
        log = {"path": path or str(tmp_path / "access"), "format": format, "buffer": buffer,
               **({} if fields is None else {"fields": fields})}
        balancer = fastlb.Balancer(threads=mode, access_log=log)
        target = balancer.pool("pool", servers, **(pool or {}))
        listener = balancer.listen(f"{scheme}://127.0.0.1:0", name="web", pool=target, **keys)
        with balancer.background():
            site = HttpSite(Site(balancer, listener))
            yield site
            for client in site.site.clients:
                client.close()
            site.wait_idle()

    return make


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_request_is_a_line_with_all_there_is_to_say(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    origin = origins()
    with logged([origin.address], routes=[
        {"name": "docs", "match": {"path": "/docs/*"}, "pool": "pool"},
    ]) as site:
        wire = site.client()
        wire.send(get("/docs/%41?a=1&b", "User-Agent: curl/8", "Referer: http://x/",
                      "X-Request-Id: id-7", method="POST", body=b"12345"))
        response = wire.response()
        port = wire.sock.getsockname()[1]
    (line,) = lines_of(tmp_path / "access")
    assert tuple(line) == JSON_FIELDS
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert 0 < line.pop("first_byte") <= line.pop("duration") < 60
    assert 0 <= line.pop("connect") < 60
    assert line.pop("bytes_out") > len(response.body)
    assert line == {
        "protocol": "http", "listener": "web", "route": "docs", "pool": "pool",
        "server": origin.address, "client_ip": "127.0.0.1", "client_port": port,
        "method": "POST", "host": "site.test", "path": "/docs/%41", "query": "a=1&b",
        "version": "1.1", "status": 200, "bytes_in": 5, "body_bytes": len(response.body),
        "tries": 1, "reason": "done", "user_agent": "curl/8", "referer": "http://x/",
        "request_id": "id-7", "trace_id": "",
    }


def test_body_bytes_of_a_compressed_response_are_those_sent(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    raw = answer(b"a" * 5000, "200 OK", "Content-Type: text/plain")
    with logged([origins(lambda wire, request: wire.send(raw)).address], compress=True) as site:
        wire = site.client()
        wire.send(get("/", "Accept-Encoding: gzip"))
        response = wire.response()
    (line,) = lines_of(tmp_path / "access")
    assert line["body_bytes"] == len(response.body) < 200


def test_every_answer_has_its_line_in_the_order_of_their_ends(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    with logged([origins().address], fields=["path", "status", "connect"]) as site:
        wire = site.client()
        for i in range(300):
            wire.send(get(f"/{i}"))
            wire.response()
    found = lines_of(tmp_path / "access")
    assert [line["path"] for line in found] == [f"/{i}" for i in range(300)]
    assert [line["connect"] is None for line in found] == [False] + [True] * 299
    assert tuple(found[0]) == ("path", "status", "connect")


def test_combined_is_as_web_servers_have_it(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    with logged([origins().address], format="combined") as site:
        body = site.ask(get("/a?b=c", 'User-Agent: a "b" \\ \xe9\t')).body
        site.ask(b"nonsense\r\n\r\n")
    # (two engines may have had them, whose lines have no order)
    second, first = sorted((tmp_path / "access").read_text().splitlines(), key=len)
    assert re.fullmatch(
        r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z][a-z]/20\d\d:\d\d:\d\d:\d\d \+0000\]"
        rf' "GET /a\?b=c HTTP/1\.1" 200 {len(body)} "-"'
        r' "a \\x22b\\x22 \\x5c \\xc3\\xa9"', first)
    assert second.endswith('] "-" 400 16 "-" "-"')


def test_a_format_of_ones_own(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    with logged([origins().address], format="{method}|{path}|{{{status}}}|{reason}|{user_agent}",
                routes=[{"name": "r", "match": {"path": "/r"}, "redirect": {"to": "/s"}}]) as site:
        site.ask(get("/r"))
        site.ask(get("/x", method="DELETE"))
    assert sorted((tmp_path / "access").read_text().splitlines(True)) == [
        "DELETE|/x|{200}|done|-\n", "GET|/r|{302}|responded|-\n",
    ]


def test_sessions_of_tcp_are_lines_too(logged: Make, origin: Origin, tmp_path: Path) -> None:
    with logged([origin.address], scheme="tcp") as site:
        client, server = site.site.pair(origin)
        client.sendall(b"12345")
        assert read_exactly(server, 5) == b"12345"
        server.sendall(b"123")
        server.close()
        assert read_to_end(client) == b"123"
    (line,) = lines_of(tmp_path / "access")
    assert line["protocol"] == "tcp" and line["method"] == "" and line["status"] == 0
    assert (line["bytes_in"], line["bytes_out"], line["tries"]) == (5, 3, 1)
    assert (line["server"], line["pool"], line["reason"]) == (origin.address, "pool", "done")
    assert line["connect"] is None or line["connect"] >= 0


def test_a_server_that_cannot_be_had_is_told(logged: Make, tmp_path: Path) -> None:
    with logged(["127.0.0.1:1"]) as site:
        assert site.ask(get("/a")).status == 503
    (line,) = lines_of(tmp_path / "access")
    assert (line["status"], line["reason"], line["server"]) == (503, "no_server", "127.0.0.1:1")
    assert (line["tries"], line["first_byte"]) == (1, None)


def test_a_tunnel_is_told_when_it_ends(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    def switch(wire: Wire, request: Message) -> bool:
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  b"Upgrade: echo\r\n\r\n")
        wire.send(wire.exactly(4))
        return False

    with logged([origins(switch).address]) as site:
        wire = site.client()
        wire.send(get("/t", "Connection: Upgrade", "Upgrade: echo"))
        assert wire.head().status == 101
        wire.send(b"abcd")
        assert wire.to_end() == b"abcd"
        wire.close()
        site.wait_idle()
        counted = site.site.listener.stats()
    (line,) = lines_of(tmp_path / "access")
    assert (line["path"], line["status"], line["reason"]) == ("/t", 101, "done")
    assert line["bytes_in"] == counted["bytes_in"] == 4
    assert line["bytes_out"] == counted["bytes_out"] > 4


TEXTS = st.binary(min_size=0, max_size=40).map(
    lambda data: bytes(c for c in data if (c not in b"\0\r\n\x7f" and c >= 32) or c == 9)
)


def test_no_bytes_of_a_client_break_a_line(
    origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    """Whatever it is that llhttp lets pass: each line is JSON in UTF-8, with the same words."""
    log = tmp_path / "access"
    balancer = fastlb.Balancer(threads=1, access_log={"path": str(log)})
    listener = balancer.listen(
        "http://127.0.0.1:0", name="web", pool=balancer.pool("pool", [origins().address]))
    sent: list[bytes] = []
    with balancer.background():
        site = HttpSite(Site(balancer, listener))

        @settings(max_examples=150, deadline=None,
                  suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(TEXTS)
        def ask(text: bytes) -> None:
            wire = site.client()
            wire.send(b"GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: " + text + b"\r\n\r\n")
            if wire.response().status == 200:
                sent.append(text.strip(b" \t"))
            wire.close()

        ask()
        site.wait_idle()
    found = [json.loads(line.decode()) for line in log.read_bytes().split(b"\n")[:-1]]
    said = [line["user_agent"] for line in found if line["status"] == 200]
    assert len(said) == len(sent) > 50
    for text, agent in zip(sent, said, strict=True):
        try:
            assert agent == text.decode()
        except UnicodeDecodeError:
            assert agent.isprintable() or "\t" in agent or agent


def test_a_file_that_was_moved_away_is_made_anew(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    log, old = tmp_path / "access", tmp_path / "access.1"
    with logged([origins().address], fields=["path"]) as site:
        runtime = site.site.balancer._instance.runtime
        assert runtime is not None
        site.ask(get("/before"))
        runtime.recording.sync()
        log.rename(old)
        site.site.balancer.reopen_log()
        wait_until(log.exists, "there is no new file")
        site.ask(get("/after"))
    assert [line["path"] for line in lines_of(old)] == ["/before"]
    assert [line["path"] for line in lines_of(log)] == ["/after"]


def test_a_moved_file_is_noticed_without_a_word(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    log, old = tmp_path / "access", tmp_path / "access.1"
    with logged([origins().address], fields=["path"]) as site:
        log.rename(old)
        wait_until(log.exists, "there is no new file")
        site.ask(get("/after"))
    assert [line["path"] for line in lines_of(log)] == ["/after"]


def test_a_new_file_in_its_place_is_noticed_without_a_word(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path
) -> None:
    """As logrotate's `create` leaves it."""
    log, old = tmp_path / "access", tmp_path / "access.1"
    with logged([origins().address], fields=["path"]) as site:
        log.rename(old)
        log.touch()

        def is_written() -> bool:
            return site.ask(get("/after")).status == 200 and log.stat().st_size > 0

        wait_until(is_written, "the old file is still written to")
    assert {line["path"] for line in lines_of(log)} == {"/after"}


def test_a_full_disk_is_said_once_and_costs_lines_only(
    logged: Make, origins: Callable[..., HttpOrigin], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "fastlb.access"), \
            logged([origins().address], path="/dev/full") as site:
        runtime = site.site.balancer._instance.runtime
        assert runtime is not None
        for _ in range(3):
            assert site.ask(get()).status == 200
            runtime.recording.sync()
        assert runtime.recording.totals() == {"records": 3, "dropped": 0, "lines": 0, "lost": 3}
    assert [r.getMessage() for r in caplog.records] == [
        "access log /dev/full can't be written: no space left on device; lines are lost and counted"
    ]


def test_what_comes_too_fast_is_dropped_and_counted(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody reads the pipe: its room and the ring's fill up, and requests go on."""
    # (However long the requests take, nothing is given up meanwhile to make room.)
    monkeypatch.setattr("fastlb.observe.recording.PATIENCE_MS", 600_000)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with logged([origins().address], path=str(fifo), buffer="64KiB") as site:
        runtime = site.site.balancer._instance.runtime
        assert runtime is not None
        wire = site.client()
        asked = 0
        while runtime.recording.totals()["dropped"] == 0:
            for _ in range(20):
                wire.send(get("/" + "a" * 4000))
                assert wire.response().status == 200
            asked += 20
            assert asked < 5000
        runtime.engines.settle()
        totals = runtime.recording.totals()
        assert totals["records"] + totals["dropped"] == asked
        drained = threading.Thread(target=_read_all, args=(reader,))
        drained.start()
    drained.join()


def test_lines_stay_apart_after_any_number_of_failed_writes(
    logged: Make, origins: Callable[..., HttpOrigin], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastlb.observe.recording.PATIENCE_MS", 1)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    with logged([origins().address], path=str(fifo)) as site:
        runtime = site.site.balancer._instance.runtime
        assert runtime is not None
        for lost in (1, 2, 3):                  # a part of a line, and then nothing
            assert site.ask(get("/" + "a" * 4000)).status == 200
            wait_until(lambda n=lost: runtime.recording.totals()["lost"] == n)
        torn = os.read(reader, 65536)
        assert site.ask(get("/last")).status == 200
        data = b""
        while not data.endswith(b"}\n"):
            assert select.select([reader], [], [], DEADLINE_S)[0]
            data += os.read(reader, 65536)
    os.close(reader)
    assert len(torn) == 4096 and data[:1] == b"\n"
    assert json.loads(data)["path"] == "/last"


def _read_all(reader: int) -> None:
    os.set_blocking(reader, True)
    with open(reader, "rb") as file:
        while file.read(65536):
            pass


def test_a_place_where_nothing_can_be_written_is_an_error_of_the_configuration(
    tmp_path: Path,
) -> None:
    balancer = fastlb.Balancer(threads=1, access_log={"path": str(tmp_path / "no" / "log")})
    with pytest.raises(fastlb.ConfigError) as found, balancer.background():
        pass
    assert str(found.value) == "access_log.path: it can't be opened: No such file or directory"
