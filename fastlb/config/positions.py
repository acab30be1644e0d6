"""Which line a key of a TOML file stands in: tomllib doesn't tell.

Reads text that tomllib has accepted already, and so need not check it; whatever else it is given
comes to an end, too.
"""

from __future__ import annotations

import re
from typing import Any

from fastlb.config.bounds import end_of_string
from fastlb.config.units import show

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"[ \t\r\n]+|#[^\n]*")
_VALUE = re.compile(r"[^,\]}\n#]*")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


def positions(text: str) -> dict[Path, int]:
    """The line (from 1) of every key, table and array item: {("pools", "api", "balance"): 14}."""
    scanner = _Scanner(text)
    try:
        scanner.scan()
    except (_NotTomlError, RecursionError, ValueError, OverflowError):
        pass                    # what was found until then is right
    return {**scanner.implied, **scanner.lines}


def find_line(lines: dict[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest table around it; 0 if there is none."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 0


class _NotTomlError(Exception):
    pass


class _Scanner:
    """Every turn of a loop moves `at` forward, or ends with _NotTomlError."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self.implied: dict[Path, int] = {}      # [a.b] makes an `a`, if nothing else does
        self.arrays: dict[Path, int] = {}       # arrays of tables: how many there are so far

    def scan(self) -> None:
        table: Path = ()
        while True:
            self._fill()
            if self.at >= len(self.text):
                return
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._assignment(table)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        piece = found.group() if found else self.text[self.at : self.at + 1]
        self.at += len(piece)
        self.line += piece.count("\n")
        return piece

    def _fill(self) -> None:
        """Leave out what has no meaning. (One pattern for all of it would remember each piece.)"""
        while found := _BLANK.match(self.text, self.at):
            self.at = found.end()
            self.line += found[0].count("\n")

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, self.line)

    def _header(self) -> Path:
        double = self.text.startswith("[[", self.at)
        self.at += 2 if double else 1
        line = self.line
        path = self._resolved(self._key())
        for i in range(1, len(path)):
            self.implied.setdefault(path[:i], line)
        if double:
            index = self.arrays.get(path, 0)
            self.arrays[path] = index + 1
            self.lines.setdefault(path, line)
            path = (*path, index)
        self.lines.setdefault(path, line)
        self.at += 2 if double else 1
        return path

    def _resolved(self, key: Path) -> Path:
        """[a.b] below [[a]] means the last of them."""
        path: Path = ()
        for i, part in enumerate(key):
            path = (*path, part)
            if path in self.arrays and i < len(key) - 1:
                path = (*path, self.arrays[path] - 1)
        return path

    def _key(self) -> Path:
        parts: list[str | int] = []
        while True:
            self._skip(_SPACE)
            if self.text.startswith(('"', "'"), self.at):
                parts.append(self._string())
            else:
                parts.append(self._skip(_BARE))
            self._skip(_SPACE)
            if self.text[self.at : self.at + 1] != ".":
                return tuple(parts)
            self.at += 1

    def _string(self) -> str:
        end = end_of_string(self.text, self.at)
        if end < 0:
            raise _NotTomlError
        literal, self.at = self.text[self.at : end], end
        self.line += literal.count("\n")
        quotes = 3 if literal.startswith(('"""', "'''")) else 1
        inner = literal[quotes:-quotes]
        return inner if literal[0] == "'" else _ESCAPE.sub(_unescape, inner)

    def _assignment(self, table: Path) -> None:
        key = self._key()
        for i in range(1, len(key) + 1):
            self._note(table + key[:i])
        self.at += 1                # "="
        self._skip(_SPACE)
        self._value(table + key)

    def _value(self, path: Path) -> None:
        first = self.text[self.at : self.at + 1]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        elif first in ('"', "'"):
            self._string()
        elif not self._skip(_VALUE):
            raise _NotTomlError

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while True:
            self._fill()
            if self.text[self.at : self.at + 1] in ("]", ""):
                self.at += 1
                return
            self._note((*path, index))
            self._value((*path, index))
            index += 1
            self._fill()
            if self.text[self.at : self.at + 1] == ",":
                self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while True:
            self._fill()
            if self.text[self.at : self.at + 1] in ("}", ""):
                self.at += 1
                return
            self._assignment(path)
            self._fill()
            if self.text[self.at : self.at + 1] == ",":
                self.at += 1


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] in "xuU" and len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPED.get(code, code)


def dotted(path: Path | tuple[Any, ...]) -> str:
    """`pools.api.servers[0].weight`, as problems name it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = str(part) if _BARE.fullmatch(str(part)) else show(str(part))
            text += f".{name}" if text else name
    return text
