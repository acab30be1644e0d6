"""The reference of all keys, made from the model: `python -m fastlb.config.docs > docs/config.md`.

Meanings are the docstrings of the model's fields; defaults, bounds and reasons those of limits.py.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from fastlb._core.base.balancing import BALANCES
from fastlb._core.facts.registry import FACTS
from fastlb.config import limits
from fastlb.config.admin import Admin
from fastlb.config.base import Measure, Model
from fastlb.config.compare import Compare, Secured, Told
from fastlb.config.conditions import OTHER_TABLES, Match
from fastlb.config.effects import shown_for
from fastlb.config.failing import Hedge, Limits, Outliers, Retry
from fastlb.config.geography import Geo, Nearest, Override
from fastlb.config.health import Datagrams, Health
from fastlb.config.http import (
    Forwarded,
    HeaderEdits,
    Redirect,
    Respond,
    Rewrite,
    Route,
    Unavailable,
)
from fastlb.config.keepalive import Keepalive
from fastlb.config.limits import Choice, Limit
from fastlb.config.meanings import meanings
from fastlb.config.model import (
    Config,
    Defaults,
    Dns,
    Listener,
    Pool,
    Server,
    Subset,
)
from fastlb.config.networks import Networks
from fastlb.config.observing import AccessLog, Tracing
from fastlb.config.pages import ErrorPage
from fastlb.config.parts import PARTS
from fastlb.config.policy import Policy
from fastlb.config.proxy_protocol import ProxyProtocol
from fastlb.config.sniffing import Mqtt
from fastlb.config.sources import Ban, ConnectionRate, RequestRate, Tarpit
from fastlb.config.sticky import Sticky
from fastlb.config.tls import Certificate, ServerTls, Tickets, Tls
from fastlb.config.units import show_ms

SECTIONS: tuple[tuple[str, type[Model]], ...] = (
    ("Top level", Config),
    ("`[listeners.NAME]`", Listener),
    ("`tls = { ... }` of a listener", Tls),
    ("`certificates` and `certificate`", Certificate),
    ("`tickets = { ... }`", Tickets),
    ("`proxy_protocol = { ... }` of a listener", ProxyProtocol),
    ("`[pools.NAME]`", Pool),
    ("A server of a pool", Server),
    ("`tls = { ... }` of a pool", ServerTls),
    ("`health = { ... }`", Health),
    ("`udp = { ... }` of `health`", Datagrams),
    ("`outliers = { ... }`", Outliers),
    ("`retry = { ... }`", Retry),
    ("`hedge = { ... }`", Hedge),
    ("`limits = { ... }`", Limits),
    ("`unavailable = { ... }`", Unavailable),
    ("`sticky = { ... }`", Sticky),
    ("`nearest = { ... }`", Nearest),
    ("`subset = { ... }`", Subset),
    ("`[[listeners.NAME.routes]]`", Route),
    ("`match`", Match),
    ("`match.tls`", Secured),
    ("`match.proxy`", Told),
    ("`match.mqtt`", Mqtt),
    *((f"`match.{kind}`", table) for kind, table in OTHER_TABLES.items()),
    ("A comparison in `match`", Compare),
    ("`redirect`", Redirect),
    ("`respond`", Respond),
    ("`policy = { ... }`", Policy),
    ("`rewrite`", Rewrite),
    ("`request_headers` and `response_headers`", HeaderEdits),
    ("A page of `errors`", ErrorPage),
    *(section for part in PARTS.values() for section in part.tables),
    ("`forwarded = { ... }`", Forwarded),
    ("`max_connection_rate_per_source = { ... }` and `max_session_rate_per_source = { ... }`",
     ConnectionRate),
    ("`tarpit = { ... }`", Tarpit),
    ("`ban = { ... }`", Ban),
    ("`min_request_rate = { ... }`", RequestRate),
    ("`[networks.NAME]`", Networks),
    ("`[geo]`", Geo),
    ("An override of `geo`", Override),
    ("`[defaults]`", Defaults),
    ("`keepalive = { ... }`", Keepalive),
    ("`[dns]`", Dns),
    ("`access_log = { ... }`", AccessLog),
    ("`tracing = { ... }`", Tracing),
    ("`admin = { ... }`", Admin),
)

ALL = "all"                     # protocols
# In Python they can be filled while running.
REQUIRED_IN_FILES = ((Config, "listeners"), (Config, "pools"), (Pool, "servers"))
EITHER = ((Server, "address"), (Server, "dns"))

INTRODUCTION = f"""\
# Configuration

