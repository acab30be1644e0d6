"""What `fastlb status` prints into a pipe."""

from __future__ import annotations

from typing import Any

import pytest

import fastlb.cli.status as status
from fastlb.cli import run

ADDRESSES = [f"http://unix:/run/a-folder-with-a-long-name/of-the-site-number-{n}" for n in range(9)]
STATUS: dict[str, Any] = {
    "version": "1.2.3", "state": "serving", "uptime": 5.0, "time": 5.0, "pid": 7, "engines": [{}],
    "in_flight": 1, "pools": [],
    "listeners": [{"name": "web", "addresses": ADDRESSES, "in_flight": 1}],
}


class Process:
    def status(self) -> dict[str, Any]:
        return STATUS


def test_a_pipe_gets_whole_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "client", lambda admin: Process())
    assert run(["status"]) == 0
    assert f"web       {', '.join(ADDRESSES)} " in capsys.readouterr().out
