"""Names of metrics, as OpenMetrics wants them."""

from __future__ import annotations

import re

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fastlb.observe.families import METRICS


def open_metrics(metrics: dict[str, tuple[str, str]]) -> str:
    """A sample of each family: in OpenMetrics a counter's family is named without _total."""
    lines = []
    for name, (kind, meaning) in metrics.items():
        family = name.removesuffix("_total") if kind == "counter" else name
        lines += [f"# HELP {family} {meaning}", f"# TYPE {family} {kind}"]
        if kind == "histogram":
            lines += [f'{name}_bucket{{le="+Inf"}} 0', f"{name}_count 0", f"{name}_sum 0"]
        else:
            lines.append(f"{name} 1")
    return "\n".join([*lines, "# EOF\n"])


def test_openmetrics_has_a_family_for_each_metric() -> None:
    found = list(text_string_to_metric_families(open_metrics(METRICS)))
    assert len(found) == len(METRICS)


@pytest.mark.parametrize("gauge", ["fastlb_sessions", "fastlb_connections"])
def test_a_gauge_with_the_name_of_a_counter_would_be_noticed(gauge: str) -> None:
    clashing = {**METRICS, gauge: ("gauge", "Now.")}
    with pytest.raises(ValueError, match=r"[Cc]lash"):
        list(text_string_to_metric_families(open_metrics(clashing)))


def test_counters_end_with_total_and_others_do_not() -> None:
    for name, (kind, _) in METRICS.items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert re.fullmatch("[a-z0-9_]+", name)
