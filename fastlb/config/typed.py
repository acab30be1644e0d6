"""The keywords of Python as type checkers see them, made from the model:
`python -m fastlb.config.typed` writes fastlb/keywords.
"""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastlb.config.base import Model
from fastlb.config.conditions import Conditions, Match
from fastlb.config.docs import SECTIONS, properties
from fastlb.config.failing import Retry
from fastlb.config.health import Health
from fastlb.config.http import Route
from fastlb.config.model import Config, Listener, Pool, Server
from fastlb.config.networks import Networks
from fastlb.config.policy import Policy
from fastlb.config.rate_limits import RateLimit

PLACE = Path(__file__).resolve().parents[1] / "keywords"
COLUMNS = 100
# Those that a program can import, and so may hand over instead of a table.
PUBLIC = (Health, Retry)
# Keys that take what a Balancer has made, and its class.
HANDLES = {"rate_limit": "RateLimit", "deny": "Networks", "allow": "Networks"}
# Beside parameters, the rest of these are keywords.
PARTS: tuple[tuple[str, str, type[Model], tuple[str, ...]], ...] = (
    ("PolicyKeywords", "PolicyKeys", Policy, ("call", "on_error")),
    ("OwnRouteKeys", "RouteKeys", Route, ("name", "match", "pool", "policy")),
    ("PoolKeywords", "", Pool, ("servers", "balance")),
    ("ListenKeywords", "", Listener, ("bind", "pool")),
    ("RateLimitKeywords", "", RateLimit, ("limit",)),
    ("NetworksKeywords", "", Networks, ()),
    ("BalancerKeywords", "", Config, ("threads", "listeners", "pools", "rate_limits", "networks")),
)
HEAD = """\
\"\"\"{what}

Made by `python -m fastlb.config.typed` from the model that checks a configuration, for type
checkers; docs/config.md has the meanings.
\"\"\"

from __future__ import annotations

from typing import {typing}

if TYPE_CHECKING:
{imports}
"""


def texts() -> dict[str, str]:
    """By file: what stands in it."""
    return {"__init__.py": _keywords(), "tables.py": _tables()}


def _keywords() -> str:
    parts: list[str] = []
    for base, whole, model, apart in PARTS:
        parts += _class(base, ["TypedDict"], _keys(model, but=apart))
        if whole:
            parts += _class(whole, [base], _keys(model, only=apart))
    parts += _class("RouteKeywords", ["PolicyKeywords", "OwnRouteKeys"], ())
    body = "".join(parts)
    own = {whole for _, whole, _, _ in PARTS}
    used = sorted(name for name in set(re.findall(r"\b\w+Keys\b", body)) - own
                  if f"class {name}(" not in body)
    imports = [
        "from collections.abc import Callable, Mapping\n",
        "from fastlb.config.failing import Retry", "from fastlb.config.health import Health",
        "from fastlb.handles import Networks, RateLimit",
        "from fastlb.keywords.tables import (", *(f"    {name}," for name in used), ")",
    ]
    what = "Keywords of `Balancer` and of its methods, and of `Listener.route()`."
    return _head(what, imports, "TYPE_CHECKING, Any, Literal, TypedDict") + body


def _tables() -> str:
    parts = list(_class("ConditionsKeys", ["TypedDict"], _keys(Conditions)))
    parts.append('\n\n_Not = TypedDict("_Not", {"not": ConditionsKeys}, total=False)\n')
    parts += _class("MatchKeys", ["ConditionsKeys", "_Not"], ())
    # (a rate limit is also a table, written in a route)
    done = (*(model for _, _, model, _ in PARTS if model is not RateLimit), Match, Server)
    for _, model in SECTIONS:
        if model not in done:
            parts += _class(f"{model.__name__}Keys", ["TypedDict"], _keys(model))
    imports = ["from collections.abc import Mapping\n", "from fastlb.handles import RateLimit"]
    head = _head("Tables inside of keywords.", imports, "TYPE_CHECKING, Literal, TypedDict")
    return head + "".join(parts)


def _head(what: str, imports: list[str], typing: str) -> str:
    inner = textwrap.indent("\n".join(imports), "    ")
    return HEAD.format(what=what, typing=typing, imports=inner)


def _class(name: str, bases: list[str], keys: Iterable[tuple[str, str]]) -> Iterator[str]:
    keys = list(keys)
    words = ", ".join(f'"{key}": {kind}' for key, kind in keys if keyword.iskeyword(key))
    if words:                           # (no class has an attribute that is called `for`)
        yield f'\n\n_{name} = TypedDict("_{name}", {{{words}}}, total=False)\n'
        bases = [f"_{name}"]
    yield f"\n\nclass {name}({', '.join(bases)}, total=False):\n"
    yield from [_line(key, kind) for key, kind in keys if not keyword.iskeyword(key)] \
        or ["    pass\n"]


def _line(key: str, kind: str) -> str:
    line = f"    {key}: {kind}"
    if len(line) > COLUMNS and "Literal" not in kind:
        parts = kind.split(" | list[")
        return (f"    {key}: (\n        {parts[0]}\n        | list[{parts[1]}\n    )\n")
    if len(line) > COLUMNS:             # (a long choice)
        inner = textwrap.fill(kind[len("Literal["):-1], COLUMNS - 8)
        line = f"    {key}: Literal[\n{textwrap.indent(inner, ' ' * 8)}\n    ]"
    return line + "\n"


def _keys(
    model: type[Model], but: Collection[str] = (), only: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    hints = get_type_hints(model, include_extras=True)
    nodes = properties(model)
    for name, field in model.model_fields.items():
        key = field.alias or name
        if name not in but and (not only or name in only):
            kinds = list(dict.fromkeys(_kinds(nodes[key], list(_models(hints[name])))))
            kind = " | ".join(kinds)
            if key in HANDLES:              # (where a name can stand, so can what has it)
                kind = re.sub(r"\bstr\b", f"str | {HANDLES[key]}", kind)
            yield key, kind


def _models(hint: Any) -> Iterator[type[Model]]:
    """The tables that a type allows."""
    if get_origin(hint) is Annotated:
        yield from _models(get_args(hint)[0])
    elif isinstance(hint, type) and issubclass(hint, Model):
        yield hint
    else:
        for inner in get_args(hint):
            yield from _models(inner)


def _kinds(node: dict[str, Any], models: list[type[Model]]) -> Iterator[str]:
    kind = node.get("type")
    options = node.get("anyOf", ())
    if options:
        listed = any(option.get("type") == "array" for option in options)
        for option in options:              # (where a list is possible, its names are texts)
            yield from ["str"] if listed and "enum" in option else _kinds(option, models)
    elif "enum" in node or "const" in node:
        yield f"Literal[{', '.join(map(_written, node.get('enum', [node.get('const')])))}]"
    elif kind == "callable":
        yield "Callable[..., Any]"
    elif kind == "array":
        items = {} if "enum" in node["items"] else node["items"]
        item = " | ".join(dict.fromkeys(_kinds(items, models))) or "str"
        yield f"list[{item}] | tuple[{item}, ...]"
    elif "$ref" in node or (kind == "object" and "additionalProperties" not in node):
        yield from (one.__name__ for one in models if one in PUBLIC)
        yield from (f"{one.__name__}Keys" for one in models) if models else ("Mapping[str, Any]",)
    elif kind == "object":
        inner = " | ".join(dict.fromkeys(_kinds(node["additionalProperties"], models)))
        yield f"Mapping[str, {inner}]"
    elif kind is not None and kind != "null":
        yield {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}[kind]


def _written(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    for file, text in texts().items():
        (PLACE / file).write_text(text)
