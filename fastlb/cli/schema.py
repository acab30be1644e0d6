"""`fastlb schema`."""

from __future__ import annotations

import json

import click


@click.command("schema")
def command() -> int:
    """Print the JSON schema (draft 2020-12) of the configuration, for editors and checks."""
    from fastlb.config.schema import schema

    click.echo(json.dumps(schema(), indent=2))
    return 0
