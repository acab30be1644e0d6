"""Logs, replayed."""

from __future__ import annotations

import gzip
import io
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlb
from fastlb.config.effective import Effective, effective
from fastlb.explain.explainer import Explainer
from fastlb.explain.replay import Diversion, Listed, Load, Replayed, open_log, replay
from tests.flow.conftest import measures_memory

COMMON = '10.0.0.1 - - [25/Nov/2026:18:00:00 +0000] "{request}" 200 {size}'


def values(docs: int = 3, **keys: Any) -> Effective:
    return effective(fastlb.Config.build({
        "listeners": {
            "web": {"bind": "http://127.0.0.1:0", "routes": [
                {"name": "docs", "match": {"path": "/docs/{doc}"}, "pool": "docs"},
                {"name": "bots", "match": {"headers": {"user-agent": {"contains": "bot"}}},
                 "respond": {"status": 403}},
                {"name": "api", "match": {"path": "/api/*", "method": "GET"}, "pool": "api"},
                {"name": "host", "match": {"host": "a.example"}, "pool": "api"},
            ], **keys},
            "edge": {"bind": "tcp://127.0.0.1:0", "pool": "api"},
        },
        "pools": {
            "docs": {"balance": "ring_hash", "hash_on": "path.doc",
                     "servers": [f"10.0.0.{i + 1}:1" for i in range(docs)]},
            "api": {"servers": ["10.0.1.1:1", "10.0.1.2:1"]},
        },
    }))


def run(*lines: str | dict[str, Any], against: Effective | None = None, **keys: Any) -> Replayed:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return replay(values(), io.BytesIO("\n".join(texts).encode()), against, **keys)


def common(request: str, size: int = 100) -> str:
    return COMMON.format(request=request, size=size)


def test_where_requests_and_bytes_go() -> None:
    found = run(
        common("GET /api/a HTTP/1.1", 100), common("GET /api/b HTTP/1.1", 50),
        common("GET /api/c?d HTTP/2.0", 25), common("POST /api/a HTTP/1.1"),
        common("GET /none HTTP/1.1", 7))
    assert (found.lines, found.requests, found.unknown, found.no_route) == (5, 5, 0, 2)
    assert found.spread.routes == {
        "web/(no route)": Load(2, 107), "web/api": Load(3, 175)}
    assert found.spread.pools == {"api": Load(3, 175)}
    assert found.spread.servers["api/10.0.1.1:1"] == Load(2, 125)
    assert found.spread.servers["api/10.0.1.2:1"] == Load(1, 50)
    assert found.spread.servers["docs/10.0.0.1:1"] == Load(0, 0)
    assert found.spread.answers == {"404": Load(2, 107)}
    assert found.no_route_first == (common("POST /api/a HTTP/1.1"), common("GET /none HTTP/1.1", 7))


