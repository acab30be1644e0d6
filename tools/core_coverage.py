"""Prints what the tests reached of the code that runs without the GIL, from gcovr's JSON report."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.nogil import bodies

ROOT = Path(__file__).resolve().parent.parent
SHOWN_MAX = 12


@dataclass
class Row:
    name: str
    lines: int = 0
    lines_hit: int = 0
    branches: int = 0
    branches_hit: int = 0
    missed: list[int] = field(default_factory=list)
    half: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        missed = ", ".join(map(str, self.missed[:SHOWN_MAX]))
        more = len(self.missed) - SHOWN_MAX
        return (
            f"{self.name:44} {self.lines:6} {_percent(self.lines_hit, self.lines)}"
            f" {self.branches:9} {_percent(self.branches_hit, self.branches)}"
            f"  {missed}{f' and {more} more' if more > 0 else ''}"
        ).rstrip()


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:5.1f} %" if whole else "      -"


def row(name: str, source: str, lines: Iterable[Mapping[str, Any]]) -> Row:
    """One file's figures: `lines` as gcovr has them, of which the nogil ones count."""
    inside = {n for body in bodies(source) for n in range(body.start, body.end + 1)}
    made = Row(name)
    counts: dict[int, int] = {}
    branches: dict[int, list[int]] = {}
    for line in lines:
        number = line["line_number"]
        if number in inside and not line.get("gcovr/noncode"):
            counts[number] = max(counts.get(number, 0), line["count"])
            taken = [branch["count"] for branch in line.get("branches", ())]
            before = branches.get(number, [0] * len(taken))
            # A function of a .pxd is compiled into many modules; its branches come in one order.
            if len(before) == len(taken):
                taken = [a + b for a, b in zip(before, taken, strict=True)]
            branches[number] = taken
    made.lines, made.lines_hit = len(counts), sum(1 for count in counts.values() if count)
    made.missed = sorted(number for number, count in counts.items() if not count)
    for number, taken in branches.items():
        made.branches += len(taken)
        made.branches_hit += sum(1 for count in taken if count)
        if counts[number] and not all(taken):
            made.half.append(number)
    return made


def main(report: Path) -> int:
    files = json.loads(report.read_text())["files"]
    print(f"{'nogil code':44} {'lines':>6} {'hit':>7} {'branches':>9} {'hit':>7}  not reached")
    total = Row("all of it")
    for file in sorted(files, key=lambda file: str(file["file"])):
        path = ROOT / file["file"]
        if path.suffix not in (".pyx", ".pxd") or not path.is_file():
            continue
        made = row(file["file"], path.read_text(), file["lines"])
        if made.lines:
            print(made)
        total.lines += made.lines
        total.lines_hit += made.lines_hit
        total.branches += made.branches
        total.branches_hit += made.branches_hit
    print(total)
    return 0 if total.lines else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
