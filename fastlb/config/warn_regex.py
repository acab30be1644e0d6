"""Routes by regular expression that a route by path hides: paths are tried before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from fastlb.config.effective import EffectiveListener
from fastlb.config.effective_http import EffectiveRoute
from fastlb.config.regex import Dfa, compile_regex

PAIRS_MAX = 2_000           # compared for one listener: `check` stays quick, whatever is configured


def regex_warnings(listener: EffectiveListener) -> Iterator[str]:
    """Name both routes, and the key that turns them round."""
    routes = listener.http.routes if listener.http is not None else ()
    told: set[str] = set()
    for one, other in islice(_pairs(routes), PAIRS_MAX):
        if other.name in told or not _takes(one, other):
            continue
        shared, rest = _compare(other.path_regex, one.path)
        where = f"listeners.{listener.name}: route '{other.name}'"
        how = f"give '{other.name}' an order below {one.order} to try it before"
        if shared and not rest:
            told.add(other.name)
            yield (f"{where} is never reached: all paths of its path_regex fit '{one.name}'"
                   f" ({one.path}), which is tried before; {how}")
        elif shared and (other.methods or other.conditions):
            told.add(other.name)
            yield (f"{where} doesn't get what fits '{one.name}' ({one.path}), which is tried"
                   f" before; {how}")


def _pairs(routes: tuple[EffectiveRoute, ...]) -> Iterator[tuple[EffectiveRoute, EffectiveRoute]]:
    for i, other in enumerate(routes):
        if other.path_regex:
            for one in routes[:i]:
                if one.path and one.host == other.host:
                    yield one, other


def _takes(one: EffectiveRoute, other: EffectiveRoute) -> bool:
    """Whether `one` takes what `other` is about, but for the path."""
    return (
        (not one.methods or (bool(other.methods) and set(other.methods) <= set(one.methods)))
        and set(one.conditions) <= set(other.conditions)
    )


@lru_cache(maxsize=256)
def _dfa(pattern: str) -> Dfa:
    return compile_regex(pattern, whole=True)


def _as_regex(path: str) -> str:
    """Of "/docs/{id}/*": what a route's path fits."""
    segments = path[1:].split("/")
    is_open = segments[-1] == "*"
    made = "".join("/[^/]+" if segment.startswith("{") else "/" + re.escape(segment)
                   for segment in segments[: len(segments) - is_open])
    return made + "(/.*)?" if is_open else made


def _compare(pattern: str, path: str) -> tuple[bool, bool]:
    """Whether there are paths that fit both, and paths that fit the regular expression alone."""
    one, two = _dfa(pattern), _dfa(_as_regex(path))
    steps = set(zip(one.classes, two.classes, strict=True))
    seen, left = {(1, 1)}, [(1, 1)]
    shared = rest = False
    while left and not (shared and rest):
        a, b = left.pop()
        if one.accepting[a]:
            shared = shared or bool(two.accepting[b])
            rest = rest or not two.accepting[b]
        for x, y in steps:
            following = (one.table[a * one.n_classes + x], two.table[b * two.n_classes + y])
            if following[0] and following not in seen:
                seen.add(following)
                left.append(following)
    return shared, rest
