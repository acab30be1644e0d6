"""docs/config.md and the examples say what the model says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest

from fastlb.config import docs
from fastlb.config.base import Model
from fastlb.config.conditions import OTHER_TABLES, Conditions
from fastlb.config.docs import EITHER, REQUIRED_IN_FILES, SECTIONS, keys
from fastlb.config.http import (
    HttpKeys,
    HttpListener,
    HttpPool,
    Route,
)
from fastlb.config.model import (
    Config,
    Shared,
)
from fastlb.config.networks import AccessKeys
from fastlb.config.reader import load
from fastlb.config.sniffing import SniffKeys
from fastlb.config.sources import SourceKeys
from fastlb.config.speeds import SpeedKeys
from fastlb.config.tls import TlsKeys
from fastlb.config.udp import UdpListener

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples").rglob("*.toml"))
FULL = ROOT / "examples" / "full.toml"
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
    parts = {AccessKeys, SourceKeys, Shared, HttpKeys, HttpListener, HttpPool, UdpListener,
             SniffKeys, SpeedKeys, TlsKeys,
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
    """Note which keys of which models a table has, and the tables in it."""
    if model in found:                      # (not those that are as another one)
        found[model] |= set(table)
    for name, field in model.model_fields.items():
        for inner, one in _tables(field.annotation, table.get(field.alias or name)):
            _gather(one, inner, found)


def _tables(hint: Any, value: Any) -> Iterator[tuple[type[Model], dict[str, Any]]]:
    """The tables in a value, each with its model, by the type of its key."""
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Model):
        if isinstance(value, dict):
            yield hint, value
    elif origin is dict:
        for one in value.values() if isinstance(value, dict) else ():
            yield from _tables(inner[1], one)
    elif origin is list:
        for one in value if isinstance(value, list) else [value]:
            yield from _tables(inner[0], one)
    elif origin is Annotated:
        yield from _tables(inner[0], value)
    else:
        for one in inner:
            yield from _tables(one, value)


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
