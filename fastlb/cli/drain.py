"""`fastlb drain`."""

from __future__ import annotations

import click

from fastlb.cli.remote import Time, admin_option, client, server, who

EXIT_UNDONE = 1


@click.command("drain")
@click.argument("name", metavar="POOL/SERVER")
@click.option("--wait", is_flag=True, help="Wait until the server has nothing left to do.")
@click.option(
    "--timeout", type=Time(), default="60s", show_default=True,
    help="How long --wait waits. After that, the exit status is 1; the server stays draining.",
)
@admin_option
def command(name: str, wait: bool, timeout: float, admin: str | None) -> int:
    """Send no new clients to a server; those it has may finish. `fastlb enable` undoes it."""
    made = server(admin, name)
    change = made.drain()
    if wait:
        try:
            change.wait(timeout)
        except TimeoutError:
            left = server(admin, name).in_flight
            click.echo(f"{name} is still draining; in flight: {left}", err=True)
            return EXIT_UNDONE
    said = "drained" if change.done else f"draining; in flight: {made.in_flight}"
    click.echo(f"{name} is {said} ({who(client(admin))})")
    return 0
