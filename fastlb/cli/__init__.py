"""The command line. Every command is a module of this folder, imported when it is used."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module

from fastlb.process.signals import hold_early

if sys.argv[1:2] == ["serve"]:
    hold_early()                # before all else: the imports below take a moment

import click

from fastlb.errors import AdminError, BindError, ConfigError, NotRunningError
from fastlb.process.descriptors import fill_standard

EXIT_REFUSED = 1        # by the process that was asked
EXIT_CONFIG = 2
EXIT_NOT_RUNNING = 3
EXIT_BUG = 70           # EX_SOFTWARE of sysexits(3)
EXIT_IO = 74            # EX_IOERR
EXIT_INTERRUPTED = 130

COMMANDS = {
    "serve": "Serve a configuration file, or what the options say.",
    "check": "Check a configuration and print every value of it.",
    "diff": "Show what differs between two configurations.",
    "upgrade": "Start a new process in place of one of `serve --supervise`.",
    "explain": "Say where a request would go, and why.",
    "replay": "Say where the requests of a log would go.",
    "status": "Print what a running process serves.",
    "top": "Show live what a running process does.",
    "drain": "Send no new clients to a server.",
    "disable": "Put a server into maintenance: no clients, no checks.",
    "enable": "Use a server again after drain or disable.",
    "ban": "Add a network to a set, for a while or for good.",
    "unban": "Remove a network that was added to a set.",
    "reload": "Have a running process read its file again.",
    "demo": "Try fastlb: a balancer and three small servers.",
    "schema": "Print the JSON schema of the configuration.",
    "version": "Print the version.",
}
# What other balancers call it.
ELSEWHERE = {"run": "serve", "start": "serve", "validate": "check", "test": "check",
             "undrain": "enable", "ready": "enable", "info": "status"}


class Commands(click.Group):
    """Imports a command's module only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"fastlb.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            ctx.fail(f"{name!r} is not a command{_meant(name)} One of: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _meant(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(ELSEWHERE.get(name, name), COMMANDS, 1)
    return f"; did you mean {near[0]!r}?" if near else "."


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from fastlb._version import __version__

        click.echo(f"fastlb {__version__}")
        ctx.exit()


@click.command(
    cls=Commands,
    no_args_is_help=False,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: fastlb demo. Then: fastlb serve --bind tcp://127.0.0.1:8080 --server"
    " 127.0.0.1:9001",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
    help="Print the version.",
)
@click.pass_context
def group(ctx: click.Context) -> None:
    """A load balancer for real-time systems."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit(EXIT_CONFIG)


def main(args: list[str] | None = None) -> None:
    """The entry point: runs a command and exits; no traceback reaches a user."""
    fill_standard()
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: list[str]) -> int:
    """Run a command line; returns the exit status."""
    try:
        status = group.main(args, prog_name="fastlb", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (ConfigError, BindError) as error:
        click.echo(str(error), err=True)
        return EXIT_CONFIG
    except NotRunningError as error:
        click.echo(str(error), err=True)
        return EXIT_NOT_RUNNING
    except AdminError as error:
        click.echo(str(error), err=True)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SystemExit:
        # click's end after a broken pipe: whoever read our output has seen enough. Its other one,
        # after a shell asked for completions, is no failure either.
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO):
            return _bug(error)
        # The interpreter writes the rest at its exit, and must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"fastlb: the output can't be written: {error.strerror}", err=True)
        return EXIT_IO
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> int:
    if os.environ.get("FASTLB_DEBUG"):
        raise error
    click.echo(
        f"fastlb: {type(error).__name__}: {error}. This is a bug in fastlb: please report it"
        " with what FASTLB_DEBUG=1 prints.",
        err=True,
    )
    return EXIT_BUG
