"""`fastlb version`."""

from __future__ import annotations

import click


@click.command("version")
@click.option("-v", "--verbose", is_flag=True, help="What it was built with and runs on, too.")
def command(verbose: bool) -> int:
    """Print the version."""
    from fastlb._version import __version__

    click.echo(f"fastlb {__version__}")
    if verbose:
        from fastlb.process.machine import facts

        found = facts()
        width = max(map(len, found))
        for name, value in found.items():
            click.echo(f"{name:<{width}}  {value}")
    return 0
