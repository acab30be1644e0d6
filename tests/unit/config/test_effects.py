"""Keys that have no effect where they are given: each is a warning, or an error."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from fastlb.config import needs
from fastlb.config.base import Model
from fastlb.config.conditions import Conditions
from fastlb.config.docs import SECTIONS
from fastlb.config.effective import effective
from fastlb.config.effects import EFFECTS, WHOLE, conditions_of, without_effect
from fastlb.config.model import Config, Listener, Pool
from fastlb.config.needs import For
from fastlb.config.reader import load, loads
from fastlb.config.warn import warnings
from fastlb.config.written import toml
from fastlb.errors import ConfigError
from tests.unit.config.test_documents import FULL

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RAW: dict[str, Any] = tomllib.loads(FULL.read_text())
SCHEMES = ("http", "tcp", "udp")


def reasons(text: str) -> dict[str, str]:
    """By key: why it has no effect."""
    config = loads(text)
    return dict(without_effect(config, effective(config)))


def test_each_key_says_when_it_has_an_effect() -> None:
    models = {model for _, model in SECTIONS} | {Conditions}
    assert models == set(EFFECTS) | set(WHOLE) and not set(EFFECTS) & set(WHOLE)
    for model, table in EFFECTS.items():
        assert set(table) == set(model.model_fields), (
            f"config/effects.py says when each key of {model.__name__} has an effect"
        )


def given(section: str, key: str) -> Any:
    """As the full example has it."""
    return next(table[key] for table in RAW[section].values() if key in table)


def told(raw: dict[str, Any], path: str) -> bool:
    """Whether something is said against a key, as an error or as a warning."""
    try:
        config = loads(toml(raw))
    except ConfigError as error:
        return any(problem.path.startswith(path) for problem in error.problems)
    return path in dict(without_effect(config, effective(config)))


def protocols(model: type[Model], key: str) -> tuple[str, ...]:
    found = [one for one in conditions_of(model, key) if isinstance(one, For)]
    return found[0].schemes if found else SCHEMES


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("key", sorted(set(Pool.model_fields) - {"tls", "servers", "fallback"}))
@pytest.mark.usefixtures("example_files")
def test_pool_keys_are_for_the_protocols_that_are_shown(key: str, scheme: str) -> None:
    pool: dict[str, Any] = {"servers": ["10.0.0.1:80"], key: given("pools", key)}
    if key in ("hash_on", "table_size", "bounded_load"):
        pool["balance"] = "maglev"
    if key == "health":
        pool[key] = {"tcp": True}
    if key == "nearest":
        pool["servers"] = [{"address": f"10.0.0.1:{i}", "zone": f"eu-1{zone}"}
                           for i, zone in enumerate("ab", 1)]
    if key == "max_h2_window":
        pool["protocol"] = "h2"
    raw = {
        "listeners": {"l": {"bind": f"{scheme}://127.0.0.1:1", "pool": "first"}},
        "pools": {"first": {"servers": ["10.0.0.2:80"], "fallback": "p"}, "p": pool},
    }
    assert told(raw, f"pools.p.{key}") == (scheme not in protocols(Pool, key))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("key", sorted(set(Listener.model_fields) - {"tls", "bind", "pool"}))
@pytest.mark.usefixtures("example_files")
def test_listener_keys_are_for_the_protocols_that_are_shown(key: str, scheme: str) -> None:
    value = given("listeners", key)
    if key == "routes":
        value = [{"name": "a", "pool": "p"}]
    listener: dict[str, Any] = {"bind": [f"{scheme}://127.0.0.1:1"], "pool": "p", key: value}
    if key == "mode":
        listener["bind"].append(f"{scheme}://unix:/tmp/a")
    elif key == "max_match_body":
        listener["routes"] = [{"name": "a", "match": {"json": {"a": "1"}}, "pool": "p"}]
    elif key == "max_h2_window":
        listener["h2c"] = True
    elif key in ("sniff_timeout", "sniff_whole_timeout") and scheme == "tcp":
        listener["routes"] = [{"name": "a", "match": {"protocol": "ssh"}, "pool": "p"}]
    elif key == "policy":
        listener[key] = "a:b"
    elif key == "max_sessions_per_source":
        listener["answers"] = 1
    raw = {"listeners": {"l": listener}, "pools": {"p": {"servers": ["10.0.0.1:80"]}},
           "networks": {"bad": {"cidrs": []}}}
    assert told(raw, f"listeners.l.{key}") == (scheme not in protocols(Listener, key))


HTTP = '[listeners.l]\nbind = "http://127.0.0.1:1"\npool = "p"\n'
TCP = HTTP.replace("http", "tcp")
UDP = HTTP.replace("http", "udp")
POOL = '[pools.p]\nservers = ["10.0.0.1:80"]\n'
ROUTE = '[[listeners.l.routes]]\nname = "r"\n'
TLS = (HTTP.replace("http", "https") + '[listeners.l.tls]\n'
       'certificates = [{ cert = "tls/both.pem" }]\n')

CASES: dict[Any, tuple[str, str, str]] = {
    needs.http_1: (
        HTTP + POOL + 'protocol = "h2"\nmax_idle_connections = 5\n', "pools.p.max_idle_connections",
        "it is for HTTP/1.1, and protocol is h2"),
    needs.h2: (HTTP + POOL + 'max_h2_window = "1MiB"\n', "pools.p.max_h2_window",
               'it is for protocol = "h2"'),
    needs.h2_clients: (HTTP + 'max_h2_window = "1MiB"\n' + POOL, "listeners.l.max_h2_window",
                       "clients of http:// need h2c for HTTP/2"),
    needs.h2c: (TLS.replace("[listeners.l.tls]", "h2c = true\n[listeners.l.tls]") + POOL,
                   "listeners.l.h2c", "clients of https:// choose HTTP/2 by ALPN"),
    needs.faster: (
        TCP + POOL + 'health = { tcp = true, interval = "2s", fast_interval = "3s" }\n',
        "pools.p.health.fast_interval", "checks come every 2s anyway"),
    needs.fields: (
        'access_log = { path = "-", format = "combined", fields = ["time"] }\n' + HTTP + POOL,
        "access_log.fields", "it is for the format json, and format is combined"),
    needs.udp_listener: ("max_sessions = 5\n" + HTTP + POOL, "max_sessions",
                         "no listener is UDP"),
    needs.zone: ('zone = "a"\n' + HTTP + POOL, "zone", "no server has a zone"),
    needs.server_zone: (
        HTTP + '[pools.p]\nservers = [{ address = "10.0.0.1:80", zone = "a" }]\n',
        "pools.p.servers[0].zone", "there is no zone at the top, and its pool has no nearest"),
    needs.refresh: (
        HTTP + '[pools.p]\nservers = [{ address = "10.0.0.1:80", refresh = "5s" }]\n',
        "pools.p.servers[0].refresh", "10.0.0.1:80 is an address, and not a name to be resolved"),
    needs.admin_mode: (
        'admin = { bind = "http://127.0.0.1:9", mode = "0660" }\n' + HTTP + POOL, "admin.mode",
        "no address is a unix socket"),
    needs.mode: (HTTP + 'mode = "0660"\n' + POOL, "listeners.l.mode",
                    "no address of this listener is a unix socket"),
    needs.over_ip: (HTTP + '[pools.p]\nservers = ["unix:/a"]\ntcp_nodelay = true\n',
                       "pools.p.tcp_nodelay", "every server is a unix socket"),
    needs.sniffs: (TCP + 'sniff_timeout = "1s"\n' + POOL, "listeners.l.sniff_timeout",
                      "no route asks what clients say first"),
    needs.match_body: (HTTP + 'max_match_body = "1KiB"\n' + POOL, "listeners.l.max_match_body",
                          "no route has match.json or match.form"),
    needs.sessions: (
        UDP + 'pick = "datagram"\non_server_down = "keep"\n' + POOL, "listeners.l.on_server_down",
        'with pick = "datagram" no session keeps its server'),
    needs.sources: (
        UDP + "answers = 0\nmax_sessions_per_source = 5\n" + POOL,
        "listeners.l.max_sessions_per_source", "with answers = 0 clients have no sessions"),
    needs.pick: (UDP + 'answers = 1\npick = "datagram"\n' + POOL, "listeners.l.pick",
                    "with answers = 1 each datagram picks a server"),
    needs.old_tls: (
        TLS + 'min_version = "1.3"\nciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"\n' + POOL,
        "listeners.l.tls.ciphers", "it is for TLS 1.2, and min_version is 1.3"),
    needs.new_tls: (
        TLS + 'max_version = "1.2"\ncipher_suites = "TLS_AES_128_GCM_SHA256"\n' + POOL,
        "listeners.l.tls.cipher_suites", "it is for TLS 1.3, and max_version is 1.2"),
    needs.client_auth: (TLS + "client_depth = 2\n" + POOL, "listeners.l.tls.client_depth",
                           'client_auth is "none"'),
    needs.rotate: (
        TLS + 'tickets = { keys = ["tls/tickets.new"], rotate = "1h" }\n' + POOL,
        "listeners.l.tls.tickets.rotate", "the keys are in files"),
    needs.plain_check: (HTTP + POOL + 'health = { http = "/", tls = false }\n',
                           "pools.p.health.tls", "the pool has no tls"),
    needs.compares: (HTTP + POOL + "outliers = { min_requests = 5 }\n",
                        "pools.p.outliers.min_requests",
                        "neither error_rate nor latency is given"),
    needs.ejects: (
        HTTP + POOL + 'outliers = { consecutive_failures = 0, ejection_time = "5s" }\n',
        "pools.p.outliers.ejection_time", "nothing ejects a server: consecutive_failures is 0"),
    needs.failures: (
        HTTP + POOL + 'outliers = { consecutive_failures = 0, statuses = ["500"] }\n',
        "pools.p.outliers.statuses", "consecutive_failures is 0"),
    needs.retries: (HTTP + POOL + 'retry = { attempts = 1, on = ["503"] }\n',
                       "pools.p.retry.on", "attempts is 1"),
    needs.repeats: (HTTP + POOL + "retry = { on = [], non_idempotent = true }\n",
                       "pools.p.retry.non_idempotent",
                       "only failed connects are tried again, whatever the method"),
    needs.own_budget: (HTTP + ROUTE + 'pool = "p"\nretry = { budget = "5%" }\n' + POOL,
                          "listeners.l.routes[0].retry.budget", "the budget is the pool's"),
    needs.retried: (
        HTTP + POOL + "retry = { attempts = 1 }\nlimits = { max_retries = 5 }\n",
        "pools.p.limits.max_retries", "nothing is tried again: retry.attempts is 1"),
    needs.limited: (
        HTTP + POOL + "limits = { max_pending = 5 }\n", "pools.p.limits.max_pending",
        "there is always a place: neither limits.max_requests nor a server's max_connections is"
        " given"),
    needs.waits: (HTTP + POOL + 'limits = { max_requests = 5, pending_timeout = "5s" }\n',
                     "pools.p.limits.pending_timeout", "nobody waits: max_pending is 0"),
    needs.forwards: (
        HTTP + ROUTE + 'redirect = "/"\nrewrite = { path = "/a" }\n' + POOL,
        "listeners.l.routes[0].rewrite",
        "the route's action is redirect, and no server is asked"),
    needs.queues: (HTTP + ROUTE + 'pool = "p"\npriority = "high"\n' + POOL,
                      "listeners.l.routes[0].priority",
                      "no pool of this route has a queue (limits.max_pending)"),
    needs.geo_file: (
        HTTP + POOL + '[geo]\nrefresh = "1s"\noverrides = { "10.0.0.0/8" = { country = "DE" } }\n',
        "geo.refresh", "there is no file"),
    needs.read_networks: (
        HTTP + POOL + '[networks.n]\ncidrs = []\nrefresh = "1s"\n',
        "networks.n.refresh", "this set has neither a file nor a url"),
    needs.fetched_networks: (
        HTTP + POOL + '[networks.n]\ncidrs = []\nrequired = false\n',
        "networks.n.required", "this set has no url"),
    needs.secured_networks: (
        HTTP + POOL + '[networks.n]\nurl = "http://a"\nca = "tls/servers.pem"\n',
        "networks.n.ca", "this set's url is not one of https"),
}


def test_there_is_a_case_for_each_condition() -> None:
    used = {one for table in EFFECTS.values() for of_key in table.values() for one in of_key}
    assert {one for one in used if not isinstance(one, For)} == set(CASES)


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case[1])
@pytest.mark.usefixtures("example_files")
def test_a_key_without_effect_is_told_with_the_reason(case: tuple[str, str, str]) -> None:
    text, path, why = case
    assert reasons(text) == {path: why}


@pytest.mark.parametrize(
    "text",
    [
        HTTP + POOL + "limits = { max_requests = 5, max_pending = 5 }\n",
        HTTP + '[pools.p]\nservers = [{ address = "10.0.0.1:80", max_connections = 5 }]\n'
        "limits = { max_pending = 5 }\n",
        HTTP + '[pools.p]\nservers = [{ dns = "a.example:80", refresh = "5s" }]\n',
        HTTP + ROUTE + 'pool = "q"\npriority = "high"\n' + POOL
        + '[pools.q]\nservers = ["10.0.0.2:80"]\nfallback = "p"\n'.replace('"p"', '"w"')
        + '[pools.w]\nservers = ["10.0.0.3:80"]\nlimits = { max_requests = 1, max_pending = 1 }\n',
        TCP + POOL + "retry = { attempts = 2 }\n",
        UDP + POOL + "outliers = { consecutive_failures = 2 }\n",
        HTTP + ROUTE + 'policy = "a:b"\n' + TCP.replace(".l]", ".t]") .replace(":1", ":2")
        + POOL + '[pools.q]\nservers = ["10.0.0.2:80"]\nmax_idle_connections = 5\n',
    ],
    ids=lambda text: re.sub(r"\s+", " ", text)[-40:],
)  # fmt: skip
def test_nothing_is_said_of_keys_that_have_an_effect(text: str) -> None:
    assert reasons(text) == {}


@pytest.mark.usefixtures("example_files")
def test_the_full_example_has_one_key_without_effect() -> None:
    config = load(FULL)
    assert dict(without_effect(config, effective(config))) == {
        "listeners.secure.tls.tickets.rotate": "the keys are in files",
    }


@pytest.mark.parametrize("path", sorted(FULL.parent.rglob("*.toml")), ids=lambda path: path.name)
@pytest.mark.usefixtures("example_files")
def test_no_other_example_has_one(path: Path) -> None:
    config = load(path)
    assert path == FULL or not list(without_effect(config, effective(config)))


def test_a_key_without_effect_is_a_warning() -> None:
    config = Config.build(tomllib.loads(TCP + POOL + "max_idle_connections = 5\n"))
    assert list(warnings(config, effective(config))) == [
        "pools.p.max_idle_connections: it has no effect: it is for HTTP/1.1, and only tcp"
        " listeners use this pool",
    ]
