"""Judges what the sanitizers of all processes of a run have written, given their directory.

An error of any process counts. A leak counts when a frame of fastlb/_core is near the top of the
stack that allocated it: the interpreter and its libraries keep things until the end on purpose.
LeakSanitizer itself crashes now and then, where a thread ends while it looks at its memory. Such a
process wasn't checked for leaks; one in twenty may be so.
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
UNCHECKED_SHARE = 0.05
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
    if ERROR.search(log):
        return [log]
    return our_leaks(log)


def main(directory: Path) -> int:
    logs = sorted(directory.glob("*san.*"))
    found = unchecked = 0
    for path in logs:
        log = path.read_text(errors="replace")
        unchecked += bool(BROKEN.search(log))
        for finding in findings(log):
            found += 1
            print(f"== {path.name}\n{finding}")
    print(f"sanitizers: {found} findings in the logs of {len(logs)} processes"
          + (f"; {unchecked} could not be checked for leaks" if unchecked else ""))
    return 1 if found or unchecked > UNCHECKED_SHARE * len(logs) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
