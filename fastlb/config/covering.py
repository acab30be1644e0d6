"""Which route is never reached, as one that is tried before it takes all of its requests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastlb.config.effective_http import Condition, EffectiveRoute

CONDITIONS_MAX = 8      # of a route, of which all subsets are looked up: 256 at most

Methods = tuple[str, ...]
First = dict[Methods, int]              # the first route with these methods


@dataclass
class _Node:
    """Patterns of paths that begin alike."""

    literal: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    ends: First = field(default_factory=dict)       # of "/a/b"
    opens: First = field(default_factory=dict)      # of "/a/b/*"

    def next(self, segment: str) -> _Node:
        """The node behind a segment of a pattern; made if it isn't there."""
        if segment.startswith("{"):
            if self.parameter is None:
                self.parameter = _Node()
            return self.parameter
        return self.literal.setdefault(segment, _Node())


@dataclass
class _Patterns:
    """Those of routes with one host, regular expression and set of conditions."""

    any: First = field(default_factory=dict)        # of routes without a path
    root: _Node = field(default_factory=_Node)


Key = tuple[str, str, frozenset[Condition]]


class Covering:
    """Routes in the order in which they are tried."""

    def __init__(self) -> None:
        self._known: dict[Key, _Patterns] = {}

    def add(self, index: int, route: EffectiveRoute) -> None:
        key = route.host, route.path_regex, frozenset(route.conditions)
        patterns = self._known.setdefault(key, _Patterns())
        first = patterns.any
        if route.path:
            segments, is_open = _segments(route.path)
            node = patterns.root
            for segment in segments:
                node = node.next(segment)
            first = node.opens if is_open else node.ends
        first.setdefault(tuple(sorted(route.methods)), index)

    def first(self, route: EffectiveRoute) -> int | None:
        """The first of those added that all requests fit that fit this one, as far as can be said;
        None if there is none. It may be said of too few: of routes with many conditions."""
        found = [
            index
            for conditions in subsets(frozenset(route.conditions))
            if (patterns := self._known.get((route.host, route.path_regex, conditions)))
            for first in _fitting(patterns, route.path)
            for methods, index in first.items()
            if not methods or (route.methods and set(route.methods) <= set(methods))
        ]
        return min(found, default=None)


def subsets(conditions: frozenset[Condition]) -> Iterator[frozenset[Condition]]:
    """All of them, or the least and the most where there are too many."""
    if len(conditions) > CONDITIONS_MAX:
        yield from (frozenset(), conditions)
        return
    for size in range(len(conditions) + 1):
        yield from map(frozenset, itertools.combinations(conditions, size))


def _segments(path: str) -> tuple[list[str], bool]:
    """Of a pattern, and whether more may follow."""
    segments = path[1:].split("/")
    is_open = segments[-1] == "*"
    return segments[: len(segments) - is_open], is_open


def _fitting(patterns: _Patterns, path: str) -> Iterator[First]:
    yield patterns.any
    if not path:
        return
    segments, is_open = _segments(path)
    nodes = [patterns.root]
    for segment in segments:
        yield from (node.opens for node in nodes)
        nodes = [
            after for node in nodes
            for after in (node.parameter,
                          None if segment.startswith("{") else node.literal.get(segment))
            if after is not None
        ]
    for node in nodes:
        yield node.opens
        if not is_open:
            yield node.ends
