"""`fastlb check` on limits by source, tarpits, bans and slow requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_check_networks import check


def test_limits_by_source_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = check(
        tmp_path, capsys,
        'deny = "bad"\n'
        'max_connection_rate_per_source = { limit = "20/s", burst = 40, report = true }\n'
        'tarpit = { timeout = "1m", max_connections = 50, report = true }\n'
        'ban = { networks = "bad", after = "1 denial/10s", for = "1h", report = true }\n'
        'min_request_rate = { limit = "60KiB/m", grace = "3s", report = true }',
        "[networks.bad]\ncidrs = []\n")
    assert (status, err) == (0, [])
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in (
        "max_connection_rate_per_source 20/s, 40 at once; reported only listener",
        "tarpit 1m, 50 connections at most; reported only listener",
        "ban bad, for 1h after 1 denial/10s; reported only listener",
        "min_request_rate 1KiB/s, after 3s; reported only listener",
    ):
        assert line in lines


def test_texts_stand_for_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = check(
        tmp_path, capsys, 'max_connection_rate_per_source = "100/m"\ntarpit = "30s"\n'
        'min_request_rate = "500B/s"')
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in ("max_connection_rate_per_source 100/m listener",
                 "tarpit 30s, 1000 connections at most listener",
                 "min_request_rate 500B/s, after 5s listener", "ban none built in"):
        assert line in lines


def test_ban_into_a_set_that_nobody_denies_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = check(
        tmp_path, capsys, 'ban = { networks = "bad", after = "20 denials/m" }',
        "[networks.bad]\ncidrs = []\n")
    assert status == 0
    assert err == ["warning: listeners.web.ban: no deny names bad, so that a ban keeps nobody away"]
