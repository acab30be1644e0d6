"""Raw values checked: against the model, and against each other. All problems at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from fastlb.config import http, limits
from fastlb.config.address import Address, parse_bind
from fastlb.config.admin import Admin, check_admin
from fastlb.config.base import Model
from fastlb.config.check_geography import check_geo, check_nearest
from fastlb.config.check_networks import check_networks
from fastlb.config.check_parts import check_parts
from fastlb.config.check_pools import check_pool
from fastlb.config.check_routes import check_listener, check_pool_key, check_ticket_keys
from fastlb.config.compare import Compare, Secured, Told
from fastlb.config.conditions import OTHER_TABLES, Conditions, Match
from fastlb.config.failing import Hedge, Limits, Outliers, Retry
from fastlb.config.files import read_file
from fastlb.config.geography import Geo, Nearest, Override
from fastlb.config.guesses import as_table, elsewhere
from fastlb.config.health import Datagrams, Health
from fastlb.config.hints import ELSEWHERE, NAME, Found, beside, hint, no_pool
from fastlb.config.keepalive import Keepalive
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
from fastlb.config.parts import PARTS, tables_by_key
from fastlb.config.patterns import PROXY_FACTS, TLS_FACTS
from fastlb.config.policy import Policy
from fastlb.config.positions import Path, dotted, find_line
from fastlb.config.proxy_protocol import ProxyProtocol
from fastlb.config.rate_limits import RateLimit, check_rate_limit
from fastlb.config.sniffing import Mqtt
from fastlb.config.sources import TABLES
from fastlb.config.sticky import Sticky
from fastlb.config.tls import Certificate, ServerTls, Tickets, Tls
from fastlb.config.units import show
from fastlb.errors import ConfigError, Problem

_VARIABLE = re.compile(r"\$\{(?:(env|file):)?([^}]*)(\}?)")
_WORDS = {
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "mapping_type": "a table",
}


def checked(
    raw: Mapping[str, Any], file: str = "", lines: dict[Path, int] | None = None
) -> Config:
    """The model of raw values; ConfigError has everything that is wrong with them.

    `lines` tells where each key stands in `file`; a configuration without a file may have empty
    pools, which are filled while running.
    """
    unread: list[Found] = []
    try:
        raw = _expanded(raw, (), unread)
    except _DeepError as error:
        deep: Found = (error.args[0], "nested too deeply", ())
        raise ConfigError(_problems([deep], (), file, lines or {})) from None
    found: list[Found] = []
    config: Config | None = None
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        if error.error_count() > limits.MISTAKES_MAX:
            raise ConfigError(
                [Problem(f"not a configuration: {error.error_count():,} mistakes", file=file)]
            ) from None
        found += [_told(raw, dict(detail)) for detail in error.errors() if _is_news(detail)]
    found += _crossed(raw, bool(file))
    if unread or found or config is None:
        where = lines or {}
        problems = _problems(unread, (), file, where)
        problems += _problems(found, [path for path, _, _ in unread], file, where)
        raise ConfigError(sorted(problems, key=lambda problem: (problem.line, problem.path)))
    return config


def told(model: type[Model], keys: Mapping[str, Any], error: ValidationError) -> ConfigError:
    """What is wrong with a part that was made alone, such as a Retry."""
    found: list[Found] = []
    for detail in error.errors():
        if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
            path, what, valid = _unknown(detail["loc"], model)
        else:
            path, what, valid = _told(keys, dict(detail))
        found.append(((model.__name__.lower(), *path), what, valid))
    return ConfigError(_problems(found, (), "", {}))


def read_again(config: Config, section: str, name: str) -> Tls | ServerTls:
    """The `tls` of a listener or a pool, as its files are now. ConfigError."""
    before = getattr(config, section)[name].tls
    model, raw = type(before), before.model_dump(exclude_unset=True)
    try:
        made: Tls | ServerTls = model.model_validate(raw)
    except ValidationError as error:
        place = (section, name, "tls")
        found = [_told({section: {name: {"tls": raw}}}, {**detail, "loc": (*place, *detail["loc"])})
                 for detail in error.errors() if _is_news(dict(detail))]
        raise ConfigError(_problems(found, (), "", {})) from None
    return made


def _problems(
    found: Iterable[Found], unread: Iterable[Path], file: str, lines: dict[Path, int]
) -> list[Problem]:
    """In the order of lines, each once; what lies in `unread` values says nothing."""
    problems: dict[tuple[int, str, str], Problem] = {}
    for path, message, valid in found:
        if any(path[: len(spot)] == spot for spot in unread):
            continue
        line = find_line(lines, path)
        key = dotted(path)
        problems.setdefault((line, key, message), Problem(message, key, file, line, valid))
    return [problems[key] for key in sorted(problems)]


# --- variables ---


class _DeepError(Exception):
    """Ends the reading at once: what contains itself would be read 2**32 times."""


def _expanded(value: Any, path: Path, found: list[Found]) -> Any:
    """`${env:X}` and `${file:/path}` replaced in every text."""
    if len(path) > limits.DEPTH_MAX:
        raise _DeepError(path[:1])
    if isinstance(value, Model):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, str) and "${" in value:
        try:
            return _VARIABLE.sub(_variable, value)
        except ValueError as error:
            found.append((path, str(error), ()))
            return value
    if isinstance(value, Mapping):
        if path[-1:] == ("errors",):        # by status, which Python writes as a number
            value = {str(key) if type(key) is int else key: one for key, one in value.items()}
        for key in value:
            if not isinstance(key, str):
                name = show(key)
                found.append(((*path, name), f"{name} is not a name: keys are texts", ()))
        return {
            key: _expanded(item, (*path, key), found)
            for key, item in value.items()
            if isinstance(key, str)
        }
    if isinstance(value, (list, tuple)):
        return [_expanded(item, (*path, i), found) for i, item in enumerate(value)]
    return value


def _variable(match: re.Match[str]) -> str:
    kind, name, end = match.groups()
    if not end:
        raise ValueError(f"{match[0]!r} has no end; write '${{env:NAME}}' or '${{file:/path}}'")
    if kind is None:
        raise ValueError(f"{match[0]!r} is not a variable; write '${{env:{name}}}'")
    if kind == "env":
        if name not in os.environ:
            raise ValueError(f"the environment variable {name} is not set")
        return _text(os.fsencode(os.environ[name]), f"the environment variable {name}")
    try:
        data, _ = read_file(name, limits.TEXT_MAX)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{show(name)} can't be read: {why.lower()}") from None
    return _text(data, show(name)).strip()


def _text(data: bytes, what: str) -> str:
    if len(data) > limits.TEXT_MAX:
        raise ValueError(f"{what} has more than {limits.TEXT_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{what} is not UTF-8") from None


# --- what pydantic found, in our words ---


def _is_news(detail: Any) -> bool:
    """Where a table or false is possible, a wrong table isn't also told to be no false."""
    if not isinstance(detail.get("input"), Mapping):
        return True
    if detail["type"] == "bool_type":
        return not {"tls", "tickets"} & set(detail["loc"][-2:])
    return not (detail["type"] == "literal_error"
                and ("keepalive" in detail["loc"] or "admin" in detail["loc"]))


