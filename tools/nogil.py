"""Finds the code in Cython files that runs without the GIL, by its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_HEADER = re.compile(
    r"^\s*(?:cdef|cpdef)\s(?!extern\b|enum\b|struct\b|union\b|class\b)[^=#]*?(\w+)\("
)
_BLOCK = re.compile(r"^\s*with nogil:")


@dataclass(frozen=True)
class Body:
    """A nogil function, or a `with nogil:` block of any; lines from 1, `end` being the last."""

    name: str
    header: int
    start: int
    end: int


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _header_end(lines: Sequence[str], at: int) -> int:
    """Where the header that begins in `at` ends: with the colon after its last parenthesis."""
    depth = 0
    for i in range(at, len(lines)):
        text = lines[i].split("#")[0].rstrip()
        depth += text.count("(") - text.count(")")
        if depth <= 0:
            return i if text.endswith(":") else -1
    return -1


def _body_end(lines: Sequence[str], start: int, indent: int) -> int:
    last = start - 1
    for i in range(start, len(lines)):
        if lines[i].strip():
            if _indent(lines[i]) <= indent:
                break
            last = i
    return last


def bodies(text: str) -> list[Body]:
    """The nogil functions and blocks of a .pyx or .pxd, in order."""
    lines = text.splitlines()
    found: list[Body] = []
    name = ""
    for i, line in enumerate(lines):
        header = _HEADER.match(line)
        end = i
        if header:
            name = header[1]
            end = _header_end(lines, i)
            tail = "".join(lines[i : end + 1]).rpartition(")")[2] if end >= 0 else ""
            if not re.search(r"\bnogil\b", tail):
                continue
        elif not _BLOCK.match(line):
            named = re.match(r"\s*def (\w+)", line)
            name = named[1] if named else name
            continue
        last = _body_end(lines, end + 1, _indent(line))
        found.append(Body(name, i + 1, end + 2, last + 1))
    return found
