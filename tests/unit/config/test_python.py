"""A configuration of Python values: whatever it is, a model or a ConfigError comes of it."""

from __future__ import annotations

import math
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlb.config.effective import effective
from fastlb.config.model import Config, Keepalive, Listener, Pool, Server
from fastlb.config.reader import loads
from fastlb.errors import ConfigError

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**4000, -(10**4000), 2**63, math.nan, math.inf, -0.0, 1j, object(), print]),
    st.floats(),
    st.binary(max_size=4),
    st.text(max_size=6),
    st.sampled_from(
        ["auto", "ttl", "5s", "16KiB", "ring_hash", "client.ip", "a", "tcp://a:1", "a:1", "8080",
         "\udc80", "a:1\0", "${env:HOME}", "${env:\udc80}", "${file:\0}", "${", "${}", "x" * 5000,
         "tcp://unix:/\udc80", "unix:/" + "\ud800", "9" * 5000 + "s", "tcp://[", "[::1]:1", "²:²"]
    ),
    st.sets(st.integers(), max_size=2),
    st.frozensets(st.text(max_size=2), max_size=2),
)  # fmt: skip
FIELDS = sorted(
    {name for model in (Config, Listener, Pool, Server, Keepalive) for name in model.model_fields}
)
KEYS = st.one_of(
    st.sampled_from([*FIELDS, "a"]),
    st.sampled_from([1, None, True, math.nan, b"a", (1, 2), frozenset({1}), "\udc80", "", "a b"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=8,
)


def near(model: Any, **keys: Any) -> st.SearchStrategy[dict[Any, Any]]:
    """A table with the right keys, whose values are mostly wrong."""
    wild = dict.fromkeys(model.model_fields, VALUES)
    return st.fixed_dictionaries({}, optional={**wild, **keys})


SERVERS = near(Server, address=st.sampled_from(["a:1", "b:1", "a:0"]))
TABLES = near(
    Config,
    listeners=st.dictionaries(
        KEYS, near(Listener, bind=st.just("tcp://a:1"), pool=st.just("a")), max_size=2
    ),
    pools=st.dictionaries(KEYS, near(Pool, servers=st.lists(SERVERS, max_size=3)), max_size=2),
)


def built(raw: Any) -> Config | ConfigError:
    try:
        return Config.build(raw)
    except ConfigError as error:
        return error


@settings(max_examples=150, deadline=None)
@given(st.one_of(VALUES, TABLES))
def test_a_model_or_a_config_error_comes_of_anything(raw: Any) -> None:
    made = built(raw)
    if isinstance(made, Config):
        effective(made)
        return
    assert made.problems
    assert str(made).count("\n") == len(made.problems) - 1
    assert all(problem.message for problem in made.problems)
    assert len(str(made)) < 1000 * len(made.problems)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_a_model_or_a_config_error_comes_of_any_text(text: str) -> None:
    with pytest.raises(ConfigError):  # as it has no listener
        loads(text, "f.toml")


HUGE = 10**5000  # has no repr


@pytest.mark.parametrize(
    "raw",
    [{HUGE: 1}, {"pools": {HUGE: {}}}, {"listeners": {HUGE: {}}}, {"threads": HUGE},
     {"max_connections": HUGE}, {"shutdown_timeout": -HUGE}, {"pools": {"a": {"servers": [HUGE]}}},
     {"listeners": {"a": {"bind": HUGE}}}, {"defaults": {"keepalive": HUGE}}],
    ids=["key", "pool", "listener", "threads", "max", "timeout", "server", "bind", "keepalive"],
)  # fmt: skip
def test_a_number_too_large_to_be_shown_is_told(raw: Any) -> None:
    with pytest.raises(ConfigError):
        Config.build(raw)


LONG = "9" * 4000               # (any longer, and its length is told, and not its text)


@pytest.mark.parametrize("raw", [
    {"admin": LONG}, {"admin": "a\nb"}, {"admin": {"bind": "http://a:1", "mode": LONG}},
    {"pools": {"a": {"retry": int(LONG)}}}, {"pools": {"a": {"retry": HUGE}}},
    {"pools": {"a": {"health": "/" + LONG}}}, {"pools": {"a": {"sticky": LONG}}},
    {"pools": {"a": {"servers": [f"tcp://{LONG}"]}}},
    {"pools": {"a": {"servers": [f"a:{LONG}:1"]}}},
    {"pools": {"a": {"servers": [{"dns": f"{LONG}:1"}]}}},
    {"listeners": {"a": {"bind": f"tcp://{LONG}"}}},
])
def test_a_message_is_short_whatever_it_is_about(raw: Any) -> None:
    made = built(raw)
    assert isinstance(made, ConfigError)
    assert str(made).count("\n") == len(made.problems) - 1
    assert len(str(made)) < 1000 * len(made.problems)


def test_a_list_in_itself_is_told() -> None:
    servers: list[Any] = []
    servers += [servers, servers]
    with pytest.raises(ConfigError, match=r"^pools: nested too deeply$"):
        Config.build({"pools": {"a": {"servers": servers}}})


RAW: dict[str, Any] = {
    "listeners": {"a": {"bind": ("tcp://a:1", "tcp://b:1"), "pool": "a"}},
    "pools": {"a": {"servers": ("a:1", Server(address="b:1", weight=2))}},
}


def test_tuples_mappings_and_models_are_taken_as_lists_and_tables() -> None:
    config = Config.build(MappingProxyType(OrderedDict(RAW)))
    assert config.listeners["a"].bind == ["tcp://a:1", "tcp://b:1"]
    assert [server.weight for server in config.pools["a"].servers] == [1, 2]
    assert Config.build(config.model_dump(exclude_unset=True)) == config
    assert Config.build({"listeners": config.listeners, "pools": config.pools}) == config


def test_a_pool_may_be_empty_and_listeners_may_be_missing() -> None:
    assert Config.build({}).listeners == {}
    assert Config.build({"pools": {"a": {}}}).pools["a"].servers == []


def test_a_model_can_not_be_changed() -> None:
    config = Config.build(RAW)
    with pytest.raises(ValueError, match="frozen"):
        config.threads = 2