class Watched(io.BytesIO):
    """Notes how much memory the process has at each read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.resident: list[int] = []

    def read(self, size: int | None = -1) -> bytes:
        self.resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
        return super().read(size)


@measures_memory
def test_the_length_of_a_log_takes_no_memory() -> None:
    """What was taken for a request is given back before the next."""
    lines = "\n".join([common("GET /api/a HTTP/1.1")] * 40_000)
    log = Watched(lines.encode())
    assert replay(values(), log).requests == 40_000
    assert log.resident[-1] - log.resident[0] < 16 << 20       # (it is read 4 MiB at a time)


def test_lines_that_say_nothing_are_counted_and_shown() -> None:
    found = run("", "what?", common("-"), '{"method": "GET"', "{}", common("GET /api/a HTTP/1.1"),
                '10.0.0.1 - - [25/Nov/2026] "GET /api/a HTTP/1.1', "x" * 70_000)
    assert (found.lines, found.requests, found.unknown) == (7, 1, 6)
    assert found.unknown_first[:2] == ("what?", common("-"))


def test_our_own_lines() -> None:
    line = {"listener": "web", "client_ip": "2001:db8::1", "client_port": 7, "method": "GET",
            "host": "a.example", "path": "/else", "query": "", "body_bytes": 3, "bytes_out": 90,
            "protocol": "http", "tries": [1, {"a": "b"}]}
    found = run(line, {**line, "path": "/api/x", "host": "b"}, {**line, "host": "b"},
                {**line, "host": "b", "user_agent": 'a "bot"'})
    assert found.unknown == 0
    assert {name: load.requests for name, load in found.spread.routes.items()} == {
        "web/host": 1, "web/api": 1, "web/(no route)": 1, "web/bots": 1}
    assert found.bytes == 12
    assert found.clients == 1


def test_combined_lines_have_an_agent_that_may_be_escaped() -> None:
    agent = r'"-" "my \x22bot\" \\ "'
    found = run(common("GET /x HTTP/1.1") + " " + agent)
    assert found.spread.routes == {"web/bots": Load(1, 100)}


def test_an_agent_can_add_no_header_field() -> None:
    quiet = run({"method": "GET", "path": "/x", "user_agent": "a\r\nUser-Agent: bot"[:3]})
    assert quiet.no_route == 1
    found = run({"method": "GET", "path": "/x", "referer": "a\r\nUser-Agent: bot"})
    assert (found.no_route, found.unknown) == (1, 0)


def test_connections_of_tcp() -> None:
    found = run({"listener": "edge", "protocol": "tcp", "client_ip": "10.0.0.1", "bytes_out": 5})
    assert (found.connections, found.spread.routes) == (1, {"edge": Load(1, 5)})
    assert run({"listener": "web", "protocol": "tcp"}).unknown == 1


def test_connections_whose_route_the_first_bytes_decide() -> None:
    """No log has these, so that they go where no route fits; without a pool nowhere."""
    edge = {"bind": "tcp://127.0.0.1:0", "routes": [
        {"name": "mqtt", "match": {"protocol": "mqtt"}, "pool": "api"}]}
    config = {"listeners": {"edge": edge}, "pools": {"api": {"servers": ["10.0.1.1:1"]}}}
    line = json.dumps({"listener": "edge", "protocol": "tcp", "client_ip": "10.0.0.1"}).encode()
    found = replay(effective(fastlb.Config.build(config)), io.BytesIO(line), None)
    assert (found.connections, found.no_route, found.unknown) == (1, 1, 0)
    edge["pool"] = "api"
    found = replay(effective(fastlb.Config.build(config)), io.BytesIO(line), None)
    assert (found.connections, found.no_route) == (1, 0)
    assert found.spread.pools == {"api": Load(1, 0)}


def test_clients_without_an_address_and_keys_that_are_missing() -> None:
    found = run(common("GET /api/a HTTP/1.1").replace("10.0.0.1", "a.example"))
    assert found.clients_unknown == 1
    lost = effective(fastlb.Config.build({
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "p"}},
        "pools": {"p": {"balance": "maglev", "hash_on": "cookie.c", "servers": ["10.0.0.1:1"]}},
    }))
    found = replay(lost, io.BytesIO(common("GET / HTTP/1.1").encode()))
    assert found.keys_missing == 1


def test_the_server_is_the_one_that_explain_names() -> None:
    explainer = Explainer.offline(values())
    for doc in range(50):
        found = run(common(f"GET /docs/{doc} HTTP/1.1"))
        (server,) = (name for name, load in found.spread.servers.items() if load.requests)
        assert server == f"docs/{explainer.explain('GET', f'/docs/{doc}').server}"


def test_what_would_change() -> None:
    lines = [common(f"GET /docs/{doc % 100} HTTP/1.1") for doc in range(300)]
    found = run(*lines, common("GET /api/a HTTP/1.1"), against=values(4))
    assert found.against is not None
    moved = found.against.servers["docs/10.0.0.4:1"].requests
    assert 0 < moved < 150
    assert found.changed == moved                   # nobody goes from an old one to an old one
    assert {change.after for change in found.changes} == {"docs/10.0.0.4:1"}
    assert sum(change.requests for change in found.changes) == moved
    assert found.keys == 100 and found.keys_moved == moved // 3
    assert (found.clients, found.clients_moved) == (1, 1)
    same = run(*lines, against=values(3))
    assert (same.changed, same.changes, same.keys_moved) == (0, (), 0)


def test_routes_and_pools_that_change() -> None:
    other = values()
    listener = other.listeners[0]
    assert listener.http is not None
    fewer = effective(fastlb.Config.build({
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "docs"}},
        "pools": {"docs": {"servers": ["10.0.0.1:1"]}},
    }))
    found = run(common("GET /api/a HTTP/1.1"), common("GET /none HTTP/1.1"), against=fewer)
    assert found.changes == (
        Diversion("pool", "(answered with 404)", "docs", 1), Diversion("pool", "api", "docs", 1),
        Diversion("route", "web/(no route)", "web/(the listener's pool)", 1),
        Diversion("route", "web/api", "web/(the listener's pool)", 1),
        Diversion("server", "(answered with 404)", "docs/10.0.0.1:1", 1),
        Diversion("server", "api/10.0.1.1:1", "docs/10.0.0.1:1", 1),
    )
    assert found.changed == 2


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_log_may_end_anyhow(end: str) -> None:
    text = (common("GET /api/a HTTP/1.1") + end).encode()
    assert replay(values(), io.BytesIO(text)).requests == 1


def test_a_log_may_be_gzipped(tmp_path: Path) -> None:
    path = tmp_path / "access.log.gz"
    path.write_bytes(gzip.compress((common("GET /api/a HTTP/1.1") + "\n").encode() * 1000))
    with open_log(str(path)) as log:
        assert replay(values(), log).requests == 1000


def test_lines_are_whole_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlb.explain.replay.BLOCK_BYTES", 7)
    assert run(*[common("GET /api/a HTTP/1.1")] * 20).spread.routes == {"web/api": Load(20, 2000)}


@settings(deadline=None)
@given(st.lists(st.one_of(
    st.binary(max_size=80),
    st.dictionaries(st.sampled_from(["method", "path", "query", "host", "client_ip", "user_agent"]),
                    st.text(max_size=10)).map(lambda d: json.dumps(d).encode()),
    st.tuples(st.binary(max_size=20), st.binary(max_size=20)).map(
        lambda t: b'1.1.1.1 - %b [x] "GET /%b HTTP/1.1" 200 1 "-" "%b"' % (t[0], t[1], t[0])),
), max_size=10))
def test_whatever_a_log_has_is_counted_once(lines: list[bytes]) -> None:
    found = replay(VALUES, io.BytesIO(b"\n".join(lines)))
    assert found.lines == found.unknown + found.requests
    assert sum(load.requests for load in found.spread.routes.values()) == found.requests


VALUES = values()


TWO_OF_HTTP = {
    "listeners": {
        "edge": {"bind": "tcp://0.0.0.0:25", "pool": "p"},
        "open": {"bind": "http://0.0.0.0:8080", "pool": "p"},
        "other": {"bind": "http://127.0.0.1:8081", "pool": "p"},
    },
    "pools": {"p": {"servers": ["10.0.0.1:1"]}},
}


@pytest.mark.parametrize(("host", "listener", "found"), [
    ("", None, "open"), ("a.example", None, "open"), ("a.example:8081", None, "other"),
    ("http://a.example:8081", None, "other"), ("http://a.example:8080/x", None, "open"),
    ("a.example:8080", "other", "other"), ("", "other", "other"),
])
def test_lines_without_a_listener_are_of_the_one_that_the_host_reaches(
    host: str, listener: str | None, found: str
) -> None:
    values = effective(fastlb.Config.build(TWO_OF_HTTP))
    line = b'10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 2326\n'
    replayed = replay(values, io.BytesIO(line), None, host, listener)
    assert list(replayed.spread.routes) == [f"{found}/(the listener's pool)"]


@pytest.mark.parametrize(("host", "listener", "why"), [
    ("udp://a.example:53", None, "no listener speaks udp; there are: edge, open, other"),
    ("", "none", "there is no listener 'none'; there are: edge, open, other"),
])
def test_where_no_listener_fits_the_error_names_them(
    host: str, listener: str | None, why: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        replay(effective(fastlb.Config.build(TWO_OF_HTTP)), io.BytesIO(b""), None, host, listener)


def limited(limit: str, **keys: Any) -> Effective:
    return effective(fastlb.Config.build({
        "rate_limits": {"few": {"limit": limit, **keys}},
        "listeners": {"web": {
            "bind": "http://127.0.0.1:0", "pool": "api", "rate_limit": "few"}},
        "pools": {"api": {"servers": ["10.0.1.1:1"]}},
    }))


def asked(client: str, time: str, **keys: Any) -> str:
    return json.dumps({"listener": "web", "client_ip": client, "method": "GET", "path": "/a",
                       "time": time, **keys})


def replayed(lines: list[str], values: Effective, against: Effective | None = None) -> Replayed:
    return replay(values, io.BytesIO("\n".join(lines).encode()), against)


def limits_of(spread: Any) -> list[tuple[str, int, int, int]]:
    return [(one.name, one.allowed, one.refused, one.reported) for one in spread.limits]


def test_rate_limits_go_by_the_times_of_the_log() -> None:
    at = "2026-11-30T23:59:{:06.3f}Z"
    lines = [asked("10.0.0.1", at.format(i * 0.1)) for i in range(10)]      # 2 and then 1 a second
    lines += [asked("10.0.0.2", at.format(5)), asked("10.0.0.1", at.format(59)),
              asked("10.0.0.1", "2026-12-01T00:00:00.000Z")]
    found = replayed(lines, limited("60/m", burst=2), limited("600/m", burst=20, report=True))
    assert limits_of(found.spread) == [("few", 5, 8, 0)]
    assert found.spread.clients_refused == {"10.0.0.1": 8}
    assert found.spread.answers == {"429": Load(8, 0)}
    assert found.against is not None
    assert limits_of(found.against) == [("few", 13, 0, 0)]
    assert found.changed == 8


@pytest.mark.parametrize(("before", "after"), [
    ("2024-02-28T23:59:59", "2024-02-29T00:00:00"), ("2024-02-29T00:00:00", "2024-03-01T00:00:01"),
    ("2024-12-31T23:59:59", "2025-03-01T00:00:00"), ("2000-02-28T00:00:00", "2000-03-01T00:00:00"),
    ("2100-02-28T12:00:00", "2100-03-01T12:00:00"), ("1970-01-01T00:00:01", "1970-12-31T00:00:00"),
])
def test_times_are_those_of_the_calendar(before: str, after: str) -> None:
    """After exactly so many seconds a request may come again, and no second sooner."""
    begin, end = datetime.fromisoformat(before), datetime.fromisoformat(after)
    seconds = round((end - begin).total_seconds())
    lines = [asked("10.0.0.1", f"{before}.000Z"), asked("10.0.0.1", f"{after}Z")]
    for period, refused in ((seconds, 0), (seconds + 1, 1)):
        found = replayed(lines, limited(f"1/{period}s")).spread
        assert limits_of(found) == [("few", 2 - refused, refused, 0)]


def test_common_format_has_times_with_zones() -> None:
    lines = [
        '10.0.0.1 - - [30/Nov/2026:23:30:00 +0000] "GET /a HTTP/1.1" 200 1',
        '10.0.0.1 - - [01/Dec/2026:00:30:30 +0100] "GET /a HTTP/1.1" 200 1',
        '10.0.0.1 - - [30/Nov/2026:13:31:00 -1000] "GET /a HTTP/1.1" 200 1',
        '10.0.0.1 - - [01/Dec/2026:05:01:29 +0530] "GET /a HTTP/1.1" 200 1',
    ]
    assert limits_of(replayed(lines, limited("1/m")).spread) == [("few", 2, 2, 0)]


def test_lines_without_a_time_are_counted_and_noted() -> None:
    lines = ['{"client_ip":"10.0.0.1","method":"GET","path":"/"}'] * 3
    found = replayed(lines, limited("2/s"))
    assert limits_of(found.spread) == [("few", 2, 1, 0)]
    assert "3 lines have no time: for rate limits, none had gone by" in found.notes


@pytest.mark.parametrize("time", [
    "", "yesterday", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "1969-12-31T23:59:59Z", "-",
    "99999999999999999999", "2026-11-30", "2026"])
def test_a_time_that_is_none_breaks_nothing(time: str) -> None:
    found = replayed([asked("10.0.0.1", time), COMMON.format(request="GET / HTTP/1.1", size=1)
                      .replace("25/Nov/2026:18:00:00 +0000", time)], limited("2/s"))
    assert found.requests == 2


def test_bytes_of_the_log_are_charged() -> None:
    lines = [asked("10.0.0.1", f"2026-11-30T00:00:0{i}.000Z", body_bytes=600_000) for i in range(4)]
    assert limits_of(replayed(lines, limited("1MB/h")).spread) == [("few", 2, 2, 0)]


def test_clients_that_are_refused_most_stay_however_many_there_are() -> None:
    at = "2026-11-30T00:00:00.000Z"
    lines = []
    for i in range(1000):
        lines += [asked("10.9.9.9", at), *[asked(f"10.1.{i // 250}.{i % 250}", at)] * 2]
    found = replayed(lines, limited("1/h"))
    assert next(iter(found.spread.clients_refused.items())) == ("10.9.9.9", 999)
    assert len(found.spread.clients_refused) == 10


def listed(deny: Any, of_route: Any = None) -> Effective:
    routes = [{"name": "a", "match": {"path": "/a"}, "pool": "api",
               **({} if of_route is None else {"deny": of_route})}]
    return effective(fastlb.Config.build({
        "networks": {"bad": {"cidrs": ["10.0.0.0/31"]}},
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "routes": routes,
                              **({} if deny is None else {"deny": deny})}},
        "pools": {"api": {"servers": ["10.0.1.1:1"]}},
    }))


def test_lists_say_whom_they_would_deny() -> None:
    lines = [asked(f"10.0.0.{i}", "2026-11-30T23:59:00Z") for i in (0, 1, 1, 1, 2, 3)]
    found = replayed(lines, listed(None), listed(["bad", "10.0.0.3"]))
    assert found.spread.clients_refused == {} and found.spread.answers == {}
    assert found.against is not None
    assert found.against.answers == {"403": Load(5, 0)}
    assert found.against.clients_refused == {"10.0.0.1": 3, "10.0.0.0": 1, "10.0.0.3": 1}
    found = replayed(lines, listed(None, "bad"),
                     listed({"networks": "bad", "report": True}))
    assert found.spread.answers == {"403": Load(4, 0)}
    assert found.spread.networks == (Listed("bad", 4, 0),)
    assert found.against is not None and found.against.answers == {}
    assert found.against.networks == (Listed("bad", 0, 4),)


def placed(routes: list[dict[str, Any]]) -> Effective:
    return effective(fastlb.Config.build({
        "geo": {"overrides": {"10.0.0.0/24": {"country": "DE"}, "10.0.1.0/24": {"country": "US"}}},
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "us", "routes": routes}},
        "pools": {"eu": {"servers": ["10.0.1.1:1"]}, "us": {"servers": ["10.0.1.2:1"]}},
    }))


def test_clients_of_a_log_are_where_databases_say() -> None:
    lines = [asked(f"10.0.{i}.7", "2026-11-30T23:59:00Z") for i in (0, 1, 1, 2)]
    found = replayed(lines, placed([]), placed([
        {"name": "eu", "match": {"client": {"country": "DE"}}, "pool": "eu"},
        {"name": "known", "match": {"client": {"country": True}}, "pool": "us"}]))
    assert found.against is not None
    assert {name: load.requests for name, load in found.against.routes.items()} == {
        "web/eu": 1, "web/known": 2, "web/(the listener's pool)": 1}
    assert {name: load.requests for name, load in found.against.pools.items()} == {
        "eu": 1, "us": 3}
    assert found.changed == 1


def test_rates_of_connections_are_left_out_with_a_note() -> None:
    found = run(COMMON.format(request="GET /docs/a HTTP/1.1", size=1),
                against=values(max_connection_rate_per_source="1/h"))
    assert found.against is not None and found.against.limits == ()
    assert any("which requests shared a connection" in note for note in found.notes)
