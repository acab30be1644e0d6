"""Tables for terminals: where one is too narrow, whole columns go, and names are cut at last. A
number is shown whole or not at all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

CUT_MIN = 8             # letters of a name that is cut


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


def cut(widths: Sequence[int], texts: Collection[int], room: int, gap: int) -> list[int]:
    """The widths that fit: the widest of the columns `texts` are made narrower, the others not."""
    made = list(widths)
    while sum(made) + gap * len(made) > room:
        widest = max(texts, key=lambda i: made[i], default=None)
        if widest is None or made[widest] <= CUT_MIN:
            break
        made[widest] -= 1
    return made


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
        texts = [at for at, i in enumerate(kept) if self.heads[i] in self._left]
        room = options.max_width - edge
        for i, width in zip(kept, cut([widths[i] for i in kept], texts, room, gap), strict=True):
            head = self.heads[i]
            table.add_column(head, justify="left" if head in self._left else "right",
                             no_wrap=True, max_width=width)
        for row in self.rows:
            table.add_row(*(row[i] for i in kept))
        yield table
