"""`fastlb ban`."""

from __future__ import annotations

import click

from fastlb.cli.remote import Time, admin_option, client, who


@click.command("ban")
@click.argument("name", metavar="SET")
@click.argument("network")
@click.option("--for", "seconds", type=Time(), metavar="TIME",
              help="For how long, such as 10m. Without it, as long as the process runs.")
@admin_option
def command(name: str, network: str, seconds: float | None, admin: str | None) -> int:
    """Add NETWORK (or an address) to a set of networks, which `deny` names. `fastlb unban` undoes
    it."""
    made = client(admin)
    made.ban(name, network, seconds)
    until = "" if seconds is None else f" for {seconds:g} s"
    click.echo(f"{network} is in {name}{until} ({who(made)})")
    return 0
