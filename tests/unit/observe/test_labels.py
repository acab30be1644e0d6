"""Labels, as Prometheus' own parser reads them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fastlb.observe.metrics import labels


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(text: str) -> None:
    (family,) = text_string_to_metric_families(f"a{labels(b=text, c='d')} 1\n")
    assert family.samples[0].labels == {"b": text, "c": "d"}


def test_quotes_backslashes_and_ends_of_lines_are_escaped() -> None:
    assert labels(a='x"y\\z\n') == '{a="x\\"y\\\\z\\n"}'
    assert labels() == ""
