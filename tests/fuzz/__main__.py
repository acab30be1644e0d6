"""`make fuzz`: mutated streams into the parsers, and then through a running balancer.

FUZZ_SECONDS (60) for each of the six (the balancer once more over TLS, at a port for all protocols,
without TLS and with it, and by HTTP/2), FUZZ_SEED (by chance) to do the same again.
"""

from __future__ import annotations

import os
import random
import sys
import time

from fastlb._core.tables.build import build_info
from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.fuzz import exchanges, mutate
from tests.fuzz.promises import PROMISES


def parse(seconds: float, choose: random.Random) -> None:
    tries = dict.fromkeys(PROMISES, 0)
    streams = {name: mutate.mutated(corpus, choose) for name, (corpus, _) in PROMISES.items()}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, (_, promise) in PROMISES.items():
            for _ in range(200):
                data = next(streams[name])
                try:
                    promise(data, choose)
                except BaseException:
                    print(f"broken by {name}: {data!r}", file=sys.stderr)
                    raise
                tries[name] += 1
    print("parsers:", ", ".join(f"{name} {n:,}" for name, n in tries.items()))


def main() -> None:
    seconds = float(os.environ.get("FUZZ_SECONDS", "60"))
    seed = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().getrandbits(32)
    print(f"build {build_info()['build']}, seed {seed}", flush=True)
    parse(seconds, random.Random(seed))
    exchanges.run(seconds, random.Random(seed))
    exchanges.run(seconds, random.Random(seed), secure=True)
    exchanges.run_openings(seconds, random.Random(seed))
    exchanges.run_openings(seconds, random.Random(seed), secure=True)
    if H2_AVAILABLE:
        exchanges.run_frames(seconds, random.Random(seed))


if __name__ == "__main__":
    main()
