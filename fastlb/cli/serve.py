"""`fastlb serve`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from fastlb.config.limits import THREADS_MAX
from fastlb.config.units import show
from fastlb.errors import BindError, ConfigError, Problem

if TYPE_CHECKING:
    from fastlb.config.model import Config

WHY_MAX = 4000          # of why a supervised process can't serve
NAME = "main"           # of the listener and the pool that options make


def _threads(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "auto":
        return value
    if re.fullmatch("[0-9]{1,9}", value) and 1 <= int(value) <= THREADS_MAX:
        return int(value)
    raise click.BadParameter(f'{value!r} is not "auto" or a number from 1 to {THREADS_MAX}')


@click.command("serve")
@click.argument("config", required=False, metavar="[CONFIG]")
@click.option("--bind", multiple=True, metavar="SCHEME://HOST:PORT",
              help="Listen here; SCHEME is tcp, tls, http, https or udp. Repeatable.")
@click.option("--server", multiple=True, metavar="HOST:PORT", help="A server. Repeatable.")
@click.option("--balance", metavar="BALANCE",
              help="How a server is picked, such as least_request.  [default: round_robin]")
@click.option("--policy", metavar="MODULE:FUNCTION",
              help="A Python function that decides where a request goes.")
@click.option("--cert", metavar="FILE", help="The certificate (PEM) of --bind tls:// or https://.")
@click.option("--key", metavar="FILE", help="The private key (PEM), if it is not in the same file.")
@click.option("--threads", metavar="N", callback=_threads, help='Engine threads, or "auto".')
@click.option(
    "--supervise", is_flag=True,
    help="Serve in a worker process, and start another one when it dies; see fastlb upgrade.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info",
    show_default=True, help="Minimum level of the log, which goes to stderr.",
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="Log lines of text, or a JSON object a line.",
)
def command(
    config: str | None,
    bind: tuple[str, ...],
    server: tuple[str, ...],
    balance: str | None,
    policy: str | None,
    cert: str | None,
    key: str | None,
    threads: int | str | None,
    supervise: bool,
    log_level: str,
    log_format: str,
) -> int:
    """Serve the file CONFIG, or --bind and --server, until SIGTERM or Ctrl-C.

    At the signal it accepts no more connections, and lets those that are open finish
    (shutdown_timeout). A second signal ends it at once.
    """
    from fastlb.process.signals import hold_early

    hold_early()
    from fastlb.process.serve import serve
    from fastlb.process.worker import stand_by

    if supervise:
        return _supervise(click.get_current_context(), log_level, log_format)
    supervised = stand_by()
    try:
        made = _config(config, bind, server, balance, policy, threads, _certificate(cert, key))
        return serve(
            made, log_level=log_level, log_format=log_format, source=config, threads=threads,
            supervised=supervised,
        )
    except (ConfigError, BindError) as error:
        told = _by_options(error, key) if config is None else error
        if supervised is not None:
            supervised[0].say_last("failed", why=str(told)[:WHY_MAX])
        raise told from None


def _config(
    config: str | None, bind: tuple[str, ...], server: tuple[str, ...], balance: str | None,
    policy: str | None, threads: int | str | None, certificate: dict[str, str] | None,
) -> Config:
    from fastlb.config.model import Config
    from fastlb.config.reader import load
    from fastlb.process.functions import look_beside

    if config is not None and (bind or server or balance or policy or certificate):
        raise click.UsageError("give a file, or --bind and --server, not both")
    if config is not None:
        look_beside(config)
        return load(config)
    return Config.build(_from_options(bind, server, balance, policy, threads, certificate))


def _certificate(cert: str | None, key: str | None) -> dict[str, str] | None:
    if cert is None and key is not None:
        raise click.UsageError("--key needs --cert, the certificate that it belongs to")
    return {"cert": cert, **({"key": key} if key is not None else {})} if cert is not None else None


def _supervise(context: click.Context, log_level: str, log_format: str) -> int:
    from fastlb.observe.logs import configure_logging
    from fastlb.process.supervisor import Supervisor
    from fastlb.process.workers import command

    configure_logging(log_level, log_format)
    return Supervisor(command(["serve", *_arguments(context)])).run()


def _arguments(context: click.Context) -> list[str]:
    """The command line again, as it was understood, without --supervise."""
    made: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value is None or parameter.name == "supervise":
            continue
        if isinstance(parameter, click.Argument):
            made.append(str(value))
        else:
            for item in value if isinstance(value, tuple) else (value,):
                made.append(f"{parameter.opts[0]}={item}")
    return made


def _by_options(error: ConfigError | BindError, key: str | None) -> ConfigError | BindError:
    """The same error with the names of options, as there is no file whose keys could be named.
    `key` is what --key says."""
    if isinstance(error, BindError):
        # (no option shares a port)
        told = str(error).replace(f"listeners.{NAME}.bind", "--bind")
        error.strerror = told.partition(" (to share it")[0]
        return error
    return ConfigError(
        replace(one, path=_option(one, key), message=_said(one, key)) for one in error.problems)


def _said(problem: Problem, key: str | None) -> str:
    if key is None and problem.message.endswith("holds no private key in PEM"):
        return f"{problem.message}; name its file: --key FILE"
    if problem.path == f"listeners.{NAME}.tls" and problem.message.endswith(" }"):
        scheme = problem.message.partition("://")[0]
        return f"{scheme}:// needs a certificate: --cert FILE --key FILE"
    return re.sub("^tls belongs to (.*) bind is", r"it belongs to \1 --bind is", problem.message)


def _option(problem: Problem, key_file: str | None) -> str:
    path = problem.path
    key = path.split("[")[0]
    if key == f"listeners.{NAME}.tls" or key.startswith(f"listeners.{NAME}.tls."):
        of_key = key_file is not None and problem.message.startswith(f"{show(key_file)}: ")
        return "--key" if of_key or path.endswith(".key") else "--cert"
    if ".policy" in path or key.endswith(".routes"):
        return "--policy"
    return {
        f"listeners.{NAME}.bind": "--bind",
        f"pools.{NAME}.servers": "--server",
        f"pools.{NAME}.balance": "--balance",
    }.get(key, path)


def _from_options(
    bind: tuple[str, ...], server: tuple[str, ...], balance: str | None, policy: str | None,
    threads: int | str | None, certificate: dict[str, str] | None = None,
) -> dict[str, Any]:
    if not bind or not server:
        missing = [name for name, given in (("--bind", bind), ("--server", server)) if not given]
        raise click.UsageError(
            f"{' and '.join(missing)} missing; give a file (fastlb serve fastlb.toml), or:"
            " fastlb serve --bind tcp://127.0.0.1:8080 --server 127.0.0.1:9001"
        )
    pool: dict[str, Any] = {"servers": list(server)}
    if balance is not None:
        pool["balance"] = balance
    listener: dict[str, Any] = {"bind": list(bind), "pool": NAME}
    if certificate is not None:
        listener["tls"] = {"certificates": [certificate]}
    if policy is not None and bind[0].startswith(("http://", "https://")):
        listener["routes"] = [{"name": "policy", "policy": policy}]
    elif policy is not None:
        listener["policy"] = policy
    raw: dict[str, Any] = {"listeners": {NAME: listener}, "pools": {NAME: pool}}
    if threads is not None:
        raw["threads"] = threads
    return raw
