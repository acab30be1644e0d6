"""Prints what the tests reached of the code that runs without the GIL; reads gcov's files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.nogil import bodies

ROOT = Path(__file__).resolve().parent.parent
SHOWN_MAX = 12
Lines = Iterable[Mapping[str, Any]]


@dataclass
class Row:
    name: str
    lines: int = 0
    lines_hit: int = 0
    branches: int = 0
    branches_hit: int = 0
    missed: list[int] = field(default_factory=list)

    def add(self, other: Row) -> None:
        self.lines += other.lines
        self.lines_hit += other.lines_hit
        self.branches += other.branches
        self.branches_hit += other.branches_hit

    def __str__(self) -> str:
        missed = ", ".join(map(str, self.missed[:SHOWN_MAX]))
        more = len(self.missed) - SHOWN_MAX
        return (
            f"{self.name:36} {self.lines:6} {_percent(self.lines_hit, self.lines)}"
            f" {self.branches:9} {_percent(self.branches_hit, self.branches)}"
            f"  {missed}{f' and {more} more' if more > 0 else ''}"
        ).rstrip()


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:5.1f} %" if whole else "      -"


def row(name: str, source: str, lines: Lines) -> Row:
    """One file's figures, from gcov's lines of all modules that this file was compiled into."""
    inside = {n for body in bodies(source) for n in range(body.start, body.end + 1)}
    counts: dict[int, int] = defaultdict(int)
    branches: dict[int, list[int]] = {}
    for line in lines:
        number = line["line_number"]
        if number in inside:
            counts[number] += line["count"]
            taken = [branch["count"] for branch in line["branches"]]
            # Branches come in one order, in whichever module an inline function is.
            before = branches.get(number, [])
            if len(before) == len(taken):
                taken = [a + b for a, b in zip(before, taken, strict=True)]
            if len(before) <= len(taken):
                branches[number] = taken
    every = [count for taken in branches.values() for count in taken]
    return Row(
        name,
        len(counts),
        sum(1 for count in counts.values() if count),
        len(every),
        sum(1 for count in every if count),
        sorted(number for number, count in counts.items() if not count),
    )


def report(directory: Path) -> dict[str, list[Mapping[str, Any]]]:
    """gcov's lines of each file, over all modules."""
    notes = sorted(map(str, directory.rglob("*.gcno")))
    gcov = os.environ.get("GCOV", "gcov")
    done = subprocess.run(
        [gcov, "--json-format", "--branch-probabilities", "--stdout", *notes],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    found = defaultdict(list)
    for module in done.stdout.splitlines():
        for file in json.loads(module)["files"]:
            found[file["file"]] += file["lines"]
    return found


def main(directory: Path) -> int:
    print(f"{'nogil code':36} {'lines':>6} {'hit':>7} {'branches':>9} {'hit':>7}  not reached")
    total = Row("all of it")
    for name, lines in sorted(report(directory).items()):
        if name.startswith("fastlb/_core/") and name.endswith((".pyx", ".pxd")):
            made = row(name.removeprefix("fastlb/"), (ROOT / name).read_text(), lines)
            if made.lines:
                print(made)
            total.add(made)
    print(total)
    return 0 if total.lines else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
