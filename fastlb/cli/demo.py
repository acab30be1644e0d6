"""`fastlb demo`."""

from __future__ import annotations

import click


@click.command("demo")
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), metavar="N",
    help="Drive traffic for N seconds, print the table once and end.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="P",
    help="Listen on this port of 127.0.0.1 (8080, or any if that is taken).",
)
def command(seconds: float | None, port: int | None) -> int:
    """Balance three small origins inside this process, with a little traffic of its own.

    On a terminal it shows a live table until Ctrl-C. Without one, or with --seconds, it drives
    traffic (for 10 s), prints the table once, and exits 0, or 1 if anything failed.
    """
    from fastlb.demo.run import run

    return run(seconds, port)
