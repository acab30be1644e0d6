"""What `fastlb status` prints into a pipe."""

from __future__ import annotations

import re
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
    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said

    def status(self) -> dict[str, Any]:
        return self.said


@pytest.mark.parametrize(("most", "shown"), [(0, "web +a +1 "), (2, "web +a +1 of 2 ")])
def test_places_are_shown_with_their_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], most: int, shown: str
) -> None:
    listener = {"name": "web", "addresses": ["a"], "in_flight": 1, "max_connections": most}
    monkeypatch.setattr(
        status, "client", lambda admin: Process({**STATUS, "listeners": [listener]}))
    assert run(["status"]) == 0
    assert re.search(shown, capsys.readouterr().out)


def test_a_pipe_gets_whole_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "client", lambda admin: Process(STATUS))
    assert run(["status"]) == 0
    assert f"web       {', '.join(ADDRESSES)} " in capsys.readouterr().out
