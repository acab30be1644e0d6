"""`fastlb reload`."""

from __future__ import annotations

import click

from fastlb.cli.remote import admin_option, client


@click.command("reload")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@admin_option
def command(dry_run: bool, admin: str | None) -> int:
    """Let a running process read its file again; a file that can't be used changes nothing."""
    made = client(admin).reload(dry_run=dry_run)
    for one in made["differences"]:
        click.echo(one["text"])
    if not made["differences"]:
        click.echo("nothing would change" if dry_run else "nothing has changed")
    for warning in made["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    return 0
