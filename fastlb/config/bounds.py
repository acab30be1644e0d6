"""What a text must not have before a parser sees it: keys that cost more than they are worth.

tomllib keeps every beginning of a dotted key, so that a key of 20,000 parts takes gigabytes.
"""

from __future__ import annotations

import re

from fastlb.config.limits import KEY_BYTES_MAX, KEY_PARTS_MAX

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
# Strings of several lines and comments come first, so that nothing inside them is taken for a key.
# A lone quote is a string without an end: the parser gets no further, either.
_TOKEN = re.compile(
    rf"""(?P<open>\"{{3}}|'{{3}})|(?P<comment>\#[^\n]*)"""
    rf"""|(?P<key>{_PART}(?P<more>(?:[ \t]*\.[ \t]*{_PART})*)[ \t]*(?P<end>=?))|(?P<lone>["'])"""
)
_ENDS = {
    '"""': re.compile(r'(?:\\.|[^"\\]|"(?!""))*"{3,5}', re.DOTALL),
    "'''": re.compile(r"(?:[^']|'(?!''))*'{3,5}", re.DOTALL),
}
_NEXT = re.compile(rf"[ \t]*\.[ \t]*{_PART}")


def oversized_key(text: str) -> tuple[int, str] | None:
    """The line (from 1) of the first key that is too long or has too many parts, and which of the
    two it is; None if all are fine. Takes time in proportion to the text, whatever that is."""
    at = 0
    while found := _TOKEN.search(text, at):
        at = found.end()
        if found["open"]:
            end = _ENDS[found["open"]].match(text, at)
            if end is None:
                return None
            at = end.end()
        elif found["lone"]:
            return None
        elif found["key"]:
            why = ""
            if found["more"] and len(_NEXT.findall(found["more"])) >= KEY_PARTS_MAX:
                why = f"a key has more than {KEY_PARTS_MAX} parts"
            elif found["end"] and len(found["key"]) > KEY_BYTES_MAX:
                why = f"a key has more than {KEY_BYTES_MAX} characters"
            if why:
                return text.count("\n", 0, found.start()) + 1, why
    return None
