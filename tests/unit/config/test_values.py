"""Units, CPUs, and which value holds in the end."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlb.config import cpus, limits
from fastlb.config.address import Address, parse_bind, parse_nameserver, parse_server
from fastlb.config.effective import effective
from fastlb.config.model import Config
from fastlb.config.reader import loads
from fastlb.config.units import as_bytes, duration_ms, show, show_bytes, show_ms, size_bytes


@pytest.mark.parametrize(
    ("text", "ms"),
    [("500ms", 500), ("1s", 1000), ("1.5s", 1500), ("0.001s", 1), ("5m", 300_000),
     ("1h", 3_600_000), ("1d", 86_400_000), ("0s", 0), ("1.4ms", 1), ("00010s", 10_000)],
)  # fmt: skip
def test_a_duration_is_read(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "5 s", "5s ", "5s\n", "+5s", "-5s", ".5s", "5.s", "1e3s", "5S", "1m30s",
     "٣s", "5us", "9" * 16 + "s", None, True, [], {}, b"5s", 5, math.nan, math.inf, 10**5000],
    ids=show,
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|has no unit"):
        duration_ms(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("16KiB", 16_384), ("1MiB", 1_048_576), ("1GiB", 1 << 30), ("64KB", 64_000),
     ("1MB", 10**6), ("1GB", 10**9), ("0B", 0)],
)  # fmt: skip
def test_a_size_is_read(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "5", "5k", "5K", "5kb", "1.5KiB", "5 KiB", "-5B", "5B\n", None, False, 5, math.nan]
)
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a size|has no unit"):
        size_bytes(text)


@pytest.mark.parametrize(("text", "data"), [
    ("", b""),
    ("ping", b"ping"),
    (r"\xff\xFF\x00", b"\xff\xff\x00"),
    (r"a\0\t\r\n\\n", b"a\x00\x09\x0d\x0a\x5cn"),
    (r"\\xff", b"\x5cxff"),
    (r"\xffff", b"\xffff"),
    ("\u00e9\n", b"\xc3\xa9\x0a"),
    (r"\xff\xff\xff\xffTSource Engine Query\0", b"\xff\xff\xff\xffTSource Engine Query\x00"),
])
def test_bytes_are_read(text: str, data: bytes) -> None:
    assert as_bytes(text) == data


@pytest.mark.parametrize(
    "text", ["\\", r"\x", r"\xf", r"\xg0", r"\q", "\\\n", r"\\\\\x1", r"\u00e9"]
)
def test_what_is_no_escape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is none of"):
        as_bytes(text)


@given(st.binary(max_size=40))
def test_all_bytes_can_be_written(data: bytes) -> None:
    assert as_bytes("".join(f"\\x{byte:02x}" for byte in data)) == data


@given(st.integers(0, 10**12))
def test_what_is_shown_is_read_as_the_same(n: int) -> None:
    assert duration_ms(show_ms(n)) == n
    assert size_bytes(show_bytes(n)) == n


def test_amounts_are_shown_in_their_largest_unit() -> None:
    assert [show_ms(n) for n in (0, 1, 1000, 90_000, 3_600_000, 86_400_000)] == [
        "0s", "1ms", "1s", "90s", "1h", "1d",
    ]  # fmt: skip
    assert [show_bytes(n) for n in (0, 1, 1024, 1536, 1 << 20, 1 << 30)] == [
        "0B", "1B", "1KiB", "1536B", "1MiB", "1GiB",
    ]  # fmt: skip


def test_any_value_is_shown_on_one_short_line() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    class Talkative:
        def __repr__(self) -> str:
            return "a\nb"

    assert show(Rude()) == "Rude"
    assert show(Talkative()) == "a b"
    assert show(10**5000) == "a huge number"
    assert show("x" * 1000) == "'" + "x" * 119 + "..."
    assert [show(value) for value in (True, {}, [], (), "a", 1.5, None)] == [
        "true", "a table", "a list", "a list", "'a'", "1.5", "None",
    ]  # fmt: skip


def test_addresses_have_these_parts() -> None:
    assert parse_bind("tcp://0.0.0.0:80") == Address("tcp", "0.0.0.0", 80, None)
    assert parse_bind("tcp://[::1]:80") == Address("tcp", "::1", 80, None)
    assert parse_bind("tcp://unix:/a b") == Address("tcp", None, None, "/a b")
    assert parse_server("api.internal.:65535") == Address(None, "api.internal.", 65535, None)
    assert parse_server("[fe80::1%eth0]:1") == Address(None, "fe80::1%eth0", 1, None)
    assert parse_nameserver("10.0.0.2") == ("10.0.0.2", 53)
    assert parse_nameserver("10.0.0.2:54") == ("10.0.0.2", 54)
    assert parse_nameserver("2001:DB8::2") == ("2001:db8::2", 53)
    assert parse_nameserver("[2001:db8::2]") == ("2001:db8::2", 53)
    assert parse_nameserver("[2001:db8::2]:54") == ("2001:db8::2", 54)


@pytest.mark.parametrize(
    "text", ["tcp://127.0.0.1:80", "tcp://[::1]:0", "tcp://localhost:1", "tcp://unix:/run/a.sock"]
)
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_bind(text)) == text
    assert str(parse_server(text.removeprefix("tcp://"))) == text.removeprefix("tcp://")


# --- CPUs ---


def threads(root: Path, monkeypatch: pytest.MonkeyPatch, allowed: int = 8) -> int:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)))
    return cpus.auto_threads(str(root))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1),
     ("9900000 100000", 8), ("0 100000", 1), ("5 0", 8), ("", 8), ("a b c", 8), ("-1 5", 8)],
)  # fmt: skip
def test_threads_are_bounded_by_the_quota_of_a_cgroup(
    text: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert threads(tmp_path, monkeypatch) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3), ("50000", 1)])
def test_threads_are_bounded_by_the_quota_of_an_old_cgroup(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert threads(tmp_path, monkeypatch) == expected


def test_threads_without_a_cgroup_are_those_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert threads(tmp_path, monkeypatch, 3) == 3
    assert threads(tmp_path, monkeypatch, 1000) == limits.THREADS_MAX
    assert cpus.auto_threads() >= 1


# --- precedence ---

SOME = """
defaults = { idle_timeout = "1m", connect_timeout = "1s", tcp_nodelay = false }
shutdown_timeout = "5s"
[listeners.plain]
bind = "tcp://127.0.0.1:1"
pool = "plain"
[listeners.own]
bind = "tcp://unix:/run/a.sock"
pool = "own"
idle_timeout = "0s"
tcp_nodelay = true
keepalive = {}
mode = "660"
[pools.plain]
servers = ["10.0.0.1:1", { address = "10.0.0.2:1", weight = 0, max_connections = 5 }]
[pools.own]
servers = [{ dns = "a.b:1", refresh = "5s" }, { dns = "a.c:1" }]
balance = "ring_hash"
connect_timeout = "2s"
keepalive = { idle = "5s", interval = "2s", count = 9 }
"""


def test_a_table_of_its_own_comes_before_defaults_before_what_is_built_in() -> None:
    values = effective(loads(SOME))
    plain, own = values.listeners
    assert (plain.idle_timeout_ms, plain.origins["idle_timeout"]) == (60_000, "defaults")
    assert (own.idle_timeout_ms, own.origins["idle_timeout"]) == (0, "listener")
    assert (plain.tcp_nodelay, plain.origins["tcp_nodelay"]) == (False, "defaults")
    assert (own.tcp_nodelay, own.origins["tcp_nodelay"]) == (True, "listener")
    assert (plain.keepalive, plain.origins["keepalive"]) == (None, "built in")
    assert (own.keepalive, own.origins["keepalive"]) == ((60, 10, 3), "listener")
    assert (plain.backlog, plain.origins["backlog"]) == (4096, "built in")
    assert (plain.buffer_size, plain.bulk_buffer_size) == (16_384, 262_144)
    assert (plain.mode, own.mode, own.origins["mode"]) == (None, 0o660, "listener")
    assert (plain.max_connections, plain.reuse_port) == (0, False)

    plain_pool, own_pool = values.pools
    assert (plain_pool.keys["connect_timeout_timer"], plain_pool.origins["connect_timeout"]) == (
        1000,
        "defaults",
    )
    assert own_pool.keys["connect_timeout_timer"] == 2000
    assert own_pool.origins["connect_timeout"] == "pool"
    assert (plain_pool.balance, plain_pool.hash_on) == ("round_robin", "")
    assert plain_pool.origins["balance"] == "built in"
    assert (own_pool.balance, own_pool.hash_on) == ("ring_hash", "client.ip")
    assert (own_pool.origins["balance"], own_pool.origins["hash_on"]) == ("pool", "built in")
    assert own_pool.keepalive == (5, 2, 9)
    assert [(s.weight, s.max_connections) for s in plain_pool.servers] == [(1, 0), (0, 5)]
    assert [s.refresh_ms for s in own_pool.servers] == [5000, None]

    assert (values.shutdown_timeout_ms, values.origins["shutdown_timeout"]) == (5000, "given")
    assert (values.max_connections, values.origins["max_connections"]) == (0, "built in")
    assert (values.dns.timeout_ms, values.dns.refresh_ms) == (2000, None)
    assert values.dns.origins["timeout"] == "built in"


def test_what_is_built_in_is_what_limits_say() -> None:
    raw = {"listeners": {"a": {"bind": "tcp://a:1", "pool": "a"}}, "pools": {"a": {}}}
    values = effective(Config.build(raw))
    assert values.listeners[0].idle_timeout_ms == limits.IDLE_TIMEOUT.default == 300_000
    assert values.listeners[0].buffer_size == limits.BUFFER_SIZE.default
    assert values.listeners[0].bulk_buffer_size == limits.BULK_BUFFER_SIZE.default
    assert values.pools[0].keys["connect_timeout_timer"] == limits.CONNECT_TIMEOUT.default == 500
    assert values.shutdown_timeout_ms == limits.SHUTDOWN_TIMEOUT.default == 30_000
    assert values.dns.timeout_ms == limits.DNS_TIMEOUT.default == 2_000
    assert values.pools[0].servers == []
