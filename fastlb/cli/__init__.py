"""The command line. Every command is a module of this folder, imported when it is used."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from fastlb.errors import BindError, ConfigError

EXIT_CONFIG = 2
EXIT_BUG = 70           # EX_SOFTWARE of sysexits(3)
EXIT_INTERRUPTED = 130

COMMANDS = {
    "serve": "Serve a configuration, or what the options say.",
    "check": "Check a configuration and print what holds in the end.",
    "demo": "Balance three small origins inside this process.",
    "schema": "Print the JSON schema of the configuration.",
    "version": "Print the version.",
}


class Commands(click.Group):
    """Imports a command's module only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"fastlb.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from fastlb._version import __version__

        click.echo(f"fastlb {__version__}")
        ctx.exit()


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: fastlb demo. Then: fastlb serve --bind tcp://127.0.0.1:8080 --server"
    " 127.0.0.1:9001",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
    help="Print the version.",
)
def group() -> None:
    """A load balancer for real-time systems."""


def main(args: list[str] | None = None) -> None:
    """The entry point: runs a command and exits; no traceback reaches a user."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: list[str]) -> int:
    """Run a command line; returns the exit status."""
    try:
        status = group.main(args, prog_name="fastlb", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_CONFIG
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (ConfigError, BindError) as error:
        click.echo(str(error), err=True)
        return EXIT_CONFIG
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("FASTLB_DEBUG"):
            raise
        click.echo(
            f"fastlb: {type(error).__name__}: {error}. This is a bug in fastlb: please report it"
            " with what FASTLB_DEBUG=1 prints.",
            err=True,
        )
        return EXIT_BUG
