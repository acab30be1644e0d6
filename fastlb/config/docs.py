"""The reference of all keys, made from the model: `python -m fastlb.config.docs > docs/config.md`.

Meanings are the docstrings of the model's fields; defaults, bounds and reasons those of limits.py.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from fastlb.config import limits
from fastlb.config.admin import Admin, AdminBinds
from fastlb.config.base import Measure, Model
from fastlb.config.compare import Compare, CompareAny, Secured, Told
from fastlb.config.failing import Hedge, Limits, Outliers, Retry
from fastlb.config.health import Datagrams, Health
from fastlb.config.http import (
    Forwarded,
    HeaderEdits,
    Match,
    Mirror,
    Redirect,
    Respond,
    Rewrite,
    Route,
    Unavailable,
)
from fastlb.config.limits import Choice, Limit
from fastlb.config.model import (
    Binds,
    Config,
    Defaults,
    Dns,
    Keepalive,
    Listener,
    Pool,
    Server,
    Subset,
)
from fastlb.config.observing import AccessLog, Tracing
from fastlb.config.policy import Policy
from fastlb.config.proxy_protocol import ProxyProtocol
from fastlb.config.sniffing import Mqtt
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
    ("`subset = { ... }`", Subset),
    ("`[[listeners.NAME.routes]]`", Route),
    ("`match`", Match),
    ("`match.tls`", Secured),
    ("`match.proxy`", Told),
    ("`match.mqtt`", Mqtt),
    ("A comparison in `match`", Compare),
    ("A comparison in `match.tls`, `match.proxy` and `match.mqtt`", CompareAny),
    ("`redirect`", Redirect),
    ("`respond`", Respond),
    ("`policy = { ... }`", Policy),
    ("`rewrite`", Rewrite),
    ("`request_headers` and `response_headers`", HeaderEdits),
    ("`mirror`", Mirror),
    ("`forwarded = { ... }`", Forwarded),
    ("`[defaults]`", Defaults),
    ("`keepalive = { ... }`", Keepalive),
    ("`[dns]`", Dns),
    ("`access_log = { ... }`", AccessLog),
    ("`tracing = { ... }`", Tracing),
    ("`admin = { ... }`", Admin),
)

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
- **Names** of listeners and pools have letters, digits, `-`, `_` and `.`, {limits.NAME_MAX} at
  most.
- A file has {limits.FILE_BYTES_MAX >> 20} MiB at most, a pool {limits.SERVERS_MAX:,} servers.
"""


@dataclass(frozen=True)
class Key:
    """A row of the reference."""

    name: str
    meaning: str
    type: str
    default: str
    reason: str


def keys(model: type[Model]) -> Iterator[Key]:
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        said = list(_said(hints[name]))
        limit = next((one for one in said if isinstance(one, (Limit, Choice))), None)
        yield Key(
            field.alias or name,
            " ".join((field.description or "").split()),
            _type(hints[name], said),
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


def _type(hint: Any, said: list[Any]) -> str:
    measure = next((one for one in said if isinstance(one, Measure)), None)
    if measure is not None:
        low, high = measure.show(measure.limit.low), measure.show(measure.limit.high)
        return f"{measure.kind}, {low} to {high}"
    bare = _bare(hint)
    if limits.ADMIN in said:
        return "table, or `false`"
    if hint in (Binds, AdminBinds) or limits.TLS_ALPN in said or limits.TLS_OFFERED in said:
        return "text, or list of texts"
    limit = next((one for one in said if isinstance(one, Limit)), None)
    if bare is int and limit is not None:
        return f"number, {limit.low:,} to {limit.high:,}"
    if limit is limits.DNS_REFRESH or limits.SERVER_REFRESH in said:
        low, high = show_ms(limits.DNS_REFRESH.low), show_ms(limits.DNS_REFRESH.high)
        return f'`"ttl"`, or a duration, {low} to {high}'
    if limits.THREADS in said:
        return f'`"auto"`, or a number, 1 to {limits.THREADS_MAX}'
    if limits.MODE in said or limits.ADMIN_MODE in said:
        return 'text, such as `"0660"`'
    if limits.POLICY in said:
        return "text or table"
    if limits.KEEPALIVE in said:
        return "table, or `false`"
    if any(one is limits.HEALTH_GRPC for one in said):     # (others read the same)
        return "`true`, `false` or text"
    if limits.POOL_TLS in said or limits.TLS_TICKETS in said:
        return "`true`, `false` or table"
    return _plain_type(bare)


def _plain_type(bare: Any) -> str:
    if get_origin(bare) is Literal:
        return " or ".join(_written(option) for option in get_args(bare))
    if get_origin(bare) is list:
        if _bare(get_args(bare)[0]) is Server:
            return "list of texts or tables"
        if _bare(get_args(bare)[0]) is Certificate:
            return "list of tables"
        return "list of texts"
    if get_origin(bare) is dict or (isinstance(bare, type) and issubclass(bare, Model)):
        return "table"
    if bare is Any:
        return "text, or in Python a function"
    return {bool: "`true` or `false`", str: "text", int: "number", float: "number"}[bare]


def _bare(hint: Any) -> Any:
    """A type without annotations and None."""
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        return _bare(options[0])
    return hint


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
        parts.append("\n| key | meaning | type | default | why |\n|---|---|---|---|---|\n")
        parts += [
            f"| `{key.name}` | {key.meaning} | {key.type} | {key.default} | {key.reason} |\n"
            for key in keys(model)
        ]
    return "".join(parts)


if __name__ == "__main__":
    print(text(), end="")
