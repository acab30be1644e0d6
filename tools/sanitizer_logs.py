"""Judges what the sanitizers of all processes of a run have written, given their directory.

An error of any process counts. A leak counts when a frame of fastlb/_core is near the top of the
stack that allocated it: the interpreter and its libraries keep things until the end on purpose.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

NEAR_THE_TOP = 4  # the allocator, then take_* and its caller, and one more for luck
OURS = re.compile(r"fastlb/_core/|tests/core/")
LEAK = re.compile(r"^(?:Direct|Indirect) leak of .*?(?=^\s*$|\Z)", re.M | re.S)
FRAME = re.compile(r"^\s+#\d+ .*$", re.M)
ERROR = re.compile(r"^.*(?:ERROR: AddressSanitizer|runtime error:|Sanitizer:DEADLYSIGNAL).*$", re.M)
BROKEN = re.compile(r"^.*LeakSanitizer (?:has encountered|does not work).*$", re.M)


def our_leaks(log: str) -> list[str]:
    """The leaks in a log whose memory was taken by our code."""
    return [
        leak
        for leak in LEAK.findall(log)
        if any(OURS.search(frame) for frame in FRAME.findall(leak)[:NEAR_THE_TOP])
    ]


def findings(log: str) -> list[str]:
    """What counts in one process's log, each with its stack."""
    if ERROR.search(log) or BROKEN.search(log):
        return [log]
    return our_leaks(log)


def main(directory: Path) -> int:
    logs = sorted(directory.glob("*san.*"))
    found = 0
    for path in logs:
        for finding in findings(path.read_text(errors="replace")):
            found += 1
            print(f"== {path.name}\n{finding}")
    print(f"sanitizers: {found} findings in the logs of {len(logs)} processes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
