"""Formats of the access log."""

from __future__ import annotations

import pytest

from fastlb._core.tables.logformat import FIELDS as KNOWN
from fastlb.config.model import Config
from fastlb.config.observing import FIELDS, JSON_FIELDS, parts
from fastlb.errors import ConfigError
from fastlb.observe.lines import facts_of


def test_the_configuration_and_the_core_know_the_same_fields() -> None:
    assert set(FIELDS) == set(KNOWN)
    assert len(FIELDS) == len(set(FIELDS))
    assert set(JSON_FIELDS) < set(FIELDS)


def test_engines_look_only_for_the_facts_that_a_line_has() -> None:
    for format in ("json", "common", "combined", "{status} {user_agent}"):
        assert not facts_of(format)
    assert facts_of("json", ("status", "tls_sni")) == {"tls.sni"}
    assert facts_of("{status} {proxy_dst} {tls_version}") == {"proxy.dst", "tls.version"}


def test_a_format_is_cut_at_its_fields() -> None:
    assert parts("a {status}{path} {{b}}") == [("a ", "status"), ("", "path"), (" {b}", "")]


@pytest.mark.parametrize(
    ("access_log", "told"),
    [
        ({"path": "-", "format": "jsn"}, "'jsn' is not \"json\", \"combined\", \"common\" or a"),
        ({"path": "-", "format": "{stat}"}, "{stat} is not a field; one of: time, "),
        ({"path": "-", "format": "{status"}, "'{status' has a lone '{': write it twice"),
        ({"path": "-", "format": "{status}\n"}, "has a line's end"),
        ({"path": "-", "fields": ["stat"]}, "'stat' is not a field; one of: time, "),
        ({"path": "-", "buffer": "100KiB"}, "is not a power of two"),
        ({"path": ""}, "access_log.path"),
        ({"format": "json"}, "access_log.path"),
    ],
)
def test_what_cannot_be_is_told(access_log: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as found:
        Config.build({"access_log": access_log})
    assert told in str(found.value)


@pytest.mark.parametrize("sample", ["1", "101%", "-1%", "a%", 1])
def test_a_share_that_is_none_is_told(sample: object) -> None:
    with pytest.raises(ConfigError) as found:
        Config.build({"tracing": {"sample": sample}})
    assert "is not a share like \"1%\", from 0% to 100%" in str(found.value)
