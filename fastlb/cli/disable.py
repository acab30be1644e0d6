"""`fastlb disable`."""

from __future__ import annotations

import click

from fastlb.cli.remote import admin_option, client, server, who


@click.command("disable")
@click.argument("name", metavar="POOL/SERVER")
@admin_option
def command(name: str, admin: str | None) -> int:
    """Put a server into maintenance: no new clients, no checks. `fastlb enable` undoes it."""
    made = server(admin, name)
    made.disable()
    click.echo(
        f"{name} is in maintenance; in flight: {made.in_flight} ({who(client(admin))})")
    return 0