Made by `python -m fastlb.config.docs` from the model that checks a configuration.

A configuration is a TOML file, or the same keys as keywords in Python. `fastlb check FILE` prints
every value that holds in the end and where it came from, or every mistake with its line.
`fastlb schema` prints a JSON schema for editors. Complete files are in
[examples/](../examples): [minimal.toml](../examples/minimal.toml),
[tcp.toml](../examples/tcp.toml) and, with every key, [full.toml](../examples/full.toml).

- **Durations** have a unit: `ms`, `s`, `m`, `h` or `d`, as in `"500ms"` or `"1.5s"`. **Sizes**
  too: `B`, `KiB`, `MiB`, `GiB` (powers of 1024) or `KB`, `MB`, `GB` (of 1000). A bare number is an
  error.
- **Addresses** of listeners have a scheme, `tcp://HOST:PORT` or `http://HOST:PORT`, and `tls://`
  or `https://` for the same over TLS; those of servers have none, `HOST:PORT`. IPv6 stands in
  brackets, `[::1]:8080`. `unix:/PATH` is a unix socket.
- **`${{env:NAME}}`** and **`${{file:/path}}`** work in any text: an environment variable, and what
  a file contains, without the space around it. Either has {limits.TEXT_MAX} bytes at most.
- **Precedence**: a listener's or pool's own value, then `[defaults]`, then the default given here.
- **For**: the protocols for which a key works, over TLS or not. A key that is given where it has
  no effect is a warning of `fastlb check` and `fastlb serve`.
- **Names** of listeners and pools have letters, digits, `-`, `_` and `.`, {limits.NAME_MAX} at
  most.
- A file has {limits.FILE_BYTES_MAX >> 20} MiB at most, a pool {limits.SERVERS_MAX:,} servers.
"""


@dataclass(frozen=True)
class Key:
    """A row of the reference."""

    name: str
    shown_for: str              # the protocols that it is for; "": all
    meaning: str
    type: str
    default: str
    reason: str


def keys(model: type[Model]) -> Iterator[Key]:
    hints = get_type_hints(model, include_extras=True)
    nodes = properties(model)
    meaning = meanings(model)
    for name, field in model.model_fields.items():
        said = list(_said(hints[name]))
        limit = next((one for one in said if isinstance(one, (Limit, Choice))), None)
        yield Key(
            field.alias or name,
            shown_for(model, name),
            " ".join(meaning.get(name, "").split()),
            _type(nodes[field.alias or name], said),
            _default(model, name, field.is_required(), limit, said),
            limit.reason if limit else "",
        )


def _said(hint: Any) -> Iterator[Any]:
    """What annotations say about a type, the outermost first: limits, choices and measures."""
    if get_origin(hint) is Annotated:
        inner, *said = get_args(hint)
        # The last is the one that was added last, such as a key's own limit on a shared type.
        for one in reversed(said):
            yield one
            if isinstance(one, Measure):
                yield one.limit
        yield from _said(inner)
    elif get_origin(hint) in (Union, types.UnionType):
        for option in get_args(hint):
            yield from _said(option)


def properties(model: type[Model]) -> dict[str, Any]:
    """Each key's part of the JSON schema."""
    made = model.model_json_schema()
    if "$ref" in made:                      # (as of a table that contains itself)
        made = made["$defs"][made["$ref"].rpartition("/")[2]]
    found: dict[str, Any] = made["properties"]
    if model is Policy:
        found["call"] = {"anyOf": [{"type": "string"}, {"type": "callable"}]}
    if model is Pool:                       # (an address alone is a server, too)
        found["servers"]["items"] = {"anyOf": [{"type": "string"}, {"type": "object"}]}
    return found


def _type(node: dict[str, Any], said: list[Any]) -> str:
    """What a value may be: by its part of the JSON schema, but for what has a unit of its own."""
    measure = next((one for one in said if isinstance(one, Measure)), None)
    if measure is not None:
        low, high = measure.show(measure.limit.low), measure.show(measure.limit.high)
        return f"{measure.kind}, {low} to {high}"
    if any(one is limits.DNS_REFRESH or one is limits.SERVER_REFRESH for one in said):
        low, high = show_ms(limits.DNS_REFRESH.low), show_ms(limits.DNS_REFRESH.high)
        return f'`"ttl"`, or a duration, {low} to {high}'
    if any(one is limits.MODE or one is limits.ADMIN_MODE for one in said):
        return 'text, such as `"0660"`'
    return _either(list(dict.fromkeys(_kinds(node))))


