"""When keys of tickets are rotated, and what is warned of again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fastlb import Config
from fastlb._core.tables.certificates import self_signed
from fastlb.config.effective import Effective, effective
from fastlb.process.securing import Securing

HOUR_S = 3600.0


class Clock:
    """The clock of a balancer, turned by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[tuple[float, partial[None]]] = []

    def time(self) -> float:
        return self.now_s

    def call_at(self, at_s: float, call: Callable[..., None], *args: Any) -> Any:
        entry = (at_s, partial(call, *args))
        self.calls.append(entry)

        class Handle:
            def cancel(_) -> None:
                if entry in self.calls:
                    self.calls.remove(entry)

        return Handle()

    def to(self, now_s: float) -> None:
        while due := sorted((one for one in self.calls if one[0] <= now_s), key=lambda one: one[0]):
            self.calls.remove(due[0])
            self.now_s = due[0][0]
            due[0][1]()
        self.now_s = now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rotations(clock: Clock) -> list[float]:
    return []


@pytest.fixture
def securing(clock: Clock, rotations: list[float]) -> Securing:
    made = Securing(clock)  # type: ignore[arg-type]    # (it has all that is used of one)

    class Tickets:
        def rotate(self) -> None:
            rotations.append(clock.now_s / HOUR_S)

        def use(self, keys: list[bytes]) -> None:
            rotations.append(-float(len(keys)))

    made.contexts.tickets = Tickets()  # type: ignore[assignment]
    return made


@pytest.fixture
def values(tmp_path: Path) -> Callable[..., Effective]:
    def make(*tickets: Any, days: int = 90) -> Effective:
        cert, key = self_signed(["a.example"], days)
        (tmp_path / "a.pem").write_bytes(cert + key)
        return effective(Config.build({
            "listeners": {
                f"l{i}": {
                    "bind": f"https://127.0.0.1:{i + 1}", "pool": "p",
                    "tls": {"certificates": [{"cert": str(tmp_path / "a.pem")}], "tickets": one},
                } for i, one in enumerate(tickets)
            },
            "pools": {"p": {"servers": ["127.0.0.1:1"]}},
        }))

    return make


def test_the_shortest_time_of_all_listeners_holds(
    securing: Securing, clock: Clock, rotations: list[float], values: Callable[..., Effective]
) -> None:
    securing.follow(values(True, {"rotate": "2h"}, False), clock)  # type: ignore[arg-type]
    clock.to(5 * HOUR_S)
    assert rotations == [2, 4]
    # What is due stays due over a reload, however often there is one.
    securing.follow(values(True, {"rotate": "3h"}), clock)  # type: ignore[arg-type]
    clock.to(6 * HOUR_S)
    securing.follow(values(True, {"rotate": "3h"}), clock)  # type: ignore[arg-type]
    clock.to(8 * HOUR_S)
    assert rotations == [2, 4, 7]
    securing.follow(values(False), clock)  # type: ignore[arg-type]
    clock.to(30 * HOUR_S)
    assert rotations == [2, 4, 7]
    securing.end()
    assert clock.calls == []


def test_keys_of_files_are_not_rotated(
    securing: Securing, clock: Clock, rotations: list[float], values: Callable[..., Effective],
    tmp_path: Path,
) -> None:
    (tmp_path / "k").write_bytes(b"k" * 80)
    with_keys = values(True, {"keys": [str(tmp_path / "k"), str(tmp_path / "k")]})
    securing.follow(with_keys, clock)  # type: ignore[arg-type]
    clock.to(30 * HOUR_S)
    assert rotations == [-2]
    securing.follow(values(True), clock)  # type: ignore[arg-type]
    assert rotations == [-2, -1]            # one by chance: those of the files are gone


def test_what_is_about_to_expire_is_told_every_day(
    securing: Securing, clock: Clock, values: Callable[..., Effective],
    caplog: pytest.LogCaptureFixture,
) -> None:
    securing.follow(values(False, days=5), clock)  # type: ignore[arg-type]
    clock.to(49 * HOUR_S)
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(told) == 3
    assert "a.pem expires on" in told[0]


def test_who_has_no_tls_has_no_timers(
    securing: Securing, clock: Clock, values: Callable[..., Effective]
) -> None:
    securing.follow(values(), clock)  # type: ignore[arg-type]
    assert clock.calls == []
