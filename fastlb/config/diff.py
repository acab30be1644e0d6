"""What is different between two configurations: what holds in the end, key by key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from fastlb.config.base import Measure, Model
from fastlb.config.http import HeaderEdits, Route
from fastlb.config.limits import Choice, Limit
from fastlb.config.model import Config, Defaults, Listener, Server
from fastlb.config.pages import ErrorPage
from fastlb.config.tls import Certificate, File, ServerTls, Tickets, Tls

SECRETS = ("secret", "secrets", "token", "password")    # keys whose values are nobody's business


@dataclass(frozen=True)
class Difference:
    """One thing that was `added`, `removed` or `changed`, or `set` while running, whatever a
    configuration says. `path` is the key with dots, where routes stand by their names and servers
    by their addresses; `before` and `after` are as they would be written, and None where there was
    or is nothing."""

    kind: str
    path: str
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        if self.kind == "changed":
            return f"~ {self.path}: {_shown(self.before)} -> {_shown(self.after)}"
        if self.kind == "set":
            return f"* {self.path}: {_shown(self.after)} (set while running)"
        sign, value = ("+", self.after) if self.kind == "added" else ("-", self.before)
        return f"{sign} {self.path}" + ("" if value is None else f": {_shown(value)}")

    def as_json(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items()
                if value is not None or key in ("kind", "path")}


@dataclass(frozen=True)
class _Leaf:
    """A value as it is written, and as it counts ("1s" is "1000ms")."""

    written: Any
    counts: Any


def diff(old: Config, new: Config) -> list[Difference]:
    """What is different, in the order of keys. A listener, route, pool or server that is new or
    gone is one difference. `[defaults]` shows where it makes a difference."""
    before, after = _flat(old), _flat(new)
    found: list[Difference] = []
    whole: list[str] = []           # of these, no single keys are told
    for path in sorted(before.keys() | after.keys(), key=_order):
        if any(path.startswith(f"{one}.") for one in whole):
            continue
        if path not in before or path not in after:
            kind = "added" if path in after else "removed"
            leaf = after.get(path) or before[path]
            value = None if leaf.counts is _THING else leaf.written
            pair = (None, value) if kind == "added" else (value, None)
            found.append(Difference(kind, path, *pair))
            if leaf.counts is _THING:
                whole.append(path)
        elif before[path].counts != after[path].counts:
            found.append(Difference(
                "changed", path, before[path].written, after[path].written))
    return found


_THING = object()       # a listener, route, pool or server: there, or not


def _order(path: str) -> tuple[int, str]:
    """Keys of the process, listeners, pools."""
    place = 1 if path.startswith("listeners.") else 2 if path.startswith("pools.") else 0
    return place, path


def _flat(config: Config) -> dict[str, _Leaf]:
    found: dict[str, _Leaf] = {}
    for name, field in type(config).model_fields.items():
        if name not in ("defaults", "listeners", "pools"):
            found.update(_value(name, getattr(config, name), field, None))
    for kind in ("listeners", "pools"):
        for name, part in getattr(config, kind).items():
            found[f"{kind}.{name}"] = _Leaf(None, _THING)
            found.update(_model(f"{kind}.{name}", part, config.defaults))
    return found


def _model(path: str, model: Model, defaults: Defaults | None) -> Iterator[tuple[str, _Leaf]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if defaults is not None and name in MERGED:
            if isinstance(model, Listener):
                value = _merged(value, getattr(defaults, name))
        elif value is None and defaults is not None:
            value = getattr(defaults, name, None)
        yield from _value(f"{path}.{name}", value, field, None)


# Keys of which a listener's own and those of the defaults hold together. (Pools get what the
# defaults say by way of the listener.)
MERGED = ("request_headers", "response_headers", "errors")


def _merged(own: Any, default: Any) -> Any:
    """As a table: what the defaults say, and over it what the listener says."""
    if isinstance(own, HeaderEdits) or isinstance(default, HeaderEdits):
        upper, lower = (one or HeaderEdits() for one in (own, default))
        decided = {*upper.set, *upper.remove}
        return HeaderEdits(
            set={**{k: v for k, v in lower.set.items() if k not in decided}, **upper.set},
            add={**{k: v for k, v in lower.add.items() if k not in decided}, **upper.add},
            remove=[*(one for one in lower.remove if one not in decided), *upper.remove],
        )
    return {**(default or {}), **(own or {})} or None


def _value(
    path: str, value: Any, field: FieldInfo | None, defaults: Defaults | None
) -> Iterator[tuple[str, _Leaf]]:
    if value is None and field is not None:
        value = _built_in(field)
    if field is not None and isinstance(value, bool) and path.endswith((".tls", ".tickets")):
        value = (ServerTls() if path.endswith(".tls") else Tickets()) if value else None
    if isinstance(value, Certificate):
        yield from _certificate(path, value)
    elif isinstance(value, Model):
        if isinstance(value, (Tls, ServerTls, Tickets)):
            yield path, _Leaf(None, _THING)
        yield from _model(path, value, defaults)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _value(f"{path}.{name}", item, None, None)
    elif isinstance(value, Sequence) and value and isinstance(value[0], (Server, Route)):
        for i, item in enumerate(value):
            name = item.name if isinstance(item, Route) else item.address or item.dns
            own = f"{path}.{name}"
            yield own, _Leaf(None, _THING)
            yield from _model(own, item, None)
            if isinstance(item, Route):
                # The order of writing decides between routes that are equally exact.
                yield f"{own}.place", _Leaf(i + 1, i + 1)
    elif isinstance(value, Sequence) and value and isinstance(value[0], Certificate):
        for i, item in enumerate(value):
            own = f'{path}["{item.cert}"]'
            yield from _certificate(own, item)
            yield f"{own}.place", _Leaf(i + 1, i + 1)       # the first is shown to who asks nobody
    elif value is not None and value != []:
        if path.rpartition(".")[2] in SECRETS:
            yield path, _Leaf("(secret)", value)
        else:
            yield path, _Leaf(plain(_printed(value)), _counting(_printed(value), field))


def _certificate(path: str, one: Certificate) -> Iterator[tuple[str, _Leaf]]:
    """It is known by its fingerprint. What a key contains is never told: another one would have
    another certificate."""
    yield path, _Leaf(None, _THING)
    print_ = f"sha256:{one.fingerprint}"
    yield f"{path}.fingerprint", _Leaf(print_, print_)
    for key in ("key", "ocsp"):
        value = getattr(one, key)
        if value is not None:
            shown = value if key == "key" else _printed(value)
            yield f"{path}.{key}", _Leaf(str(shown), str(shown))
    if one.password is not None:
        yield f"{path}.password", _Leaf("(secret)", one.password)


def _printed(value: Any) -> Any:
    """Files with the fingerprints of what is in them, as that counts too."""
    if isinstance(value, File):
        return f"{value} (sha256:{hashlib.sha256(value.data).hexdigest()})"
    if isinstance(value, list):
        return [_printed(item) for item in value]
    if isinstance(value, ErrorPage):
        return {key: _printed(getattr(value, key)) for key in sorted(value.model_fields_set)}
    return value


def _built_in(field: FieldInfo) -> Any:
    """What holds where nothing is said."""
    for one in _annotations(field):
        if isinstance(one, Measure) and one.limit.default:
            return one.show(one.limit.default)
        if isinstance(one, Choice):
            return one.default
        if isinstance(one, Limit) and one.default:
            return one.default
    return None


def _annotations(field: FieldInfo) -> Iterator[Any]:
    yield from field.metadata
    for inner in getattr(field.annotation, "__args__", ()):
        yield from getattr(inner, "__metadata__", ())


def _counting(value: Any, field: FieldInfo | None) -> Any:
    for one in _annotations(field) if field is not None else ():
        if isinstance(one, Measure) and isinstance(value, str):
            return one.parse(value)
    return plain(value)


def plain(value: Any) -> Any:
    """As JSON has it; functions by their names."""
    if isinstance(value, Model):
        return {key: plain(item) for key, item in value.model_dump(exclude_unset=True).items()}
    if isinstance(value, Mapping):
        return {key: "(secret)" if key in SECRETS else plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if callable(value):
        return f"{getattr(value, '__module__', '?')}:{getattr(value, '__qualname__', value)}"
    return value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_shown(item)}' for key, item in value.items())} }}"
    return "none" if value is None else str(value)


def overlaid(overlay: Mapping[str, Mapping[str, Any]]) -> list[Difference]:
    """What was set while running and holds over any configuration, as `Balancer.overlay` has it."""
    found = []
    for pool, own in sorted(overlay.items()):
        if "servers" in own:
            names = [one["address"] for one in own["servers"]]
            found.append(Difference("set", f"pools.{pool}.servers", after=names))
        for key, word in (("weights", "weight"), ("states", "state")):
            for address, value in sorted(own.get(key, {}).items()):
                found.append(Difference("set", f"pools.{pool}.servers.{address}.{word}",
                                        after=value))
    return found
