"""`fastlb replay`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fastlb.explain.replay import Progress, Replayed, Spread

ROWS = 40               # of a table


@click.command("replay")
@click.argument("config")
@click.argument("log")
@click.option("--against", metavar="OTHER",
              help="Another configuration: also say what it would change.")
@click.option("--host", default="", metavar="HOST|URL",
              help="The host of requests for which the log has none. A scheme and a port choose "
                   "the listener.")
@click.option("--listener", metavar="NAME",
              help="The listener of requests for which the log has none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not tables.")
def command(
    config: str, log: str, against: str | None, host: str, listener: str | None, as_json: bool
) -> int:
    """Say where the requests of an access log would go by the file CONFIG. Nothing is sent.

    LOG has lines of JSON as fastlb writes them, or of the common or combined format, and may be
    gzipped; - is stdin.
    """
    from fastlb.config.effective import effective
    from fastlb.config.reader import load
    from fastlb.explain.replay import open_log, replay

    values = effective(load(config))
    other = effective(load(against)) if against is not None else None
    try:
        file = open_log(log)
    except OSError as error:
        raise click.UsageError(f"{log}: {error.strerror}") from None
    try:
        with _Bar(log) as progress:
            replayed = replay(values, file, other, host, listener, progress)
    except (ValueError, EOFError) as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(replayed.as_json(), indent=2))
    else:
        _print(replayed)
    return 0


class _Bar:
    """A progress bar on a terminal, on stderr, so that the result can be piped."""

    def __init__(self, log: str) -> None:
        self._log = log

    def __enter__(self) -> Progress | None:
        self._progress = None
        if not sys.stderr.isatty():
            return None
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

        total = None
        if self._log != "-" and not self._log.endswith(".gz"):
            total = os.stat(self._log).st_size
        self._progress = progress = Progress(
            "{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn(),
            console=Console(stderr=True, emoji=False),
        )
        task = progress.add_task("replay", total=total)
        progress.start()
        return lambda n: progress.update(task, advance=n)

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()


def _print(replayed: Replayed) -> None:
    from rich.console import Console

    console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 100)
    r = replayed
    console.print(
        f"{_count(r.lines, 'line')}, {_count(r.requests, 'request')} of"
        f" {_count(r.clients, 'client')}, {_size(r.bytes)} answered"
    )
    for n, one, several in (
        (r.unknown, "line was not understood", "lines were not understood"),
        (r.no_route, "request has no route", "requests have no route"),
        (r.refused, "request would be refused", "requests would be refused"),
        (r.keys_missing, "request lacks what its pool hashes: client.ip was hashed instead",
         "requests lack what their pool hashes: client.ip was hashed instead"),
        (r.clients_unknown, "line has no IP address of a client",
         "lines have no IP address of a client"),
    ):
        if n:
            console.print(f"  {n:,} {one if n == 1 else several}")
    for title, lines in (("not understood", r.unknown_first), ("no route", r.no_route_first)):
        for line in lines:
            console.print(f"  {title}: {line}", markup=False, overflow="ellipsis", no_wrap=True)
    _print_spread(console, "now" if r.against else "", r.spread)
    _print_limits(console, "now" if r.against else "", r.spread)
    if r.against is not None:
        _print_spread(console, "against", r.against)
        _print_limits(console, "against", r.against)
        _print_changes(console, r)
    for note in r.notes:
        console.print(f"note: {note}", markup=False)


def _print_spread(console: object, title: str, spread: Spread) -> None:
    from rich.console import Console
    from rich.table import Table

    assert isinstance(console, Console)
    for name, loads in (("route", spread.routes), ("pool", spread.pools),
                        ("server", spread.servers), ("answered with", spread.answers)):
        if not loads:
            continue
        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
        table.add_column(name, overflow="fold", min_width=36)
        for column in ("requests", "share", "bytes", "share"):
            table.add_column(column, justify="right")
        requests = sum(load.requests for load in loads.values()) or 1
        size = sum(load.bytes for load in loads.values()) or 1
        ordered = sorted(loads.items(), key=lambda item: (-item[1].requests, item[0]))
        for key, load in ordered[:ROWS]:
            table.add_row(_plain(key), f"{load.requests:,}", f"{load.requests / requests:.1%}",
                          _size(load.bytes), f"{load.bytes / size:.1%}")
        if len(ordered) > ROWS:
            table.add_row(f"and {len(ordered) - ROWS} more")
        console.print()
        console.print(table)


def _print_limits(console: object, title: str, spread: Spread) -> None:
    from rich.console import Console
    from rich.table import Table

    assert isinstance(console, Console)
    rows: dict[str, tuple[tuple[str, ...], list[tuple[str | int, ...]]]] = {
        "rate limit": (("allowed", "refused", "reported"), [
            (one.name, one.allowed, one.refused, one.reported) for one in spread.limits]),
        "set of networks": (("denied", "reported"), [
            (one.name, one.denied, one.reported) for one in spread.networks]),
    }
    for what, (columns, found) in rows.items():
        if not found:
            continue
        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
        table.add_column(what, overflow="fold", min_width=36)
        for column in columns:
            table.add_column(column, justify="right")
        for name, *counts in found[:ROWS]:
            table.add_row(_plain(str(name)), *(f"{n:,}" for n in counts))
        console.print()
        console.print(table)
    if spread.clients_refused:
        table = Table(box=None, pad_edge=False)
        table.add_column("client refused most", overflow="fold", min_width=36)
        table.add_column("requests", justify="right")
        for client, n in spread.clients_refused.items():
            table.add_row(_plain(client), f"{n:,}")
        console.print()
        console.print(table)


def _print_changes(console: object, r: Replayed) -> None:
    from rich.console import Console
    from rich.table import Table

    assert isinstance(console, Console)
    console.print()
    console.print(
        f"{r.changed:,} of {r.requests:,} requests ({r.changed / (r.requests or 1):.1%}) go to"
        f" another pool, or to another server of their key;"
        f" {r.clients_moved:,} of {r.clients:,} clients are among them"
    )
    if r.keys:
        console.print(f"{r.keys_moved:,} of {r.keys:,} keys ({r.keys_moved / r.keys:.1%}) move")
    for kind in ("route", "pool", "server"):
        changes = [change for change in r.changes if change.kind == kind]
        if not changes:
            continue
        table = Table(box=None, pad_edge=False)
        table.add_column(f"{kind} now", overflow="fold", min_width=30)
        table.add_column("against", overflow="fold", min_width=30)
        table.add_column("requests", justify="right")
        for change in changes[:ROWS]:
            table.add_row(_plain(change.before), _plain(change.after), f"{change.requests:,}")
        if len(changes) > ROWS:
            table.add_row(f"and {len(changes) - ROWS} more")
        console.print()
        console.print(table)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' if n != 1 else ''}"


def _size(n: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{n:,.0f} {unit}" if unit == "B" else f"{n:,.1f} {unit}"
        n /= 1024
    raise AssertionError
