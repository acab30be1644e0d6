"""`fastlb drain`."""

from __future__ import annotations

import click

from fastlb.cli.remote import Time, admin_option, client, server, who

EXIT_UNDONE = 1


@click.command("drain")
@click.argument("name", metavar="POOL/SERVER")
@click.option("--wait", is_flag=True, help="Until nothing is under way there any more.")
@click.option(
    "--timeout", type=Time(), default="60s", show_default=True,
    help="How long to wait; then the exit status is 1, and it goes on draining.",
)
@admin_option
def command(name: str, wait: bool, timeout: float, admin: str | None) -> int:
    """Let a server keep what it has, and give it nobody new. `fastlb enable` undoes it."""
    made = server(admin, name)
    change = made.drain()
    if wait:
        try:
            change.wait(timeout)
        except TimeoutError:
            left = server(admin, name).in_flight
            click.echo(f"{name} goes on draining; still in flight: {left}", err=True)
            return EXIT_UNDONE
    said = "drained" if change.done else f"draining; in flight: {made.in_flight}"
    click.echo(f"{name} is {said} ({who(client(admin))})")
    return 0