def _told(raw: Any, detail: dict[str, Any]) -> Found:
    path = _real_path(raw, detail["loc"])
    kind, value = detail["type"], detail.get("input")
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind == "missing":
        return path, "this key is missing", ()
    if kind == "string_unicode":
        return path, "not UTF-8", ()
    if kind in ("value_error", "assertion_error"):
        return path, str(context["error"]), ()
    if path and path[-1] == "keepalive" and kind in ("model_type", "literal_error"):
        wanted = "a table with idle, interval and count, or false"
        return path, f"{show(value)} is not {wanted}", ()
    if path == ("admin",) and kind in ("model_type", "literal_error"):
        return path, f"{show(value)} is not a table with bind, or false{as_table(path, value)}", ()
    if kind in ("model_type", "bool_type") and _is_switch_or_table(path):
        form = as_table(path, value) if path[-1] in PARTS else ""
        return path, f"{show(value)} is not true, false or a table{form}", ()
    if kind == "model_type" and "servers" in path[-2:]:
        return path, f"{show(value)} is not a text or a table", ()
    if kind == "literal_error":
        return _not_one_of(path, value, context["expected"])
    if kind in ("greater_than_equal", "less_than_equal"):
        bounds = f"{context.get('ge', context.get('le'))}"
        side = "at least" if kind.startswith("greater") else "at most"
        return path, f"{show(value)} is out of range: {side} {bounds}", ()
    if kind == "list_type" and isinstance(value, str):
        return path, f'{show(value)} is not a list; write ["{value}"]', ()
    if kind in _WORDS or kind.endswith("_type"):
        wanted = _WORDS.get(kind, kind.removesuffix("_type"))
        form = as_table(path, value) if wanted == "a table" else ""
        return path, f"{show(value)} is not {wanted}{form}", ()
    if kind == "too_short":
        return path, "the list is empty", ()
    if kind == "too_long":
        most = detail["ctx"]["max_length"]
        return path, f"the list has more than {most} entries", ()
    return path, str(detail["msg"]).lower(), ()


