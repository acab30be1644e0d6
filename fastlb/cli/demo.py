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
    help="Listen on this port of 127.0.0.1 (8080, or with --tls 8443; any if that is taken).",
)
@click.option(
    "--tls", is_flag=True,
    help="Over TLS, with a certificate for localhost that is made for it and gone with it.",
)
def command(seconds: float | None, port: int | None, tls: bool) -> int:
    """Balance three small origins inside this process, with a little traffic of its own.

    On a terminal it shows a live table until Ctrl-C. Without one, or with --seconds, it drives
    traffic (for 10 s), prints the table once, and exits 0, or 1 if anything failed.
    """
    from fastlb.demo.run import run

    if tls:
        from fastlb._core.tables.certificates import AVAILABLE

        if not AVAILABLE:
            raise click.UsageError("this fastlb was built without TLS; see fastlb version -v")
    return run(seconds, port, tls)
