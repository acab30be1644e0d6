"""`fastlb explain`."""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from fastlb.cli.remote import admin_option
from fastlb.errors import ConfigError

if TYPE_CHECKING:
    from fastlb.config.model import Config
    from fastlb.explain.model import Explanation


def _pair(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = []
    for value in values:
        name, colon, rest = value.partition(":")
        if not colon or not name:
            raise click.BadParameter(f'{value!r} is not like "X-User-Tier: premium"')
        pairs.append((name, rest.strip()))
    return pairs


def _body(_: click.Context, __: click.Parameter, value: str | None) -> bytes:
    if value is None:
        return b""
    if not value.startswith("@"):
        return value.encode("utf-8", "surrogateescape")
    if value == "@-":
        return sys.stdin.buffer.read()
    try:
        with open(value[1:], "rb") as file:
            return file.read()
    except OSError as error:
        raise click.BadParameter(f"{value[1:]}: {error.strerror}") from None


@click.command("explain")
@click.argument("config")
@click.argument("url")
@click.option("-X", "--method", metavar="METHOD",
              help="The method; by default GET, or POST with a body.")
@click.option(
    "-H", "--header", "headers", multiple=True, callback=_pair, metavar="'NAME: VALUE'",
    help="A header field. Repeatable.",
)
@click.option(
    "-d", "--data", "body", callback=_body, metavar="TEXT|@FILE",
    help="The body; for tcp, what the client sends first. @- is stdin.",
)
@click.option(
    "--from", "client", default="127.0.0.1", show_default=True, metavar="IP[:PORT]",
    help='The client\'s address; "unix:" for a unix socket.',
)
@click.option(
    "--sni", "tls_sni", metavar="NAME",
    help="The name the client asks for over TLS; default: the URL's.",
)
@click.option(
    "--client-subject", "tls_client_subject", metavar="TEXT",
    help="Subject of the client's certificate, such as CN=gateway,O=Example.",
)
@click.option(
    "--client-fingerprint", "tls_client_fingerprint", metavar="HEX",
    help="SHA-256 of the client's certificate.",
)
@click.option(
    "--proxy-authority", metavar="NAME", help="The name in a PROXY header (v2).",
)
@click.option("--proxy-unique-id", metavar="TEXT", help="The connection's id in a PROXY header.")
@click.option("--proxy-alpn", metavar="NAME", help="The ALPN protocol in a PROXY header.")
@click.option("--proxy-vpce", metavar="ID", help="The VPC endpoint (AWS) in a PROXY header.")
@click.option("--proxy-dst", metavar="IP:PORT", help="The destination in a PROXY header.")
@click.option(
    "--says", "says_protocol", metavar="PROTOCOL",
    help="The protocol of a tcp client, such as mqtt.",
)
@click.option(
    "--alpn", "says_alpn", metavar="NAMES", help="Protocols offered over TLS, such as h2,http/1.1.",
)
@click.option("--client-id", "says_client_id", metavar="TEXT", help="MQTT client id.")
@click.option("--username", "says_username", metavar="TEXT", help="MQTT user name.")
@click.option("--level", "says_level", metavar="VERSION", help="MQTT version: 3.1, 3.1.1 or 5.")
@click.option("--listener", metavar="NAME",
              help="Name of the listener; default: the one the URL fits.")
@click.option(
    "--live", is_flag=True, help="Ask the running process: its servers have their present states.",
)
@admin_option
@click.option("--call-policy", is_flag=True, help="Call the route's policy, if it has one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not a tree.")
def command(
    config: str, url: str, method: str | None, headers: list[tuple[str, str]], body: bytes,
    client: str, listener: str | None, live: bool, admin: str | None, call_policy: bool,
    as_json: bool, **facts: str | None,
) -> int:
    """Say where a request for URL would go by the file CONFIG, and why. Nothing is sent.

    URL is a whole one, a path for the first http listener, tcp://HOST:PORT or udp://HOST:PORT. With
    --live, CONFIG only says where the admin API is, if neither --admin nor $FASTLB_ADMIN does.
    """
    from fastlb.config.effective import effective
    from fastlb.config.reader import load
    from fastlb.explain.explainer import Explainer

    known = {of: _facts(of, facts) for of in ("tls", "proxy", "says")}
    method = method or ("POST" if body else "GET")
    made = load(config)
    if live and call_policy:
        raise click.UsageError(
            "--call-policy doesn't go with --live: a running process only calls its policies for"
            " requests that have come; without --live, those of CONFIG are called here"
        )
    try:
        if live:
            asked = {"headers": [list(pair) for pair in headers], "client": client, **_sent(body),
                     **{of: found for of, found in known.items() if found},
                     **({"listener": listener} if listener is not None else {})}
            explanation = _asked(admin or _admin_of(made), method, url, asked)
        else:
            explainer = Explainer.offline(effective(made), functions=call_policy)
            explanation = explainer.explain(
                method, url, headers, body, client, listener, call_policy, **known)
    except ConfigError:
        raise
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    show(explanation, as_json)
    return 0


def _facts(of: str, given: dict[str, str | None]) -> dict[str, str]:
    """Those that are named, without what they are of."""
    return {name.removeprefix(f"{of}_"): value for name, value in given.items()
            if name.startswith(f"{of}_") and value is not None}


def _sent(body: bytes) -> dict[str, str]:
    """As JSON can have it."""
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _admin_of(config: Config) -> str | None:
    if "FASTLB_ADMIN" in os.environ or not config.admin:
        return None
    return config.admin.bind[0]


def _asked(admin: str | None, method: str, url: str, asked: dict[str, Any]) -> Explanation:
    from fastlb.cli.remote import client
    from fastlb.explain.model import Explanation

    return Explanation.from_json(client(admin).explain(method, url, **asked))


def show(explanation: Explanation, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(explanation.as_json(), indent=2))
        return
    from rich.console import Console

    from fastlb.explain.shown import as_text, as_tree

    if sys.stdout.isatty():
        Console(highlight=False, emoji=False).print(as_tree(explanation))
    else:
        click.echo(as_text(explanation))
