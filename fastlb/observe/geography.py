"""What is counted of where clients are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlb.process.runtime import Runtime

GEO_METRICS = {
    "fastlb_geo_lookups_total": (
        "counter", "Clients whose place was asked for, by outcome: found, or unknown."),
    "fastlb_geo_networks": ("gauge", "Networks that a database of `geo` tells apart."),
    "fastlb_geo_built_timestamp_seconds": ("gauge", "When a database of `geo` was made."),
    "fastlb_geo_failures_total": (
        "counter", "Times that a database of `geo` could not be read again."),
}


def geo_samples(runtime: Runtime) -> Iterator[tuple[str, str, Any]]:
    """The name, labels and value of each. Only where there is `geo`."""
    if runtime.effective.geo is None:
        return
    totals = [engine.totals() for engine in runtime.engines.all]
    for outcome in ("found", "unknown"):
        yield ("fastlb_geo_lookups_total", f'{{outcome="{outcome}"}}',
               sum(one[f"places_{outcome}"] for one in totals))
    for kind, one in runtime.geography.read.items():
        where = f'{{database="{kind}"}}'
        yield "fastlb_geo_networks", where, one.networks
        yield "fastlb_geo_built_timestamp_seconds", where, one.built_s
    yield "fastlb_geo_failures_total", "", runtime.geography.failures
