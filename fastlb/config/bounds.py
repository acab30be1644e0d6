"""What a text must not have before a parser sees it: keys that cost more than they are worth.

tomllib keeps every beginning of a dotted key, so that a key of 20,000 parts takes gigabytes. What
is here takes time in proportion to a text, whatever that is, and no memory: no pattern repeats what
may have to be taken back.
"""

from __future__ import annotations

import re

from fastlb.config.limits import KEY_BYTES_MAX, KEY_PARTS_MAX

_TOKEN = re.compile(
    r"""(?P<bare>[A-Za-z0-9_-]+)|(?P<quote>["'])|(?P<dot>[ \t]*\.[ \t]*)|[ \t]*(?P<end>=)"""
    r"""|\#[^\n]*|[ \t]+|[^A-Za-z0-9_\-"'.=\# \t]+"""
)
# What ends a string, or hides its end.
_ENDS = {
    '"': re.compile(r'\\.|["\n]'), "'": re.compile(r"['\n]"),
    '"""': re.compile(r'\\.|"{3,5}', re.DOTALL), "'''": re.compile("'{3,5}"),
}


def oversized_key(text: str) -> tuple[int, str] | None:
    """The line (from 1) of the first key that is too long or has too many parts, and which of the
    two it is; None if all are fine."""
    at = begin = parts = 0          # of the key that may be read now
    joined = False                  # a dot was read behind its last part
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return None
        start, at = at, found.end()
        if found["bare"] or found["quote"]:
            if found["quote"]:
                at = end_of_string(text, start)
                if at < 0:
                    return None         # the parser gets no further, either
            if not joined:
                begin, parts = start, 0
            parts += 1
            joined = False
            if parts > KEY_PARTS_MAX:
                return _line(text, begin), f"a key has more than {KEY_PARTS_MAX} parts"
        elif found["dot"]:
            joined = parts > 0
        else:
            if found["end"] and parts and start - begin > KEY_BYTES_MAX:
                return _line(text, begin), f"a key has more than {KEY_BYTES_MAX} characters"
            parts, joined = 0, False
    return None


def end_of_string(text: str, at: int) -> int:
    """Where a string ends that begins here; -1 if it doesn't."""
    quote = text[at]
    if text.startswith(quote * 3, at):
        quote *= 3
    at += len(quote)
    while found := _ENDS[quote].search(text, at):
        if found[0].startswith(quote):
            return found.end()
        if found[0] == "\n":
            return -1
        at = found.end()
    return -1


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
