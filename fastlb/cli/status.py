"""`fastlb status`."""

from __future__ import annotations

import json

import click

from fastlb.cli.remote import admin_option, client

WIDTH_PIPED = 10_000        # what isn't a terminal gets whole lines


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@admin_option
def command(as_json: bool, admin: str | None) -> int:
    """Print what a running process serves: its listeners, pools and servers."""
    status = client(admin).status()
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return 0
    from rich.console import Console

    from fastlb.cli.tables import Rates, certificates, tables

    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, emoji=False, width=WIDTH_PIPED)
    for part in tables(status, Rates(status)):
        console.print(part)
    if status.get("certificates"):
        console.print(certificates(status))
    return 0
