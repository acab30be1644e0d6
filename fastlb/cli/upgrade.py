"""`fastlb upgrade`."""

from __future__ import annotations

import socket

import click

from fastlb.cli.remote import Time

EXIT_NOT_RUNNING = 3
EXIT_FAILED = 1


@click.command("upgrade")
@click.option("--pid", type=int, help="The supervising process, if several are running.")
@click.option("--timeout", type=Time(), default="90s", show_default=True, metavar="TIME",
              help="How long to wait for the new process to be ready.")
def command(pid: int | None, timeout: float) -> int:
    """Start a new process in place of one that `fastlb serve --supervise` runs. The new one reads
    the program and the configuration again.

    The new process serves on the same sockets. When it is ready, the old one lets its connections
    finish. If it can't start, the old one keeps serving, and this command says why (exit 1). Exit 3
    if no supervised process is running.
    """
    from fastlb.process.channel import receive
    from fastlb.process.supervisor import NAME

    found = [pid] if pid is not None else supervisors()
    if len(found) > 1:
        raise click.UsageError(
            f"several are running: give --pid, one of {', '.join(map(str, found))}"
        )
    if not found:
        click.echo("no supervised process is running here; start one with: fastlb serve FILE"
                   " --supervise", err=True)
        return EXIT_NOT_RUNNING
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.settimeout(timeout)
        try:
            door.connect(f"\0{NAME}{found[0]}")
            heard = receive(door)
        except ConnectionRefusedError:
            click.echo(f"process {found[0]} is no fastlb serve --supervise", err=True)
            return EXIT_NOT_RUNNING
        except OSError as error:
            click.echo(f"no answer from process {found[0]}: {error}", err=True)
            return EXIT_FAILED
    if heard is None:
        click.echo(f"process {found[0]} belongs to another user", err=True)
        return EXIT_FAILED
    message, _ = heard
    if message.get("op") != "upgraded":
        click.echo(f"not upgraded: {message.get('why')}; the old process goes on", err=True)
        return EXIT_FAILED
    click.echo(f"upgraded: process {message.get('pid')} serves")
    return 0


def supervisors() -> list[int]:
    """The processes that supervise, by the names of their sockets."""
    from fastlb.process.supervisor import NAME

    found = set()
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        for line in file:
            name = line.rstrip("\n").split(" ")[-1]
            number = name.removeprefix(f"@{NAME}")
            if number != name and number.isdigit():
                found.add(int(number))
    return sorted(found)
