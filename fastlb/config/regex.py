"""Regular expressions made into tables that the engines walk, a step for each byte.

A backtracking matcher can take exponential time for one text; a DFA can't, whatever is configured
and whatever is asked. Python's own parser reads the pattern; Thompson's construction and the subset
construction do the rest (Aho, Sethi, Ullman: Compilers, 3.7).
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

if sys.version_info >= (3, 11):
    from re import _constants as sre  # type: ignore[attr-defined]
    from re import _parser as sre_parser  # type: ignore[attr-defined]
else:
    import sre_constants as sre
    import sre_parse as sre_parser

operators, parse = sre, sre_parser.parse      # (of Python's own parser)

STATES_MAX = 4096           # of a DFA: 2 MiB of tables at most, and usually a few KiB
NODES_MAX = 65_536          # of the NFA before it
BYTES = frozenset(range(256))
NEWLINE = frozenset({10})
DIGITS = frozenset(range(48, 58))
WORD = DIGITS | frozenset(range(65, 91)) | frozenset(range(97, 123)) | {95}
SPACE = frozenset(b" \t\n\r\f\v")
_CATEGORIES = {
    sre.CATEGORY_DIGIT: DIGITS, sre.CATEGORY_NOT_DIGIT: BYTES - DIGITS,
    sre.CATEGORY_WORD: WORD, sre.CATEGORY_NOT_WORD: BYTES - WORD,
    sre.CATEGORY_SPACE: SPACE, sre.CATEGORY_NOT_SPACE: BYTES - SPACE,
}
BEGIN, END = -1, -2         # what an edge may ask for instead of a byte


@dataclass(frozen=True)
class Dfa:
    """State 0 is dead, state 1 the first. `table[state * n_classes + classes[byte]]` is next."""

    classes: bytes
    n_classes: int
    n_states: int
    table: array[int]
    accepting: bytes


class _Nfa:
    """Nodes with edges: on a set of bytes, on nothing, or at the text's begin or end alone."""

    def __init__(self) -> None:
        self.free: list[list[int]] = []
        self.at: list[list[tuple[int, int]]] = []
        self.on: list[list[tuple[frozenset[int], int]]] = []

    def node(self) -> int:
        if len(self.free) == NODES_MAX:
            raise ValueError("the pattern is too large; repeat less")
        self.free.append([])
        self.at.append([])
        self.on.append([])
        return len(self.free) - 1

    def add(self, parsed: Iterable[Any], start: int, flags: int) -> int:
        """Nodes for a sequence, from `start`; returns where it ends."""
        for op, value in parsed:
            start = self._add(op, value, start, flags)
        return start

    def _add(self, op: Any, value: Any, start: int, flags: int) -> int:
        if op is sre.LITERAL:
            return self._literal(value, start, flags)
        if op in (sre.ANY, sre.NOT_LITERAL, sre.IN):
            return self._set(byte_set(op, value, flags), start)
        if op is sre.BRANCH:
            end = self.node()
            for branch in value[1]:
                self.free[self.add(branch, self._step(start), flags)].append(end)
            return end
        if op is sre.SUBPATTERN:
            _, added, removed, inner = value
            return self.add(inner, start, (flags | added) & ~removed)
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            return self._repeat(value, start, flags)
        if op is sre.AT:
            return self._anchor(value, start, flags)
        raise ValueError(f"{str(op).lower().replace('_', ' ')} is not possible here:"
                         " matching takes one step for each byte")

    def _step(self, start: int) -> int:
        node = self.node()
        self.free[start].append(node)
        return node

    def _set(self, wanted: frozenset[int], start: int) -> int:
        end = self.node()
        self.on[start].append((wanted, end))
        return end

    def _literal(self, code: int, start: int, flags: int) -> int:
        for byte in chr(code).encode("utf-8", "surrogatepass"):
            start = self._set(cased(frozenset({byte}), flags), start)
        return start

    def _repeat(self, value: Any, start: int, flags: int) -> int:
        low, high, inner = value
        for _ in range(low):
            start = self.add(inner, self._step(start), flags)
        if high is sre.MAXREPEAT:
            loop = self._step(start)
            self.free[self.add(inner, loop, flags)].append(loop)
            return self._step(loop)
        end = self.node()
        self.free[start].append(end)
        for _ in range(high - low):
            start = self.add(inner, self._step(start), flags)
            self.free[start].append(end)
        return end

    def _anchor(self, value: Any, start: int, flags: int) -> int:
        if flags & re.MULTILINE or value not in (
                sre.AT_BEGINNING, sre.AT_BEGINNING_STRING, sre.AT_END, sre.AT_END_STRING):
            raise ValueError("only the text's begin and end can be asked for (^ and $)")
        begins = value in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING)
        end = self.node()
        self.at[start].append((BEGIN if begins else END, end))
        return end

    def closure(self, nodes: Iterable[int], allowed: frozenset[int]) -> frozenset[int]:
        """All that can be reached without a byte."""
        found = set(nodes)
        waiting = list(found)
        while waiting:
            node = waiting.pop()
            following = [*self.free[node], *(n for what, n in self.at[node] if what in allowed)]
            for other in following:
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return frozenset(found)


