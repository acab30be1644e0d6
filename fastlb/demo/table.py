"""The demo's table: a row a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastlb.demo.origin import Origin
from fastlb.observe.fitting import Fitting, fitting

HEADINGS = ("server", "requests", "connections", "open", "bytes in", "bytes out", "p50", "p99")
LEAST = ("bytes in", "bytes out", "p50", "connections", "open")     # go first where it is narrow


@dataclass(frozen=True)
class Row:
    server: str
    requests: int
    connections: int
    open: int
    bytes_in: int       # from clients to the server
    bytes_out: int
    p50_ms: float | None
    p99_ms: float | None

    def cells(self) -> tuple[str, ...]:
        return (
            self.server,
            f"{self.requests:,}",
            f"{self.connections:,}",
            f"{self.open:,}",
            size(self.bytes_in),
            size(self.bytes_out),
            duration(self.p50_ms),
            duration(self.p99_ms),
        )


def rows(origins: Sequence[Origin], stats: dict[str, dict[str, int]]) -> list[Row]:
    """A row for each origin: its own counts, and what its pool says of it."""
    found = []
    for origin in origins:
        seen = stats.get(origin.address, {})
        ordered = sorted(origin.latencies_ms)
        found.append(
            Row(
                server=f"{origin.name} ({origin.address})",
                requests=origin.requests,
                connections=seen.get("connections", 0),
                open=seen.get("in_flight", 0),
                bytes_in=seen.get("bytes_to_server", 0),
                bytes_out=seen.get("bytes_to_client", 0),
                p50_ms=_quantile(ordered, 0.50),
                p99_ms=_quantile(ordered, 0.99),
            )
        )
    return found


def _quantile(ordered: list[float], q: float) -> float | None:
    return ordered[min(int(len(ordered) * q), len(ordered) - 1)] if ordered else None


def size(n: int) -> str:
    """Bytes for people: 999 B, 1.2 KiB, 3.4 MiB."""
    if n < 1024:
        return f"{n} B"
    value = float(n)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def duration(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:.2f} ms"


def plain(table: Sequence[Row], width: int = 0) -> str:
    """Aligned lines without colour or frame. Columns that don't fit into `width`, if there is one,
    are left out."""
    cells = [HEADINGS, *(row.cells() for row in table)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADINGS))]
    room = width + 2 if width else sum(widths) + 2 * len(widths)
    shown = fitting(HEADINGS, widths, room, 2, LEAST)
    return "\n".join(
        "  ".join(
            line[i].ljust(widths[i]) if i == 0 else line[i].rjust(widths[i]) for i in shown
        )
        for line in cells
    )


def live(table: Sequence[Row], title: str) -> Fitting:
    drawn = Fitting(HEADINGS, ("server",), LEAST, title, framed=True)
    for row in table:
        drawn.add_row(*row.cells())
    return drawn
