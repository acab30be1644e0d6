"""Give things back when no engine needs them any more: replaced tables, and lengths of timeouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastlb._core.engine import Engine
from fastlb._core.tables.live import Live
from fastlb._core.tables.snapshot import Snapshot
from fastlb.control.clock import Clock, Timer

SLOTS_SPARE = 64        # of 255: a snapshot may take so many anew without anybody looking
RETIRE_S = 0.1          # how often it is looked whether engines have let go of what was replaced


class Retiring:
    """Keeps what was replaced for as long as an engine may read it."""

    def __init__(self, engines: Sequence[Engine], clock: Clock) -> None:
        self._engines, self._clock = engines, clock
        # What was replaced, and the turn that each engine had begun last by then.
        self._kept: list[tuple[object, list[int]]] = []
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, replaced: object | None) -> None:
        """Engines may have it until each has begun another turn."""
        if replaced is None:
            return
        self._kept.append((replaced, [_turns(engine) for engine in self._engines]))
        for engine in self._engines:
            _wake(engine)
        if self._timer is None:
            self._timer = self._clock.call_later(RETIRE_S, self._let_go)

    def _let_go(self) -> None:
        self._timer = None
        now = [_turns(engine) for engine in self._engines]
        self._kept = [
            (one, then) for one, then in self._kept
            if any(a == b >= 0 for a, b in zip(now, then, strict=True))
        ]
        if self._kept:
            self._timer = self._clock.call_later(RETIRE_S, self._let_go)

    def end(self) -> None:
        """The engines have ended, or have never begun."""
        if self._timer is not None:
            self._timer.cancel()
        self._kept.clear()


def _turns(engine: Engine) -> int:
    """How many it has begun; -1 if it is closed."""
    try:
        return engine.turns
    except RuntimeError:
        return -1


def _wake(engine: Engine) -> None:
    try:
        engine.wake()
    except RuntimeError:
        pass


def spare_slots(
    live: Live, engines: Iterable[Engine], snapshots: Iterable[Snapshot]
) -> None:
    """Engines know so many lengths of timeouts: those that neither they nor these snapshots use
    may go, where few are left."""
    if live.slots_left >= SLOTS_SPARE:
        return
    used = {slot for snapshot in snapshots for slot in snapshot.slots}
    for engine in engines:
        used |= engine.timer_slots()
    live.free_slots(used)
