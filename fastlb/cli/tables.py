"""A process's status as tables, for `status` and `top`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from fastlb.observe.fitting import Fitting

Status = dict[str, Any]
COLOURS = {
    "up": "green", "unchecked": "default", "warming": "green", "draining": "yellow",
    "maintenance": "yellow", "removed": "yellow", "down": "red", "failing": "red", "ejected": "red",
}


class Rates:
    """Differences between two looks, a second; between the start and now where there is one."""

    def __init__(self, now: Status, before: Status | None = None) -> None:
        self.seconds: float = now["time"] - before["time"] if before is not None else now["uptime"]
        self._before = _counters(before) if before is not None else {}

    def __call__(self, key: tuple[str, ...], value: int) -> float:
        return max(value - self._before.get(key, 0), 0) / max(self.seconds, 1e-3)


def _counters(status: Status) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    for listener in status["listeners"]:
        for name in ("accepted", "requests", "answers_5xx"):
            found["listener", listener["name"], name] = listener.get(name, 0)
    for pool in status["pools"]:
        for server in pool["servers"]:
            for name in ("requests", "errors"):
                key = ("server", pool["name"], server["address"], name)
                found[key] = _done(server) if name == "requests" else _failed(server)
    return found


def _done(server: dict[str, Any]) -> int:
    """Requests, and of tcp connections."""
    return int(server["requests"] or server["connections"])


def _failed(server: dict[str, Any]) -> int:
    return int(server["errors"] + server["connect_failures"])


def tables(
    status: Status, rates: Rates, rows_max: int = 1_000_000, keys_max: int = 1_000_000
) -> Iterator[RenderableType]:
    """A line about the process, the listeners, the pools with `rows_max` servers in all, and the
    `keys_max` keys that rate limits refuse most."""
    yield _process(status)
    yield _listeners(status, rates)
    yield _pools(status, rates, rows_max)
    refused = refused_keys(status)[:keys_max]
    if refused:
        yield _refused(refused)


def refused_keys(status: Status) -> list[tuple[int, str, str]]:
    """Return how often each key was refused, by which rate limit, and the key."""
    found = [(one["refused"], limit["name"], one["key"])
             for limit in status.get("rate_limits", ()) for one in limit.get("refused_most", ())]
    return sorted(found, key=lambda one: -one[0])


def _refused(found: list[tuple[int, str, str]]) -> Fitting:
    table = _table("RATE LIMIT", "KEY", "REFUSED")
    for n, limit, key in found:
        table.add_row(Text(limit), Text(key), f"{n:,}")
    return table


def _process(status: Status) -> Text:
    colour = "green" if status["state"] == "serving" else "yellow"
    return Text.assemble(
        ("fastlb ", "bold"), f"{status['version']}  ", (status["state"], colour),
        f"  up {age(status['uptime'])}  process {status['pid']}"
        f"  {len(status['engines'])} engine{'s' if len(status['engines']) != 1 else ''}"
        f"  {status['in_flight']} connection{'s' if status['in_flight'] != 1 else ''}",
    )


LEFT = ("LISTENER", "ADDRESS", "POOL", "SERVER", "STATE", "CERTIFICATE", "OF", "NAMES",
        "RATE LIMIT", "KEY")
# What goes first where the terminal is narrow.
LEAST = ("P50", "WEIGHT", "NEW/S", "P99", "ERR/S", "5XX/S", "IN FLIGHT", "NAMES", "OF")


def _table(*heads: str) -> Fitting:
    return Fitting(heads, LEFT, LEAST)


def _listeners(status: Status, rates: Rates) -> Fitting:
    table = _table("LISTENER", "ADDRESS", "CONNECTIONS", "NEW/S", "REQ/S", "5XX/S")
    for listener in status["listeners"]:
        name = listener["name"]
        table.add_row(
            Text(name), Text(", ".join(listener["addresses"]) or "closed"),
            _places(listener["in_flight"], listener.get("max_connections", 0)),
            *(_rate(rates(("listener", name, key), listener.get(key, 0)))
              for key in ("accepted", "requests", "answers_5xx")),
        )
    return table


def _places(taken: int, most: int) -> Text:
    """How many are taken, of how many where there is a limit."""
    return Text(f"{taken:,} of {most:,}" if most else f"{taken:,}",
                "red" if most and taken >= most else "")


def _pools(status: Status, rates: Rates, rows_max: int) -> Fitting:
    table = _table("POOL", "SERVER", "STATE", "WEIGHT", "IN FLIGHT", "REQ/S", "ERR/S", "P50", "P99")
    left = rows_max
    hidden = 0
    for pool in status["pools"]:
        name = pool["name"]
        for i, server in enumerate(pool["servers"]):
            if left <= 0:
                hidden += 1
                continue
            left -= 1
            key = ("server", name, server["address"])
            weight, latency = server["weight"], server.get("latency") or {}
            table.add_row(
                Text(name if i == 0 else ""), Text(server["address"]),
                Text(server["state"], COLOURS.get(server["state"], "")),
                "left" if weight is None else str(weight), f"{server['in_flight']:,}",
                _rate(rates((*key, "requests"), _done(server))),
                _rate(rates((*key, "errors"), _failed(server))),
                duration(latency.get("p50")), duration(latency.get("p99")),
            )
        if not pool["servers"]:
            table.add_row(Text(name), Text("no server", "dim"))
    if hidden:
        table.add_row("", Text(f"and {hidden:,} more: fastlb status", "dim"))
    return table


def certificates(status: Status) -> Fitting:
    table = _table("CERTIFICATE", "OF", "NAMES", "EXPIRES IN")
    for one in status["certificates"]:
        names = one["names"]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        left_s = one["expires"] - status["time"]
        colour = "red" if left_s < 7 * 86400 else "yellow" if left_s < 30 * 86400 else ""
        table.add_row(
            Text(one["file"]), Text(one.get("listener") or one.get("pool", "")),
            Text(", ".join(names[:3]) + more), Text(age(max(left_s, 0)), colour),
        )
    return table


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}us"
    return f"{seconds * 1e3:.1f}ms" if seconds < 1 else f"{seconds:.2f}s"


def age(seconds: float) -> str:
    days, hours, minutes = int(seconds // 86400), int(seconds // 3600 % 24), int(seconds // 60 % 60)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {int(seconds % 60)}s" if minutes else f"{seconds:.0f}s"
