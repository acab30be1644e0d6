"""Tables for terminals: where one is too narrow, whole columns go and no letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text


def fitting(
    heads: Sequence[str], widths: Sequence[int], room: int, gap: int, least: Sequence[str]
) -> list[int]:
    """Which columns are shown: `least` are those that may go, the first one first. Each takes `gap`
    columns of the screen besides its own."""
    kept = list(range(len(heads)))
    for head in least:
        if sum(widths[i] + gap for i in kept) <= room:
            break
        kept = [i for i in kept if heads[i] != head]
    return kept


class Fitting:
    """A table that rich renders for the width that there is."""

    def __init__(
        self, heads: Sequence[str], left: Sequence[str], least: Sequence[str], title: str = "",
        framed: bool = False,
    ) -> None:
        self.heads = heads
        self.rows: list[list[str | Text]] = []
        self._left = left
        self._least = least
        self._title = title
        self._framed = framed

    def add_row(self, *cells: str | Text) -> None:
        self.rows.append([*cells, *[""] * (len(self.heads) - len(cells))])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.cells import cell_len
        from rich.table import Table

        widths = [
            max(cell_len(str(cell)) for cell in column)
            for column in zip(self.heads, *self.rows, strict=True)
        ]
        gap, edge = (3, 1) if self._framed else (2, 0)
        kept = fitting(self.heads, widths, options.max_width - edge, gap, self._least)
        if self._framed:
            table = Table(title=self._title, title_justify="left")
        else:
            table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for i in kept:
            head = self.heads[i]
            table.add_column(
                head, justify="left" if head in self._left else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*(row[i] for i in kept))
        yield table
