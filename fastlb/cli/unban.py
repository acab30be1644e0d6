"""`fastlb unban`."""

from __future__ import annotations

import click

from fastlb.cli.remote import admin_option, client, who


@click.command("unban")
@click.argument("name", metavar="SET")
@click.argument("network")
@admin_option
def command(name: str, network: str, admin: str | None) -> int:
    """Remove NETWORK from a set, to which `fastlb ban` or a program has added it."""
    made = client(admin)
    made.unban(name, network)
    click.echo(f"{network} was removed from {name} ({who(made)})")
    return 0
