"""What `fastlb top` shows when the process that it watches is gone."""

from __future__ import annotations

from typing import Any, cast

import pytest

import fastlb.cli.top as top
from fastlb.client import Client
from fastlb.errors import NotRunningError

HERE = {"pid": 1, "listeners": [{"name": "web", "addresses": ["tcp://127.0.0.1:8080"]}]}
NEXT = {"pid": 2, "listeners": [{"name": "new", "addresses": ["tcp://127.0.0.1:8080"]}]}
ELSE = {"pid": 3, "listeners": [{"name": "web", "addresses": ["tcp://127.0.0.1:9090"]}]}


class Process:
    """What a client says; None: nobody answers."""

    def __init__(self, name: str, status: dict[str, Any] | None) -> None:
        self._name, self._status = name, status

    def status(self) -> dict[str, Any]:
        if self._status is None:
            raise NotRunningError(f"nobody answers at {self._name}")
        return self._status


def looked(
    monkeypatch: pytest.MonkeyPatch, old: dict[str, Any] | None, new: dict[str, Any] | None
) -> dict[str, Any]:
    monkeypatch.setattr(top, "client", lambda admin: Process("b", new))
    return top._look(cast(Client, Process("a", old)), None, HERE)[1]


def test_top_stays_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked(monkeypatch, HERE, NEXT) is HERE


def test_top_goes_on_with_the_process_of_an_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked(monkeypatch, None, NEXT) is NEXT


@pytest.mark.parametrize("other", [ELSE, None])
def test_top_ends_where_no_process_listens_there(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, Any] | None
) -> None:
    with pytest.raises(NotRunningError, match="nobody answers at a"):
        looked(monkeypatch, None, other)
