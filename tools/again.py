"""Runs the tests N times beside LOAD busy loops, and says which of them failed in which run.

again.py N LOAD [pytest's arguments]. What each run said is in build/again-N.log. The loops end with
this program, however it ends.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# It looks now and then whether it has become somebody else's child.
LOOP = """
import os, sys
parent = int(sys.argv[1])
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""
_CLOSING = re.compile(r"^=+ (.* in [0-9.]+s.*?) =+$", re.M)
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.M)


@contextmanager
def busy(n: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many processes that do nothing but work."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP, str(os.getpid())]) for _ in range(n)]
    try:
        yield loops
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def closing(text: str) -> str:
    found: list[str] = _CLOSING.findall(text)
    return found[-1] if found else "it did not come to its closing line"


def failed(texts: Iterable[str]) -> list[str]:
    """The tests that failed, each with how often, most often first."""
    times = Counter(name for text in texts for name in set(_FAILED.findall(text)))
    return [f"{n} times: {name}" for name, n in times.most_common()]


def main(runs: int, load: int, arguments: list[str]) -> int:
    texts, bad = [], 0
    with busy(load):
        for run in range(1, runs + 1):
            log = ROOT / "build" / f"again-{run}.log"
            log.parent.mkdir(exist_ok=True)
            begun = time.monotonic()
            with log.open("wb") as to:
                ended = subprocess.run(
                    [sys.executable, "-m", "pytest", *arguments], cwd=ROOT,
                    stdin=subprocess.DEVNULL, stdout=to, stderr=subprocess.STDOUT, check=False)
            texts.append(log.read_text(errors="replace"))
            bad += ended.returncode != 0
            print(f"{run} of {runs}: {closing(texts[-1])} (status {ended.returncode},"
                  f" {time.monotonic() - begun:.0f} s)", flush=True)
    print(*failed(texts), sep="\n", end="\n" if bad else "")
    print(f"{runs - bad} of {runs} runs passed beside {load} busy loops")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
