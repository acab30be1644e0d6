"""`fastlb enable`."""

from __future__ import annotations

import click

from fastlb.cli.remote import admin_option, client, server, who


@click.command("enable")
@click.argument("name", metavar="POOL/SERVER")
@admin_option
def command(name: str, admin: str | None) -> int:
    """Use a server again that was drained or disabled."""
    made = server(admin, name)
    made.enable()
    click.echo(f"{name} is {made.state} ({who(client(admin))})")
    return 0