def _is_switch_or_table(path: Path) -> bool:
    switches = ["tickets", *(key for key, part in PARTS.items() if part.switch)]
    return any(path[-1:] == (key,) for key in switches) \
        or (path[:1] == ("pools",) and path[2:] == ("tls",))


def _real_path(raw: Any, loc: tuple[Any, ...]) -> Path:
    """pydantic's location without the names of union branches, which are no keys."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        if isinstance(raw, Mapping):
            last = i == len(loc) - 1
            if part == "[key]" or (part not in raw and (not last or _is_branch(part))):
                continue
            path.append(part)
            raw = raw.get(part)
        elif isinstance(raw, (list, tuple)) and isinstance(part, int):
            path.append(part)
            raw = raw[part] if part < len(raw) else None
    return tuple(path)


def _is_branch(part: Any) -> bool:
    """pydantic's names of what isn't written down: a union's branch that checks by itself."""
    return part == "bool" or str(part).startswith("function-")


def _unknown(path: Path, model: type[Model] | None = None) -> Found:
    key = str(path[-1])
    fields = (model or _model_at(path)).model_fields.items()
    valid = tuple(field.alias or name for name, field in fields)
    meant = elsewhere(key, model or _model_at(path), ELSEWHERE.get(key) in valid)
    one_of = beside(valid)
    end = f"; {meant}{f'.{one_of}' if one_of else ''}" if meant else hint(key, valid)
    return path, f"{show(key)} is not a key here{end}", valid


def _model_at(path: Path) -> type[Model]:
    if "keepalive" in path[:-1]:
        return Keepalive
    if path[0] == "listeners" and len(path) > 3:
        return _http_model_at(path[2:-1])
    if len(path) > 2 and path[0] == "listeners":
        return Listener
    if len(path) > 2 and path[0] == "pools":
        inner: dict[str, type[Model]] = {
            "servers": Server, "health": Health, "outliers": Outliers, "retry": Retry,
            "limits": Limits, "hedge": Hedge, "nearest": Nearest, "sticky": Sticky,
            "subset": Subset, "unavailable": http.Unavailable, "tls": ServerTls,
        }
        if path[2:4] == ("tls", "certificate") and len(path) > 4:
            return Certificate
        if path[2:4] == ("health", "udp") and len(path) > 4:
            return Datagrams
        return inner.get(str(path[2]), Pool) if len(path) > 3 else Pool
    if path[0] == "defaults" and len(path) > 2:
        return _http_model_at(path[1:-1])
    if path[0] == "rate_limits" and len(path) > 2:
        return tables_by_key().get(str(path[2]), RateLimit) if len(path) > 3 else RateLimit
    if path[0] == "networks" and len(path) > 2:
        return Networks
    if path[:2] == ("geo", "overrides") and len(path) > 3:
        return Override
    top: dict[str, type[Model]] = {
        "admin": Admin, "defaults": Defaults, "dns": Dns, "access_log": AccessLog,
        "geo": Geo, "tracing": Tracing,
    }
    return top.get(str(path[0]), Config) if len(path) > 1 else Config


def _http_model_at(keys: Path) -> type[Model]:
    """The model of a table inside of a listener."""
    tables: dict[str, type[Model]] = {
        "forwarded": http.Forwarded, "routes": http.Route, "match": Match,
        "not": Conditions, "redirect": http.Redirect, "respond": http.Respond,
        "policy": Policy,
        "rewrite": http.Rewrite, "request_headers": http.HeaderEdits,
        "response_headers": http.HeaderEdits, "errors": ErrorPage, "retry": Retry,
        "headers": Compare, "query": Compare, "cookies": Compare,
        **{name: Compare for table in OTHER_TABLES.values() for name in table.model_fields},
        **OTHER_TABLES, **dict.fromkeys((*TLS_FACTS, *PROXY_FACTS), Compare),
        **tables_by_key(), **TABLES, "proxy": Told, "tls": Tls,
        "certificates": Certificate, "tickets": Tickets, "mqtt": Mqtt,
        "client_id": Compare, "username": Compare, "proxy_protocol": ProxyProtocol,
    }
    found: type[Model] = Listener
    for key in keys:
        found = Secured if key == "tls" and issubclass(found, Conditions) else tables.get(
            str(key), found)
    return found


