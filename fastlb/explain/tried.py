"""Routes in words: what each asks for, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastlb.compile.routes import conditions_of
from fastlb.config.effective_http import Condition, EffectiveRoute
from fastlb.config.policy import EffectivePolicy
from fastlb.explain.model import RouteTried

# As fastlb._core.explain.requests has it:
# host and path fit, and of each condition whether it is met, and
# what the request has there.
Seen = tuple[bool, bool, list[tuple[bool, "bytes | None"]]]

_FAILS = {
    "equals": "is {value}, not {wanted}",
    "prefix": "is {value}, which doesn't begin with {any}{wanted}",
    "suffix": "is {value}, which doesn't end in {any}{wanted}",
    "contains": "is {value}, without {any}{wanted}",
    "regex": "is {value}, which doesn't match {any}{wanted}",
    "pattern": "is {value}, not {wanted}",
    "one_of": "is {value}, none of {wanted}",
    "names": "is {value}, none of {wanted}",
}


def asks_for(route: EffectiveRoute) -> str:
    """What a request must have, in one line."""
    parts = [" ".join(route.methods), route.host + (route.path or route.path_regex)]
    parts += [wanted_of(condition) for condition in route.conditions]
    return ", ".join(part for part in parts if part) or "everything"


def wanted_of(condition: Condition) -> str:
    c = condition
    how = "" if c.op == "present" else f" {c.op.replace('_', ' ')} {_wanted(c)}"
    return f"{'not ' if c.negate else ''}{c.kind}{'.' if c.name else ''}{c.name}{how}"


def quoted(value: str | bytes) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode()
                         for c in text) + '"'


def _wanted(condition: Condition) -> str:
    return ", ".join(map(quoted, values_of(condition)))


def values_of(condition: Condition) -> list[str]:
    """Those of which any will do."""
    if condition.op in ("one_of", "names", "prefix", "suffix", "contains", "regex"):
        return condition.value.split("\n")
    return [condition.value]


def _subject(condition: Condition) -> str:
    return f"{condition.kind} {condition.name}".strip()


def against(condition: Condition, value: bytes | None) -> str:
    subject = _subject(condition)
    if condition.negate:
        if condition.op == "present":
            return f"{subject} is there"
        how = {"equals": "", "pattern": "", "one_of": "one of ", "names": "one of "}.get(
            condition.op, f"{condition.op} ")
        return f"{subject} is {quoted(value or b'')}: it must not be {how}{_wanted(condition)}"
    if value is None:
        return f"{subject} is absent"
    if condition.kind == "method":
        return f"method is {value.decode('latin-1')}, not {' or '.join(condition.value.split())}"
    if condition.op == "network":
        return f"client is {value.decode('latin-1')}, of none of {condition.value}"
    if condition.op == "present":       # a member that is an object or a list
        return f"{subject} can't be compared"
    return f"{subject} " + _FAILS[condition.op].format(
        value=quoted(value), wanted=_wanted(condition),
        any="any of " if len(values_of(condition)) > 1 else "")


def _reasons(route: EffectiveRoute, seen: Seen, host: bytes, path: bytes) -> Iterator[str]:
    has_host, has_path, conditions = seen
    if not has_host:
        yield f"host is {quoted(host)}, not {quoted(route.host)}"
    if not has_path:
        wanted = route.path or f"one that matches {route.path_regex}"
        yield f"path is {quoted(path)}, not {quoted(wanted)}"
    for condition, (met, value) in zip(conditions_of(route), conditions, strict=True):
        if not met:
            yield against(condition, value)


def tried(
    routes: Sequence[EffectiveRoute], seen: Sequence[Seen], taken: int, host: bytes, path: bytes
) -> tuple[RouteTried, ...]:
    """All routes of a listener; `taken` is the one that was, or -1. A route with several hosts or
    paths stands there once for each."""
    return rated([
        (route.name, asks_for(route),
         tuple(which(conditions_of(route), one[2]) if i == taken
               else _reasons(route, one, host, path)))
        for i, (route, one) in enumerate(zip(routes, seen, strict=True))
    ], taken)


def which(
    conditions: Sequence[Condition], seen: Sequence[tuple[bool, bytes | None]]
) -> Iterator[str]:
    """Of conditions with several values, what was there."""
    for condition, (_, value) in zip(conditions, seen, strict=True):
        several = len(values_of(condition)) > 1 or (
            (condition.kind == "method" or condition.op == "network") and " " in condition.value)
        if several and value is not None and not condition.negate:
            yield f"{_subject(condition)} is {quoted(value)}"


def rated(
    routes: Sequence[tuple[str, str, tuple[str, ...]]], taken: int
) -> tuple[RouteTried, ...]:
    """Of each route its name, what it asks for, and all that speaks against it."""
    found = []
    for i, (name, what, reasons) in enumerate(routes):
        outcome = "taken" if i == taken else "no"
        if i != taken and not reasons:
            if 0 <= taken < len(routes) and name == routes[taken][0]:
                continue                # (by another of its hosts or paths)
            outcome = "later"
            first = routes[taken][0] if 0 <= taken < len(routes) else "another"
            reasons = (f"it fits, but {first} comes before",)
        found.append(RouteTried(name, what, outcome, reasons))
    return tuple(found)


def name_of(policy: EffectivePolicy) -> str:
    """Of its function, as it is written."""
    call = policy.call
    return call if isinstance(call, str) else f"{call.__module__}:{call.__qualname__}"


def readable(value: bytes | None) -> str:
    """Whatever it is; "" for nothing."""
    return "" if value is None else value.decode("utf-8", "backslashreplace")
