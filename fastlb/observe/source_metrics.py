"""What is counted about sources: who was refused, held and banned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlb.process.runtime import Runtime

METRICS = {
    "fastlb_denied_total": (
        "counter", "Connections and requests that lists of networks denied, by engine."),
    "fastlb_denials_reported_total": (
        "counter", "Clients that lists with report = true would have denied, by engine."),
    "fastlb_source_full_total": (
        "counter", "Connections closed as their source had max_connections_per_source, by engine."),
    "fastlb_source_rate_total": (
        "counter", "Connections and sessions beyond the rate of their source (outcome): refused, or"
        " reported."),
    "fastlb_tarpit_connections_active": ("gauge", "Denied connections that are held now."),
    "fastlb_tarpit_connections_total": (
        "counter", "Denied connections (outcome): held, full (closed at once, as there was no"
        " place), reported (would have been held)."),
    "fastlb_tls_handshakes_full_total": (
        "counter", "Connections closed as there were max_handshakes, of all or of their source."),
    "fastlb_slow_requests_total": (
        "counter", "Requests sent slower than min_request_rate (outcome): ended, or reported."),
    "fastlb_bans_total": (
        "counter", "Sources denied often enough for a ban (outcome): banned, reported, protected"
        " (a trusted proxy, or this machine), full (the set has no room)."),
}
# Name, outcome and counter of a listener's.
_COUNTED = (
    ("fastlb_source_rate_total", "refused", "source_rate"),
    ("fastlb_source_rate_total", "reported", "source_rate_reported"),
    ("fastlb_tarpit_connections_total", "held", "held"),
    ("fastlb_tarpit_connections_total", "full", "not_held"),
    ("fastlb_tarpit_connections_total", "reported", "held_reported"),
    ("fastlb_tls_handshakes_full_total", "", "handshakes_full"),
    ("fastlb_slow_requests_total", "ended", "too_slow"),
    ("fastlb_slow_requests_total", "reported", "too_slow_reported"),
)


def samples(
    runtime: Runtime, labels: Callable[..., str]
) -> Iterator[tuple[str, str, Any]]:
    """Yield name, labels and value. What has never happened is left out."""
    for listener in runtime.live.listeners():
        where = {"listener": listener.name}
        totals = listener.totals()
        for name, outcome, key in _COUNTED:
            if totals[key]:
                more = {"outcome": outcome} if outcome else {}
                yield name, labels(**where, **more), totals[key]
        if listener.held or totals["held"]:
            yield "fastlb_tarpit_connections_active", labels(**where), listener.held
    for name, network, outcomes in runtime.bans.totals():
        for outcome, n in outcomes.items():
            yield ("fastlb_bans_total",
                   labels(listener=name, network=network, outcome=outcome), n)
