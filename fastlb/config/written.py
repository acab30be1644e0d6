"""A model written down again: as plain values, and as TOML. Secrets stay out of both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastlb.config.model import Config

HIDDEN = "(hidden)"
SECRETS = ("token", "secret", "password")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def plain(config: Config) -> dict[str, Any]:
    """What was given, as JSON has it; instead of secrets HIDDEN, and functions by their names."""
    made = config.model_dump(mode="python", exclude_unset=True, by_alias=True)
    return {key: _plain(key, value) for key, value in made.items()}


def _plain(key: str, value: Any) -> Any:
    if key in SECRETS and value:
        return [HIDDEN for _ in value] if isinstance(value, (list, tuple)) else HIDDEN
    if isinstance(value, Mapping):
        return {str(k): _plain(str(k), v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain("", one) for one in value]
    if callable(value):
        return f"{value.__module__}:{value.__qualname__}"
    return value


def toml(values: Mapping[str, Any]) -> str:
    """Plain values as TOML: tables of the first two levels as sections, what is deeper inline."""
    return "\n".join(_sections(values, ())).lstrip("\n") + "\n"


def _sections(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    def is_section(value: Any) -> bool:
        return isinstance(value, Mapping) and len(path) < 2 and bool(value)

    for key, value in values.items():
        if not is_section(value):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in values.items():
        if is_section(value):
            inner = (*path, key)
            if any(not isinstance(one, Mapping) for one in value.values()) or len(inner) == 2:
                yield f"\n[{'.'.join(map(_key, inner))}]"
            yield from _sections(value, inner)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
