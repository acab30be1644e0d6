"""`fastlb reload`."""

from __future__ import annotations

import click

from fastlb.cli.remote import admin_option, client, who


@click.command("reload")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@admin_option
def command(dry_run: bool, admin: str | None) -> int:
    """Have a running process read its file again. A file with mistakes changes nothing."""
    process = client(admin)
    made = process.reload(dry_run=dry_run)
    for one in made["differences"]:
        click.echo(one["text"])
    if not made["differences"]:
        click.echo("nothing would change" if dry_run else "nothing has changed")
    if not dry_run:
        click.echo(f"{who(process)} has read its file again")
    for warning in made["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    return 0
