"""The line of every key, against tomllib: documents are written down with their lines known."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlb.config.positions import Path, dotted, find_line, positions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def paths(value: Any, path: Path = ()) -> set[Path]:
    """Of every key, table and item that tomllib yields."""
    found = {path} if path else set()
    if isinstance(value, dict):
        for key, item in value.items():
            found |= paths(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found |= paths(item, (*path, i))
    return found


@dataclass
class Page:
    """A document as it is written, and the line of what it says."""

    text: str = ""
    lines: dict[Path, int] = field(default_factory=dict)

    @property
    def line(self) -> int:
        return self.text.count("\n") + 1

    def note(self, path: Path) -> None:
        self.lines.setdefault(path, self.line)


NAMES = st.one_of(
    st.sampled_from(["a", "b", "servers", "0", "x-y"]),
    st.sampled_from(["", "a.b", "[a]", "=", "#", 'a"b', "a\\b", "é", "'", "a\nb", "]]"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
SPACE = st.sampled_from(["", " ", "\t "])
# What may stand between two items of a list.
FILLER = st.sampled_from(["", " ", "\n", "\n\n ", " # ]\n", '# "\n', "#,}'''\n"])
PLAIN = st.sampled_from(
    ["1", "-1_000", "0x1F", "1.5e3", "inf", "true", "1979-05-27 07:32:00", "07:32:00",
     '""', "''", '"# no comment"', "'[a]'", '"\\""', "'\\'", '"a = 1 ] }"',
     '"""a"""', "'''a'''", '"""a""\n"b"""', "'''\na\n[b]\nc = 1'''", '"""\\\n  a"""',
     '""""a"""', '"""a"""""', "'''a'''''", '"""\\"""a"""', '"""\n#"""', '"\\u0041\\\\"']
)  # fmt: skip


def escaped(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if " " <= letter <= "~":
        return letter
    return f"\\u{ord(letter):04X}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08X}"


@st.composite
def key(draw: st.DrawFn, name: str) -> str:
    bare = name.isascii() and name.replace("-", "a").replace("_", "a").isalnum()
    literal = "'" not in name and name.isprintable()
    forms = [f'"{"".join(map(escaped, name))}"']
    if bare:
        forms.append(name)
    if literal:
        forms.append(f"'{name}'")
    return draw(SPACE) + draw(st.sampled_from(forms)) + draw(SPACE)


@st.composite
def names(draw: st.DrawFn, most: int = 4) -> list[str]:
    return draw(st.lists(NAMES, max_size=most, unique=True))


def write_value(draw: st.DrawFn, page: Page, path: Path, depth: int) -> None:
    kind = draw(st.integers(0, 5)) if depth else 0
    if kind == 4:
        page.text += "["
        count = draw(st.integers(0, 3))
        for i in range(count):
            page.text += draw(FILLER)
            page.note((*path, i))
            # A list within a table on one line may have several.
            write_value(draw, page, (*path, i), depth - 1)
            page.text += draw(FILLER)
            if i < count - 1 or draw(st.booleans()):
                page.text += ","
        page.text += draw(FILLER) + "]"
    elif kind == 5:
        page.text += "{"
        for i, name in enumerate(draw(names(3))):
            page.text += ", " if i else ""
            write_pair(draw, page, path, name, depth - 1)
        page.text += " }"
    else:
        page.text += draw(PLAIN)


def write_pair(draw: st.DrawFn, page: Page, table: Path, name: str, depth: int) -> None:
    path = (*table, name)
    page.note(path)
    page.text += draw(key(name))
    if draw(st.integers(0, 3)) == 0:
        below = draw(NAMES)
        path = (*path, below)
        page.note(path)
        page.text += "." + draw(key(below))
    page.text += "=" + draw(SPACE)
    write_value(draw, page, path, depth)


def write_table(draw: st.DrawFn, page: Page, path: Path, depth: int) -> None:
    """The pairs of a table, then the tables and lists of tables in it."""
    inner = draw(names())
    split = draw(st.integers(0, len(inner)))
    for name in inner[:split]:
        page.text += draw(st.sampled_from(["", "\n", "# [a]\n"]))
        write_pair(draw, page, path, name, 2)
        page.text += draw(st.sampled_from(["\n", " # a = 1\n"]))
    for name in inner[split:] if depth else ():
        write_tables(draw, page, (*path, name), depth - 1)


def header(draw: st.DrawFn, path: Path) -> str:
    return ".".join(draw(key(part)) for part in path if isinstance(part, str))


def write_tables(draw: st.DrawFn, page: Page, path: Path, depth: int) -> None:
    kind = draw(st.integers(0, 2))
    if kind == 0:  # the path alone says that there is a table
        path = (*path, draw(NAMES))
        page.note(path[:-1])
    if kind == 2:
        for i in range(draw(st.integers(1, 3))):
            page.note(path)
            page.note((*path, i))
            page.text += f"[[{header(draw, path)}]]\n"
            write_table(draw, page, (*path, i), depth)
        return
    page.note(path)
    page.text += f"[{header(draw, path)}] # [[b]]\n"
    write_table(draw, page, path, depth)


@st.composite
def pages(draw: st.DrawFn) -> Page:
    page = Page()
    write_table(draw, page, (), 2)
    return page


@settings(max_examples=200, deadline=None)
@given(pages())
def test_every_key_has_the_line_where_it_stands(page: Page) -> None:
    raw = tomllib.loads(page.text)
    found = positions(page.text)
    assert {path: found.get(path) for path in paths(raw)} == {
        path: page.lines[path] for path in paths(raw)
    }


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            ["[", "]", "[[", "]]", "{", "}", "=", ",", ".", "#", '"', '"""', "'", "'''", "\\", "\n",
             " ", "a", "b", "1", "a = 1\n", "[a]\n", "[[a]]\n", "a = [", "a = {", "\r\n", "\t"]
        ),
        st.text(max_size=3),
    ),
    max_size=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_whatever_tomllib_takes_is_read_to_its_end(pieces: list[str]) -> None:
    text = "".join(pieces).replace("\r\n", "\n")
    try:
        raw = tomllib.loads(text)
    except ValueError:
        return
    found = positions(text)
    assert paths(raw) <= set(found)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_any_other_text_comes_to_an_end_too(pieces: list[str]) -> None:
    positions("".join(pieces))


LATER = """\
[a.b.c]
d = 1

[a]
e = 2
"""


def test_a_table_that_is_written_after_what_is_in_it_has_its_own_line() -> None:
    found = positions(LATER)
    assert found[("a",)] == 4
    assert found[("a", "b")] == 1
    assert found[("a", "b", "c")] == 1


def test_a_path_without_a_line_has_that_of_the_table_around_it() -> None:
    found = positions(LATER)
    assert find_line(found, ("a", "x", "y")) == 4
    assert find_line(found, ("a", "b", "c", "x")) == 1
    assert find_line(found, ("x",)) == 0
    assert find_line({}, ("a",)) == 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("pools", "api", "servers", 0, "weight"), "pools.api.servers[0].weight"),
        (("pools", "a b"), "pools.'a b'"),
        (("a.b",), "'a.b'"),
        (("", "a\nb"), "''.'a\\nb'"),
        ((), ""),
    ],
)
def test_a_path_is_written_like_this(path: Path, expected: str) -> None:
    assert dotted(path) == expected