def _not_one_of(path: Path, value: Any, expected: str) -> Found:
    valid = tuple(re.findall(r"'([^']+)'", expected))
    words = {"balance": "balancing method", "hash_on": "key to hash", "protocol": "protocol"}
    what = words.get(str(path[-1]), "valid value")
    return path, f"{show(value)} is not a {what}{hint(value, valid)}", valid


# --- values that don't fit each other ---


def _table(value: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    entries = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(entries, Mapping):
        for name, entry in entries.items():
            if isinstance(entry, Mapping):
                yield name, entry


def _crossed(raw: Any, from_file: bool) -> Iterator[Found]:
    pools = dict(_table(raw, "pools"))
    listeners = dict(_table(raw, "listeners"))
    rates, networks = dict(_table(raw, "rate_limits")), dict(_table(raw, "networks"))
    for section, entries in (("listeners", listeners), ("pools", pools), ("rate_limits", rates),
                             ("networks", networks)):
        for name in entries:
            if not re.fullmatch(NAME, name) or len(name) > limits.NAME_MAX:
                yield (section, name), (
                    f"{show(name)} is not a name: letters, digits, '-', '_' and '.',"
                    f" {limits.NAME_MAX} at most"
                ), ()
    admin = raw.get("admin") if isinstance(raw, Mapping) else None
    yield from _binds_twice(listeners, admin)
    yield from check_ticket_keys(listeners)
    for name, listener in listeners.items():
        pool = listener.get("pool")
        if isinstance(pool, str) and pool not in pools:
            yield no_pool(("listeners", name, "pool"), pool, tuple(pools))
        yield from check_listener(name, listener, pools, listeners, from_file)
    for name, limit in rates.items():
        yield from check_rate_limit(("rate_limits", name), limit)
    yield from check_networks(listeners, networks)
    yield from check_geo(raw if isinstance(raw, Mapping) else {}, listeners)
    yield from check_parts(raw)
    yield from check_admin(admin)
    for name, pool in pools.items():
        yield from check_pool(("pools", name), pool, pools, from_file)
        yield from check_pool_key(("pools", name), pool, listeners, name)
        yield from check_nearest(("pools", name), pool)
    known = isinstance(raw, Mapping) and set(raw) <= set(Config.model_fields)
    if from_file and known and not raw.get("listeners"):
        yield (), "there is no listener; write a [listeners.NAME] with bind and pool", ()


def _binds_twice(listeners: dict[str, Mapping[str, Any]], admin: Any) -> Iterator[Found]:
    seen: dict[str, tuple[str, str]] = {}       # an address, and how and where it was written
    wild: dict[str, tuple[str, str]] = {}       # "4:80": all of IPv4 on port 80
    for path, bind, name, address in _binds(listeners, admin):
        udp = "udp " if address.scheme == "udp" else ""         # (ports of its own)
        bare = str(replace(address, scheme=None))
        keys = [udp + bare, f"{udp}{_family(address)}:{address.port}"]
        taken = seen.get(keys[0]) or wild.get(keys[1])
        is_wild = address.host in ("0.0.0.0", "::")
        if is_wild:
            taken = taken or seen.get(keys[1])
            wild.setdefault(keys[1], (bind, name))
        if taken:
            same = "" if taken[0] == bind else f" as {taken[0]}"
            yield path, f"{bind} is bound already, by {taken[1]}{same}", ()
        for key in keys:
            seen.setdefault(key, (bind, name))


def _family(address: Address) -> str:
    """The version of IP, or "" for a unix socket and for a name, whose family isn't known here."""
    host = address.host or ""
    return "6" if ":" in host else "4" if re.fullmatch("[0-9.]+", host) else ""


def _binds(
    listeners: dict[str, Mapping[str, Any]], admin: Any
) -> Iterator[tuple[Path, str, str, Address]]:
    """Every address that is right by itself, and has a port or path of its own; and whose it is."""
    places: list[tuple[Path, Mapping[str, Any]]] = [
        (("listeners", name), listener) for name, listener in listeners.items()]
    if isinstance(admin, Mapping):
        places.append((("admin",), admin))
    for place, listener in places:
        binds = listener.get("bind")
        single = isinstance(binds, str)
        many = binds if isinstance(binds, (list, tuple)) else ()
        for i, bind in enumerate([binds] if single else many):
            path: Path = (*place, "bind") if single else (*place, "bind", i)
            try:
                address = parse_bind(bind)
            except (ValueError, AttributeError, TypeError):
                continue                # told already
            # Those who share a port know what they do.
            if address.port != 0 and listener.get("reuse_port") is not True:
                yield path, bind, ".".join(map(str, place)), address
