"""The JSON schema: right by itself, and of one mind with the model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fastlb.config.conditions import OTHER_TABLES
from fastlb.config.model import Config
from fastlb.config.schema import schema

from .bad import ALL
from .forms import LISTENER, POOL, Bad

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples").rglob("*.toml"))

VALIDATOR = jsonschema.Draft202012Validator(schema())


def problems(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(tomllib.loads(text))]


def nodes(node: Any) -> Any:
    yield node
    children = node.values() if isinstance(node, dict) else node
    for child in children if isinstance(node, (dict, list)) else ():
        yield from nodes(child)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_its_title_reads_well_and_no_key_has_one_that_repeats_it() -> None:
    made = schema()
    assert made["title"] == "A configuration of fastlb"
    titles = {node["title"] for node in nodes(made) if isinstance(node, dict) and "title" in node}
    names = {
        "AccessLog", "Admin", "Ban", "Certificate", "Compress", "Conditions", "Datagrams",
        "Defaults", "Dns", "Forwarded", "Geo", "HeaderEdits", "Health", "Hedge", "Keepalive",
        "Levels", "Limits", "Listener", "Match", "Mqtt", "Nearest", "Networks", "Outliers",
        "Override", "Pool", "ProxyProtocol", "RateLimit", "Respond", "Retry", "Rewrite", "Route",
        "Secured", "Server", "ServerTls", "Sticky", "Subset", "Tickets", "Tls", "Told", "Tracing",
        "Unavailable",
    }
    others = {table.__name__ for table in OTHER_TABLES.values()}
    assert titles == {"A configuration of fastlb", *names, *others}


def test_every_key_is_described() -> None:
    made = schema()
    tables = [made, *made["$defs"].values()]
    for table in tables:
        for name, key in table["properties"].items():
            assert key.get("description") or "$ref" in key, name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_keeps_to_it(path: Path) -> None:
    assert problems(path.read_text()) == []


@pytest.mark.parametrize("bad", ALL, ids=lambda bad: bad.id)
def test_what_the_model_refuses_fails_it_unless_no_schema_could_tell(bad: Bad) -> None:
    assert bool(problems(bad.text)) is not bool(bad.beyond_schema)


GOOD = [
    'shutdown_timeout = "${env:TIMEOUT}"',
    'dns = { nameservers = ["::1", "[::1]:5353", "10.0.0.2"], refresh = "1.5s" }',
    "defaults = { keepalive = false }",
    'defaults = { keepalive = { idle = "5s" } }',
    'defaults = { buffer_size = "64KiB", idle_timeout = "0s" }',
]


@pytest.mark.parametrize("line", GOOD)
def test_what_the_model_takes_keeps_to_it(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMEOUT", "5s")
    text = f"{line}\n{LISTENER}{POOL}"
    Config.build(tomllib.loads(text))
    assert problems(text) == []


ADDRESSES = ["localhost:1", "[::1]:65535", "[fe80::1%eth0]:1", "unix:/run/a.sock", "a-b.c_d.:1"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_form_of_an_address_keeps_to_it(address: str) -> None:
    text = (
        f'[listeners.web]\nbind = "tcp://{address}"\npool = "api"\n'
        f'[pools.api]\nservers = ["{address}", {{ address = "${{env:HOME}}" }}]\n'
    )
    assert problems(text) == []
    Config.build(tomllib.loads(text.replace("${env:HOME}", "10.0.0.1:1")))
