"""Tables in narrow terminals."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from fastlb.demo.table import HEADINGS, Row, live, plain
from fastlb.observe.fitting import Fitting, cut, fitting


def shown(width: int) -> str:
    console = Console(width=width, record=True, file=None, highlight=False)
    row = Row("amber (127.0.0.1:44509)", 1_234_567, 12_345, 12, 1 << 30, 1 << 30, 12.5, 120.25)
    with console.capture() as captured:
        console.print(live([row], "a demo"))
    return captured.get()


@pytest.mark.parametrize(("width", "gone"), [
    (200, ()), (100, ("bytes in",)), (80, ("bytes in", "bytes out", "p50")),
])
def test_columns_go_and_no_letters(width: int, gone: tuple[str, ...]) -> None:
    text = shown(width)
    assert "…" not in text
    assert [head for head in HEADINGS if head not in text] == list(gone)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(("width", "gone"), [(0, 0), (200, 0), (80, 2), (60, 4)])
def test_lines_of_the_demo_fit_a_terminal(width: int, gone: int) -> None:
    row = Row("amber (127.0.0.1:44509)", 1_234_567, 12_345, 12, 1 << 30, 1 << 30, 12.5, 120.25)
    lines = plain([row], width).splitlines()
    assert len(re.split("  +", lines[0].strip())) == len(HEADINGS) - gone
    assert not width or max(map(len, lines)) <= width


def test_what_is_least_goes_first() -> None:
    heads, widths = ("a", "b", "c"), (10, 10, 10)
    assert fitting(heads, widths, 36, 2, ("c", "b")) == [0, 1, 2]
    assert fitting(heads, widths, 35, 2, ("c", "b")) == [0, 1]
    assert fitting(heads, widths, 20, 2, ("c", "b")) == [0]
    assert fitting(heads, widths, 1, 2, ("c", "b")) == [0]


def test_the_widest_names_are_cut_and_numbers_are_not() -> None:
    assert cut((10, 30, 12), (0, 1), 100, 2) == [10, 30, 12]
    assert cut((10, 30, 12), (0, 1), 40, 2) == [10, 12, 12]
    assert cut((10, 30, 12), (0, 1), 34, 2) == [8, 8, 12]
    assert cut((10, 30, 12), (0, 1), 1, 2) == [8, 8, 12]
    assert cut((10, 30, 12), (), 1, 2) == [10, 30, 12]


def test_long_names_leave_room_for_numbers() -> None:
    table = Fitting(("POOL", "SERVER", "WEIGHT", "REQ/S"), ("POOL", "SERVER"), ("WEIGHT",))
    table.add_row("the-pool-of-the-whole-company", "[2001:db8:1:2:3::56:78]:7000", "1", "1,234.5")
    console = Console(width=40, highlight=False)
    with console.capture() as captured:
        console.print(table)
    assert [line.split() for line in captured.get().splitlines()] == [
        ["POOL", "SERVER", "REQ/S"], ["the-pool-of-…", "[2001:db8:1:2…", "1,234.5"],
    ]
