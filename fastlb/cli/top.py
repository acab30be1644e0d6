"""`fastlb top`."""

from __future__ import annotations

import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from fastlb.cli.remote import Time, admin_option, client
from fastlb.errors import NotRunningError

if TYPE_CHECKING:
    from fastlb.client import Client

KEYS_SHOWN = 10         # of those that rate limits refuse most


@click.command("top")
@click.option(
    "--interval", type=Time(), default="1s", show_default=True, help="How often the table changes.",
)
@admin_option
def command(interval: float, admin: str | None) -> int:
    """Show live what a running process does. q ends it."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from fastlb.cli.tables import Rates, refused_keys, tables

    process = client(admin)
    status = process.status()
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        raise click.UsageError("this is not a terminal; fastlb status prints it once")
    before = None
    with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            room = max(console.height - len(status["listeners"]) - 9, 1)
            keys = min(len(refused_keys(status)), KEYS_SHOWN, room // 2)
            room = max(room - keys - 2, 1) if keys else room        # (with a head and a line)
            parts = list(tables(status, Rates(status, before), room, keys))
            spaced = [one for part in parts for one in (part, Text())]
            live.update(Group(*spaced, Text("q: quit", "dim")), refresh=True)
            before = status
            if _pressed("q", interval):
                return 0
            process, status = _look(process, admin, status)
            if status["pid"] != before["pid"]:
                before = None


def _look(
    process: Client, admin: str | None, before: dict[str, Any]
) -> tuple[Client, dict[str, Any]]:
    """The status; after an upgrade that of the process which listens there now. Raises
    NotRunningError where there is none."""
    try:
        return process, process.status()
    except NotRunningError:
        with suppress(NotRunningError):
            other = client(admin)
            status = other.status()
            if _addresses(status) & _addresses(before):
                return other, status
        raise


def _addresses(status: dict[str, Any]) -> set[str]:
    return {address for listener in status["listeners"] for address in listener["addresses"]}


@contextmanager
def _keys() -> Iterator[None]:
    """Keys come one by one and unseen."""
    if not sys.stdin.isatty():
        yield
        return
    kept = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, kept)


def _pressed(wanted: str, seconds: float) -> bool:
    """Wait so long for that key."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not sys.stdin.isatty():
            time.sleep(left)
            return False
        if select.select([sys.stdin], [], [], left)[0]:
            key = sys.stdin.read(1)
            if key in (wanted, wanted.upper(), ""):
                return True
    return False
