"""Formats of the access log."""

from __future__ import annotations

import pytest

from fastlb._core.tables.logformat import FIELDS as KNOWN
from fastlb.config.model import Config
from fastlb.config.observing import FIELDS, JSON_FIELDS, PROXY_FIELDS, TLS_FIELDS, parts
from fastlb.errors import ConfigError
from fastlb.observe.lines import has_any


def test_the_configuration_and_the_core_know_the_same_fields() -> None:
    assert set(FIELDS) == set(KNOWN)
    assert len(FIELDS) == len(set(FIELDS))
    assert set(JSON_FIELDS) < set(FIELDS)


def test_whether_a_line_has_facts_of_clients() -> None:
    """Engines only look for those that one has."""
    for facts, field in ((TLS_FIELDS, "tls_sni"), (PROXY_FIELDS, "proxy_dst")):
        for format in ("json", "common", "combined", "{status} {user_agent}"):
            assert not has_any(facts, format)
        assert has_any(facts, "json", ("status", field))
        assert has_any(facts, f"{{status}} {{{field}}}")
    assert not has_any(TLS_FIELDS, "json", ("proxy_dst",))


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
