"""What was probably meant by a key that stands in the wrong place, or a value of the wrong form."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from fastlb.config.base import Model
from fastlb.config.conditions import Match
from fastlb.config.health import KINDS
from fastlb.config.http import Route
from fastlb.config.model import Config, Defaults, Listener, Pool, Server
from fastlb.config.parts.compress import CODINGS
from fastlb.config.positions import Path
from fastlb.config.tls import ServerTls, Tls
from fastlb.config.units import SHOWN_MAX

NUMBER_MAX = 10**9  # of those that are worth suggesting
CLOSE = 0.85        # more than that alike, it is a slip of the finger
# Where a key belongs that isn't one of the table's.
PLACES: dict[type[Model], str] = {
    Listener: "a listener ([listeners.NAME])",
    Pool: "a pool ([pools.NAME])",
    Route: "a route ([[listeners.NAME.routes]])",
    Match: "match, as in match.{key}",
    Server: "a server ({{ address = \"HOST:PORT\", {key} = ... }})",
    Config: "the top of the file",
}
_CERTIFICATES = 'write certificates = [{ cert = "FILE", key = "FILE" }]'
_CERTIFICATE = 'write certificate = { cert = "FILE", key = "FILE" }'
SAID: dict[tuple[type[Model], str], str] = {
    (Tls, "cert"): _CERTIFICATES,
    (Tls, "key"): _CERTIFICATES,
    (Tls, "certificate"): _CERTIFICATES,
    (ServerTls, "cert"): _CERTIFICATE,
    (ServerTls, "key"): _CERTIFICATE,
    (ServerTls, "certificates"): _CERTIFICATE,
    (Pool, "max_connections"):
        "a pool has limits.max_requests, and each of its servers max_connections",
    (Pool, "maxconn"): "a pool has limits.max_requests, and each of its servers max_connections",
    (Pool, "policy"): "how a pool picks is its balance; a policy belongs to a route, or to a tcp"
                      " listener",
}


def _text(key: str, usual: str) -> Callable[[Any], str]:
    return lambda value: f'{{ {key} = "{value if _is_text(value) else usual}" }}'


def _number(key: str, usual: int) -> Callable[[Any], str]:
    return lambda value: f"{{ {key} = {value if _is_number(value) else usual} }}"


def _is_text(value: Any) -> bool:
    """Whether it can stand in a sentence as it is."""
    return isinstance(value, str) and 0 < len(value) <= SHOWN_MAX and value.isprintable()


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= NUMBER_MAX


def _health(value: Any) -> str:
    if _is_text(value) and value.startswith("/"):
        return f'{{ http = "{value}" }}'
    return f"{{ {value if value in KINDS[:2] else 'tcp'} = true }}"


# A table of which somebody gave one value alone.
TABLES: dict[str, Callable[[Any], str]] = {
    "health": _health,
    "retry": _number("attempts", 3),
    "limits": _number("max_requests", 1000),
    "outliers": _number("consecutive_failures", 5),
    "hedge": _text("delay", "50ms"),
    "subset": _number("size", 20),
    "sticky": lambda value:
        f'{{ cookie = "{value if _is_text(value) else "fastlb"}",'
        ' secret = "${env:SECRET}" }',
    "compress": lambda value:
        f'{{ codings = ["{value if value in CODINGS else "zstd"}"] }}',
    "level": lambda value: "{ gzip = 5 }",
    "respond": _number("status", 200),
    "unavailable": _number("status", 503),
    "rewrite": _text("path", "/"),
    "match": _text("path", "/"),
    "access_log": _text("path", "-"),
    "tracing": lambda value: '{ sample = "1%" }',
    "admin": _text("bind", "http://127.0.0.1:9000"),
    "dns": lambda value: '{ nameservers = ["10.0.0.2"] }',
    "forwarded": lambda value: '{ trusted = ["10.0.0.0/8"] }',
    "proxy_protocol": lambda value: '{ trusted = ["10.0.0.0/8"] }',
    "request_headers": lambda value: '{ set = { x-name = "value" } }',
    "response_headers": lambda value: '{ set = { x-name = "value" } }',
    "max_connection_rate_per_source": lambda value: '"20/s"',
    "max_session_rate_per_source": lambda value: '"20/s"',
    "min_request_rate": lambda value: '"1KiB/s"',
    "tarpit": lambda value: '"30s"',
    "ban": lambda value: '{ networks = "NAME", after = "20 denials/m" }',
    "tls": lambda value: '{ certificates = [{ cert = "FILE", key = "FILE" }] }',
}


def as_table(path: Path, value: Any) -> str:
    """How a table is written for which there is something else: the end of a sentence, or ""."""
    form = TABLES.get(str(path[-1])) if path else None
    return f"; write {path[-1]} = {form(value)}" if form is not None else ""


def elsewhere(key: str, model: type[Model], has_a_word: bool) -> str:
    """Where a key belongs that this table hasn't got: the end of a sentence, or "".
    `has_a_word`: the table has another word for it."""
    said = SAID.get((model, key))
    names = [field.alias or name for name, field in model.model_fields.items()]
    if said is not None or has_a_word or model not in (*PLACES, Defaults) \
            or difflib.get_close_matches(key, names, 1, CLOSE):
        return said or ""
    for other, place in PLACES.items():
        if other is not model and key in {
                field.alias or name for name, field in other.model_fields.items()}:
            return f"it belongs to {place.format(key=key)}"
    return ""
