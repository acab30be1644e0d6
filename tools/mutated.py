"""A pytest plugin: tests meet mutants of the core (tools/mutants.py).

First all tests of this worker run, and none of the mutants is at work: that says which mutants each
test reaches. Then, for each mutant, a forked child runs some of the tests that reach it, the quick
ones and those of different files first, until one fails.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TESTS_MAX = 60              # that a mutant meets
SECONDS_MAX = 300           # for them together: it may hang in each
SIZE = 4 + 8192             # as mutants.h has it

WHERE = Path(os.environ["FASTLB_MUTANTS"])
WHERE.write_bytes(bytes(SIZE))      # (before the core is imported)


class Shared:
    def __init__(self) -> None:
        with WHERE.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)

    def activate(self, number: int) -> None:
        self._map[:4] = struct.pack("=i", number)

    def clear(self) -> None:
        self._map[4:] = bytes(SIZE - 4)

    def reached(self) -> set[int]:
        return {number for number, one in enumerate(self._map[4:]) if one}


class Outcome:
    """Whether the tests that ran last have passed."""

    failed = False

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed


def run(item: pytest.Item, following: pytest.Item | None, outcome: Outcome) -> bool:
    """Whether it passes."""
    outcome.failed = False
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return not outcome.failed


def some(tests: list[tuple[float, pytest.Item]]) -> list[pytest.Item]:
    """The quick ones first, one file after another."""
    turns: dict[Path, int] = {}
    ordered = []
    for seconds, item in sorted(tests, key=lambda one: one[0]):
        turn = turns[item.path] = turns.get(item.path, 0) + 1
        ordered.append((turn, seconds, len(ordered), item))
    return [item for *_, item in sorted(ordered, key=lambda one: one[:3])][:TESTS_MAX]


def noticed(items: list[pytest.Item], shared: Shared, number: int, outcome: Outcome) -> str:
    """The test that fails where this mutant is at work; empty if none does."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            quiet = os.open(os.devnull, os.O_RDWR)
            for fd in (1, 2):
                os.dup2(quiet, fd)
            shared.activate(number)
            for at, item in enumerate(items):
                os.write(writable, b"\n" + item.nodeid.encode())
                if not run(item, items[at + 1] if at + 1 < len(items) else None, outcome):
                    os._exit(1)
            os._exit(0)
        except BaseException:
            os._exit(1)
    os.close(writable)
    deadline = time.monotonic() + SECONDS_MAX
    status: int | None = None
    while status is None and time.monotonic() < deadline:
        pid, how = os.waitpid(child, os.WNOHANG)
        if pid:
            status = how
        else:
            time.sleep(0.02)
    try:
        os.killpg(child, signal.SIGKILL)        # what is left of it, and what it has started
    except ProcessLookupError:
        pass
    if status is None:
        os.waitpid(child, 0)
    shared.activate(0)
    with os.fdopen(readable, "rb") as said:
        last = said.read().split(b"\n")[-1].decode()
    return "" if status == 0 else f"{last}{'' if status == 256 else f' (status {status})'}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    number, of = map(int, os.environ["FASTLB_MUTANTS_WORKER"].split("/"))
    files = sorted({item.path for item in items})
    mine = set(files[number::of])
    items[:] = [item for item in items if item.path in mine]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    shared, outcome = Shared(), Outcome()
    session.config.pluginmanager.register(outcome)
    results = WHERE.parent
    numbers = {int(one) for one in json.loads((results / "mutants.json").read_text())}
    reaching: dict[int, list[tuple[float, pytest.Item]]] = {}
    for at, item in enumerate(session.items):
        shared.clear()
        begun = time.monotonic()
        following: Any = session.items[at + 1] if at + 1 < len(session.items) else None
        if run(item, following, outcome):
            for number in shared.reached() & numbers:
                reaching.setdefault(number, []).append((time.monotonic() - begun, item))
    session.testsfailed = 0
    for number in sorted(reaching):
        (results / f"reached-{number}").touch()
        killed = results / f"killed-{number}"
        if not killed.exists():
            by = noticed(some(reaching[number]), shared, number, outcome)
            print(f"\n{number}: {by or f'survives {len(reaching[number])} tests'}", flush=True)
            if by:
                killed.write_text(by)
    sys.stdout.flush()
    return True