def cased(wanted: frozenset[int], flags: int) -> frozenset[int]:
    if not flags & re.IGNORECASE:
        return wanted
    text = bytes(wanted)
    return frozenset(text.lower()) | frozenset(text.upper())


def byte_set(op: Any, value: Any, flags: int) -> frozenset[int]:
    if op is sre.ANY:
        return BYTES if flags & re.DOTALL else BYTES - NEWLINE
    if op is sre.NOT_LITERAL:
        return BYTES - cased(frozenset({_byte(value)}), flags)
    wanted: set[int] = set()
    negated = False
    for kind, item in value:
        if kind is sre.NEGATE:
            negated = True
        elif kind is sre.LITERAL:
            wanted.add(_byte(item))
        elif kind is sre.RANGE:
            wanted |= set(range(_byte(item[0]), _byte(item[1]) + 1))
        else:
            wanted |= _CATEGORIES[item]
    found = cased(frozenset(wanted), flags)
    return BYTES - found if negated else found


def _byte(code: int) -> int:
    if code > 127:
        raise ValueError(f"{chr(code)!r} can't stand in a class of bytes; write it by itself")
    return code


def compile_regex(pattern: str, *, whole: bool) -> Dfa:
    """The DFA of a pattern for a whole text, or for any part of it. ValueError says why not."""
    try:
        parsed = sre_parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    nfa = _Nfa()
    start = nfa.node()
    first = start if whole else nfa._step(start)
    end = nfa.add(parsed, first, parsed.state.flags)
    if not whole:
        nfa.on[first].append((BYTES, first))
        nfa.on[end].append((BYTES, end))
    return _determine(nfa, start, end)


def _classes(nfa: _Nfa) -> tuple[bytes, list[int]]:
    """Bytes that no edge tells apart are one class; and a byte of each."""
    groups: dict[int, int] = dict.fromkeys(range(256), 0)
    known: set[frozenset[int]] = set()
    for edges in nfa.on:
        for wanted, _ in edges:
            if wanted in known:
                continue
            known.add(wanted)
            numbers: dict[tuple[int, bool], int] = {}
            groups = {
                byte: numbers.setdefault((group, byte in wanted), len(numbers))
                for byte, group in groups.items()
            }
    examples: dict[int, int] = {}
    for byte, group in groups.items():
        examples.setdefault(group, byte)
    return bytes(groups[byte] for byte in range(256)), [examples[g] for g in sorted(examples)]


def _determine(nfa: _Nfa, start: int, end: int) -> Dfa:
    classes, examples = _classes(nfa)
    nothing: frozenset[int] = frozenset()
    first = nfa.closure([start], frozenset({BEGIN}))
    states = {nothing: 0, first: 1}
    order = [nothing, first]
    table = array("H")
    for state in _growing(order):
        for byte in examples:
            reached = nfa.closure(
                (to for node in state for wanted, to in nfa.on[node] if byte in wanted), nothing
            )
            if reached not in states:
                if len(states) == STATES_MAX:
                    raise ValueError(
                        f"the pattern needs more than {STATES_MAX} states; make it simpler"
                    )
                states[reached] = len(states)
                order.append(reached)
            table.append(states[reached])
    # At the text's end, what may only come there can still be passed; at once its begin, too.
    last = frozenset({END})
    accepting = bytes(
        end in nfa.closure(state, last | {BEGIN} if state is first else last) for state in order
    )
    return Dfa(classes, len(examples), len(order), table, accepting)


def _growing(items: list[frozenset[int]]) -> Iterator[frozenset[int]]:
    """The items, those too that are added meanwhile."""
    i = 0
    while i < len(items):
        yield items[i]
        i += 1


def matches(dfa: Dfa, data: bytes) -> bool:
    """As the engines do it; for tests, and for who explains a route."""
    state = 1
    for byte in data:
        state = dfa.table[state * dfa.n_classes + dfa.classes[byte]]
    return bool(dfa.accepting[state])
