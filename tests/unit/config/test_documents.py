"""docs/config.md and the examples say what the model says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastlb.config import docs
from fastlb.config.admin import Admin
from fastlb.config.base import Model
from fastlb.config.compare import Compare, Secured, Told
from fastlb.config.conditions import OTHER_TABLES, Conditions, Match
from fastlb.config.docs import EITHER, REQUIRED_IN_FILES, SECTIONS, keys
from fastlb.config.failing import Hedge, Limits, Outliers, Retry
from fastlb.config.health import Datagrams, Health
from fastlb.config.http import (
    Forwarded,
    HeaderEdits,
    HttpKeys,
    HttpListener,
    HttpPool,
    Redirect,
    Respond,
    Rewrite,
    Route,
    Unavailable,
)
from fastlb.config.model import (
    Config,
    Defaults,
    Dns,
    Keepalive,
    Listener,
    Pool,
    Server,
    Shared,
    Subset,
)
from fastlb.config.observing import AccessLog, Tracing
from fastlb.config.pages import ErrorPage
from fastlb.config.parts.compress import Compress, Levels
from fastlb.config.parts.mirror import Mirror
from fastlb.config.policy import Policy
from fastlb.config.proxy_protocol import ProxyProtocol
from fastlb.config.reader import load
from fastlb.config.sniffing import Mqtt, SniffKeys
from fastlb.config.sticky import Sticky
from fastlb.config.tls import Certificate, ServerTls, Tickets, Tls, TlsKeys
from fastlb.config.udp import UdpListener

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples").rglob("*.toml"))
FULL = ROOT / "examples" / "full.toml"
TABLES_OF: dict[type[Model], dict[str, type[Model]]] = {
    Listener: {"forwarded": Forwarded, "policy": Policy, "tls": Tls,
               "proxy_protocol": ProxyProtocol},
    Compress: {"level": Levels},
    Tls: {"tickets": Tickets},
    ServerTls: {"certificate": Certificate},
    Match: {"tls": Secured, "proxy": Told, "mqtt": Mqtt},
    Health: {"udp": Datagrams},
    Pool: {"health": Health, "outliers": Outliers, "retry": Retry, "limits": Limits,
           "hedge": Hedge, "sticky": Sticky, "subset": Subset, "unavailable": Unavailable,
           "tls": ServerTls},
    Route: {
        "match": Match, "redirect": Redirect, "respond": Respond, "rewrite": Rewrite,
        "mirror": Mirror, "policy": Policy, "compress": Compress,
        "request_headers": HeaderEdits, "response_headers": HeaderEdits, "retry": Retry,
    },
}
TABLES = ((Config, "dns"), (Config, "defaults"), (Route, "match"))


def test_the_reference_is_current() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "fastlb.config.docs"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert made.stdout == (ROOT / "docs" / "config.md").read_text(), (
        "run: python -m fastlb.config.docs > docs/config.md"
    )


def test_every_key_is_in_the_reference_with_its_meaning_and_reason() -> None:
    parts = {Shared, HttpKeys, HttpListener, HttpPool, UdpListener, SniffKeys, TlsKeys,
             *HttpKeys.__bases__, *Route.__bases__, *Conditions.__bases__, Conditions} - {Model}
    assert {model for _, model in SECTIONS} == _models(Model) - parts
    for _, model in SECTIONS:
        required = {name for name, field in model.model_fields.items() if field.is_required()}
        for key in keys(model):
            assert key.meaning and key.type and key.default, key
            told_otherwise = (*REQUIRED_IN_FILES, *EITHER, *TABLES)
            if key.name not in required and (model, key.name) not in told_otherwise:
                assert key.reason, f"{model.__name__}.{key.name} has no reason in limits.py"


def _models(model: type[Model]) -> set[type[Model]]:
    below = set(model.__subclasses__())
    return below.union(*(_models(one) for one in below))


def test_the_reference_says_these_things() -> None:
    text = docs.text()
    assert (
        "| `connect_timeout` | TCP and HTTP | How long a server may take to accept before another"
        " one is tried."
        ' | duration, 1ms to 10m | `"500ms"` |'
    ) in text
    assert "| number, 1 to 65,535 | `4096` |" in text
    assert '| size, 4KiB to 1MiB | `"16KiB"` |' in text
    assert '| `"auto"`, or number, 1 to 64 | `"auto"` |' in text
    assert "| text, or list of texts | required |" in text
    for row in (
        "| `routes` | TCP and HTTP |", "| `instance` | Which of the processes this is:",
        "| `redirect` | HTTP | Where the client is sent to, or a table. | text or table |",
        "| `sni` | The name that it asked for",
    ):
        assert row in text
    assert "| list of tables | none | a listener's pool is enough where there is one |" in text
    assert "| number or text | none | the host's name, which is another one on every host |" in text
    assert "| text, `true`, `false`, list of texts, or table | none |" in text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
@pytest.mark.usefixtures("example_files")
def test_every_example_can_be_served(path: Path) -> None:
    load(path)


def test_every_key_is_in_the_full_example() -> None:
    raw = tomllib.loads(FULL.read_text())
    found: dict[type[Model], set[str]] = {model: set() for _, model in SECTIONS}
    _gather(raw, Config, found)
    for model, names in found.items():      # (facts that register are listed in docs/config.md)
        keys = {field.alias or name for name, field in model.model_fields.items()
                if name not in OTHER_TABLES}
        assert names == keys or model in OTHER_TABLES.values(), model.__name__


def _gather(table: dict[str, Any], model: type[Model], found: dict[type[Model], set[str]]) -> None:
    found[model] |= set(table)
    if isinstance(table.get("keepalive"), dict):
        _gather(table["keepalive"], Keepalive, found)
    for name, inner in (("dns", Dns), ("defaults", Defaults), ("access_log", AccessLog),
                        ("tracing", Tracing), ("admin", Admin)):
        if model is Config and name in table:
            _gather(table[name], inner, found)
    for name, inner in TABLES_OF.get(model, {}).items():
        if isinstance(table.get(name), dict):
            _gather(table[name], inner, found)
    for route in table.get("routes", ()):
        _gather(route, Route, found)
    for pages in table.get("errors", {}).values():
        for page in pages if isinstance(pages, list) else [pages]:
            _gather(page, ErrorPage, found)
    if model is Match:
        for value in table.get("headers", {}).values():
            found[Compare] |= set(value) if isinstance(value, dict) else set()
    if model is Secured:                # (the rest is as of header fields)
        for value in table.values():
            found[Compare] |= set(value) if isinstance(value, dict) else set()
    for name, inner in (("listeners", Listener), ("pools", Pool)):
        for entry in table.get(name, {}).values():
            _gather(entry, inner, found)
    for certificate in table.get("certificates", ()):
        _gather(certificate, Certificate, found)
    for server in table.get("servers", ()):
        if isinstance(server, dict):
            _gather(server, Server, found)


def test_the_full_example_names_each_default() -> None:
    """Where a key is explained, its default is the one that is used."""
    text = " ".join(line.strip("# ") for line in FULL.read_text().splitlines())
    for default in (
        "30s",
        "half of the descriptor limit",
        "2s",
        '"ttl"',
        "5m",
        "4096",
        "16KiB",
        "256KiB",
        '"round_robin"',
        '"client.ip"',
        "500ms",
        "60s",
        "10s",
        "3",
    ):
        assert f"Default: {default}" in text  # fmt: skip