def _kinds(node: dict[str, Any]) -> Iterator[str]:
    """Each kind of value that a schema allows, in words."""
    options = node.get("anyOf")
    if options is not None:
        listed = any(option.get("type") == "array" for option in options)
        for option in options:              # (where a list is possible, its names are texts)
            yield from ["text"] if listed and "enum" in option else _kinds(option)
    elif "$ref" in node:
        yield "table"
    elif "enum" in node or "const" in node:
        yield from map(_written, node.get("enum", [node.get("const")]))
    elif node.get("type") == "array":
        items = [kind for kind in _kinds(node["items"]) if not kind.startswith("`")]
        yield f"list of {' or '.join(f'{item}s' for item in items) or 'texts'}"
    elif node.get("type") == "boolean":
        yield from ("`true`", "`false`")
    elif node.get("type") in ("integer", "number"):
        low, high = (_number(node.get(bound)) for bound in ("minimum", "maximum"))
        yield f"number, {low} to {high}" if low and high else "number"
    elif node.get("type") != "null":
        yield {"string": "text", "object": "table", "callable": "in Python a function"}[
            node["type"]]


def _number(n: Any) -> str:
    return "" if n is None else f"{n:,}" if isinstance(n, int) else f"{n:g}"


def _either(kinds: list[str]) -> str:
    """As a sentence has it: "text, list of texts or table"."""
    if len(kinds) < 2:
        return "".join(kinds)
    comma = "," if " " in kinds[-2] + kinds[-1] else ""
    return f"{', '.join(kinds[:-1])}{comma} or {kinds[-1]}"


def _default(
    model: type[Model], name: str, required: bool, limit: Limit | Choice | None, said: list[Any]
) -> str:
    if required or (model, name) in REQUIRED_IN_FILES:
        return "required"
    if (model, name) in EITHER:
        return "one of the two is required"
    own = model.model_fields[name].default
    if isinstance(own, (str, bool, int)):
        return _written(own)
    measure = next((one for one in said if isinstance(one, Measure)), None)
    if measure is not None:
        return f'`"{measure.show(measure.limit.default)}"`'
    if limit is None or limit.default is None or limit.default == 0:
        # False is a default, and 0 means that there is none.
        return "`false`" if limit is not None and limit.default is False else "none"
    return _written(limit.default)


def _written(value: str | bool | int | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{one}"' for one in value) + "]`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{str(value).lower()}`"


def text() -> str:
    parts = [INTRODUCTION]
    for title, model in SECTIONS:
        parts.append(f"\n## {title}\n\n{' '.join((model.__doc__ or '').split())}\n")
        rows = list(keys(model))
        some = any(key.shown_for for key in rows)
        parts.append(f"\n| key |{' for |' if some else ''} meaning | type | default | why |\n"
                     f"|---|{'---|' if some else ''}---|---|---|---|\n")
        parts += [
            f"| `{key.name}` |{f' {key.shown_for or ALL} |' if some else ''} {key.meaning}"
            f" | {key.type} | {key.default} | {key.reason} |\n"
            for key in rows
        ]
    return "".join([*parts, *_facts(), *_balances()])


FACTS_INTRODUCTION = """
## Facts

What is known of a request or a connection has one name everywhere: in `hash_on`, `split_on` and
`cache_on`, in `{variables}`, and under `match`. Those of TLS and of proxies are fields of the
access log, too, with an underscore for the dot (`tls_sni`), and attributes of a policy's request.

| fact | what it is | not for |
|---|---|---|
"""
BALANCES_INTRODUCTION = """
## Balancing methods

[policies.md](policies.md) compares them.

| `balance` | picks |
|---|---|
"""


def _facts() -> Iterator[str]:
    yield FACTS_INTRODUCTION
    for name, fact in FACTS.items():
        missing = [
            "TCP and UDP" if not fact.of_connections else "",
            "HTTP" if fact.in_bytes else "",
            "variables" if fact.in_match or fact.in_bytes else "",
            "keys" if fact.in_match or fact.in_templates else "",
        ]
        shown = f"{name}.NAME" if fact.is_named else name
        yield f"| `{shown}` | {fact.meaning} | {', '.join(filter(None, missing))} |\n"


def _balances() -> Iterator[str]:
    yield BALANCES_INTRODUCTION
    for name, method in BALANCES.items():
        yield f"| `{name}` | {method.meaning} |\n"


if __name__ == "__main__":
    print(text(), end="")
