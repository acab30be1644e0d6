"""`fastlb diff`."""

from __future__ import annotations

import json
from typing import Any

import click

from fastlb.cli.remote import admin_option, client


@click.command("diff")
@click.argument("configs", nargs=-1, metavar="[OLD] NEW")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@admin_option
def command(configs: tuple[str, ...], as_json: bool, admin: str | None) -> int:
    """Show what differs between the file OLD, or the running process, and the file NEW, key by key.
    Defaults count: a key that only writes its default down is no difference.

    "+" is new, "-" is gone, "~" has changed, "*" was set while running and stays. Exit 0 if nothing
    differs, 1 if something does, 2 if a file has mistakes, 3 if no process is running.
    """
    from fastlb.config.diff import diff
    from fastlb.config.reader import load

    if len(configs) not in (1, 2):
        raise click.UsageError("give one file, for what a reload would change, or two")
    found = (
        [{**one.as_json(), "text": str(one)} for one in diff(*map(load, configs))]
        if len(configs) == 2 else _from_running(admin, configs[0])
    )
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for one in found:
            click.echo(one["text"])
    return 1 if any(one["kind"] != "set" for one in found) else 0


def _from_running(admin: str | None, path: str) -> list[dict[str, Any]]:
    """What a reload of the file would change; the process itself compares."""
    from fastlb.config.files import read_file
    from fastlb.config.limits import FILE_BYTES_MAX
    from fastlb.config.reader import load

    load(path)                  # its problems are told with its own name and lines
    text = read_file(path, FILE_BYTES_MAX)[0].decode("utf-8-sig")
    differences: list[dict[str, Any]] = client(admin).reload(text, dry_run=True)["differences"]
    return differences
