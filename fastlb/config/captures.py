"""What the groups of a regular expression captured, found without backtracking.

A DFA says that a path fits, and not where its groups begin and end. So the path is walked twice
(Frisch, Cardelli: Greedy Regular Expression Matching, 2004). The first walk goes backwards, by a
DFA over a program's steps, and tells for each place which steps can still reach the end. The second
walk goes forwards through the program, as a backtracking matcher would, and takes of two ways the
first that can: so it never has to go back. Both take time in proportion to the path.

What is captured is what Python's `re` captures, but for repeats of what may be empty inside of
other repeats, such as `(a*?)*`.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fastlb._core.tables.numbers import CAPTURES
from fastlb.config import limits
from fastlb.config.regex import BYTES, byte_set, cased, operators, parse

# BRANCH and the loops prefer `a`, and loops leave by their exit.
DONE, BYTE, GO, BRANCH, LOOP, LAZY, MARK = (
    CAPTURES[kind] for kind in ("done", "byte", "go", "branch", "loop", "lazy", "mark"))
STEPS_MAX = 2048            # of a program: each state of the walk backwards has a bit of each
STATES_MAX = 2048           # of the walk backwards: 512 KiB of bits at most
BEGIN, END = 0, 1


@dataclass(frozen=True)
class Captures:
    """A program, and the DFA that walks backwards. State 0 is that of a path's end.

    `steps` are (kind, a, b): of MARK, b is twice the group's number, and 1 more for its end.
    `table[state * n_classes + classes[byte]]` is the state one byte before; `able` has a bit for
    each step and state, in `row` bytes a state.
    """

    names: dict[str, int]       # of groups, those that are named and all by their numbers
    n_groups: int
    steps: list[tuple[int, int, int]]
    classes: bytes
    n_classes: int
    n_states: int
    table: array[int]
    row: int
    able: bytes


@dataclass
class _Program:
    kinds: list[int] = field(default_factory=list)
    ways: list[list[int]] = field(default_factory=list)
    sets: list[frozenset[int]] = field(default_factory=list)
    anchors: dict[int, int] = field(default_factory=dict)       # of GO: what has to be there

    def step(self, kind: int, *ways: int, wanted: frozenset[int] = frozenset()) -> int:
        if len(self.kinds) == STEPS_MAX:
            raise ValueError("the pattern is too large to capture with; repeat less")
        self.kinds.append(kind)
        self.ways.append(list(ways))
        self.sets.append(wanted)
        return len(self.kinds) - 1

    # Built from the end to the begin: each part is given the step that follows it.

    def sequence(self, parsed: Iterable[Any], following: int, flags: int) -> int:
        for op, value in reversed(list(parsed)):
            following = self.part(op, value, following, flags)
        return following

    def part(self, op: Any, value: Any, following: int, flags: int) -> int:
        if op is operators.LITERAL:
            for byte in reversed(chr(value).encode("utf-8", "surrogatepass")):
                wanted = cased(frozenset({byte}), flags)
                following = self.step(BYTE, following, wanted=wanted)
            return following
        if op in (operators.ANY, operators.NOT_LITERAL, operators.IN):
            return self.step(BYTE, following, wanted=byte_set(op, value, flags))
        if op is operators.BRANCH:
            ways = [self.sequence(way, following, flags) for way in value[1]]
            found = ways.pop()
            while ways:
                found = self.step(BRANCH, ways.pop(), found)
            return found
        if op is operators.SUBPATTERN:
            return self.group(value, following, flags)
        if op in (operators.MAX_REPEAT, operators.MIN_REPEAT):
            return self.repeat(value, following, flags, op is operators.MIN_REPEAT)
        begins = value in (operators.AT_BEGINNING, operators.AT_BEGINNING_STRING)
        made = self.step(GO, following)
        self.anchors[made] = BEGIN if begins else END
        return made

    def group(self, value: Any, following: int, flags: int) -> int:
        number, added, removed, inner = value
        flags = (flags | added) & ~removed
        if number is None:
            return self.sequence(inner, following, flags)
        end = self.step(MARK, following, 2 * number + 1)
        return self.step(MARK, self.sequence(inner, end, flags), 2 * number)

    def repeat(self, value: Any, following: int, flags: int, lazy: bool) -> int:
        low, high, inner = value
        if high is operators.MAXREPEAT:
            loop = self.step(LAZY if lazy else LOOP, 0, 0)
            body = self.sequence(inner, loop, flags)
            self.ways[loop] = [following, body] if lazy else [body, following]
            following = loop
        else:
            end = following
            for _ in range(high - low):
                body = self.sequence(inner, following, flags)
                following = self.step(BRANCH, *((end, body) if lazy else (body, end)))
        for _ in range(low):
            following = self.sequence(inner, following, flags)
        return following


def compile_captures(pattern: str) -> Captures:
    """Of a pattern for a whole path. ValueError says why there can be none."""
    parsed = parse(pattern)
    state = parsed.state
    n_groups = int(state.groups) - 1
    if n_groups > limits.GROUPS_MAX:
        raise ValueError(f"a pattern has at most {limits.GROUPS_MAX} groups to capture with")
    program = _Program()
    done = program.step(DONE)
    first = program.sequence(parsed, done, state.flags)
    program, first = _at_begin(program, first)
    names = {**{str(n + 1): n for n in range(n_groups)},
             **{name: n - 1 for name, n in state.groupdict.items()}}
    # The walk forwards begins with the first step.
    order = [first, *(i for i in range(len(program.kinds)) if i != first)]
    return _determine(program, order, names, n_groups)


def _at_begin(program: _Program, first: int) -> tuple[_Program, int]:
    """Where ^ stands, the program is there twice: before the first byte, where ^ holds, and after
    it, where ^ leads nowhere."""
    if BEGIN not in program.anchors.values():
        return program, first
    size = len(program.kinds)
    made = _Program()
    for copy in range(2):
        for i, kind in enumerate(program.kinds):
            # (a step that is not before the first byte any more stays among those after it)
            shift = 0 if copy == 0 and kind != BYTE else size
            ways = program.ways[i]
            ways = [ways[0] + shift, ways[1]] if kind == MARK else [way + shift for way in ways]
            anchor = program.anchors.get(i)
            if anchor == BEGIN and copy == 1:
                kind, ways = BYTE, [size + i]           # of no byte at all
                made.step(kind, *ways)
                continue
            step = made.step(kind, *ways, wanted=program.sets[i])
            if anchor == END:
                made.anchors[step] = END
    return made, first


def _classes(sets: Iterable[frozenset[int]]) -> tuple[bytes, list[int]]:
    """Bytes that no step tells apart are one class; and a byte of each."""
    groups = dict.fromkeys(BYTES, 0)
    for wanted in set(sets):
        numbers: dict[tuple[int, bool], int] = {}
        groups = {byte: numbers.setdefault((group, byte in wanted), len(numbers))
                  for byte, group in sorted(groups.items())}
    examples: dict[int, int] = {}
    for byte, group in groups.items():
        examples.setdefault(group, byte)
    return bytes(groups[byte] for byte in range(256)), [examples[n] for n in sorted(examples)]


def _leading(program: _Program, at_end: bool) -> dict[int, list[int]]:
    """For each step those that lead to it without a byte."""
    leading: dict[int, list[int]] = {}
    for i, kind in enumerate(program.kinds):
        if kind in (DONE, BYTE) or (not at_end and program.anchors.get(i) == END):
            continue
        for way in program.ways[i][: 1 if kind == MARK else 2]:
            leading.setdefault(way, []).append(i)
    return leading


def _before(leading: dict[int, list[int]], steps: Iterable[int]) -> frozenset[int]:
    """All steps that lead to one of these without a byte."""
    found = set(steps)
    waiting = list(found)
    while waiting:
        for i in leading.get(waiting.pop(), ()):
            if i not in found:
                found.add(i)
                waiting.append(i)
    return frozenset(found)


def _determine(
    program: _Program, order: list[int], names: dict[str, int], n_groups: int
) -> Captures:
    classes, examples = _classes(
        wanted for kind, wanted in zip(program.kinds, program.sets, strict=True) if kind == BYTE)
    reading = [[(i, program.ways[i][0]) for i, kind in enumerate(program.kinds)
                if kind == BYTE and byte in program.sets[i]] for byte in examples]
    leading = _leading(program, at_end=False)
    end = _before(_leading(program, at_end=True),
                  [i for i, kind in enumerate(program.kinds) if kind == DONE])
    states = {end: 0}
    waiting = [end]
    table = array("H")
    for able in waiting:                # (grows meanwhile)
        for steps_of_class in reading:
            reached = _before(leading, [i for i, way in steps_of_class if way in able])
            if reached not in states:
                if len(states) == STATES_MAX:
                    raise ValueError(f"capturing with this pattern needs more than {STATES_MAX}"
                                     " states; make it simpler")
                states[reached] = len(states)
                waiting.append(reached)
            table.append(states[reached])
    place = {old: new for new, old in enumerate(order)}
    row = (len(order) + 7) // 8
    bits = bytearray(row * len(states))
    for number, able in enumerate(waiting):
        for i in able:
            bits[number * row + (place[i] >> 3)] |= 1 << (place[i] & 7)
    steps = []
    for old in order:
        kind, ways = program.kinds[old], program.ways[old]
        a = place[ways[0]] if ways else 0
        b = 0 if len(ways) < 2 else ways[1] if kind == MARK else place[ways[1]]
        steps.append((kind, a, b))
    return Captures(names, n_groups, steps, classes, len(examples), len(states), table, row,
                    bytes(bits))


def captured(captures: Captures, text: bytes) -> list[bytes | None]:
    """As the engines do it, for a text that fits; for tests, and for who explains a route."""
    able = [0]
    for byte in reversed(text):
        able.append(captures.table[able[-1] * captures.n_classes + captures.classes[byte]])
    able.reverse()
    marks: list[int] = [-1] * (2 * captures.n_groups + 2)
    at = step = idle = 0
    size = len(captures.steps)
    while captures.steps[step][0] != DONE and idle <= 4 * size:
        kind, a, b = captures.steps[step]
        idle += 1

        def can(way: int, state: int = able[at]) -> bool:
            return bool(captures.able[state * captures.row + (way >> 3)] >> (way & 7) & 1)

        if kind == BYTE:
            at, idle = at + 1, 0
            step = a
        elif kind == MARK:
            marks[b] = at
            step = a
        elif kind == GO:
            step = a
        else:
            # A loop that goes round without a byte is left; if that leads nowhere, the second ways
            # are taken.
            other = (idle > size and kind == LOOP) or (idle > 2 * size and kind != LOOP)
            step = b if (other and can(b)) or not can(a) else a
    return [text[marks[2 * n] : marks[2 * n + 1]] if 0 <= marks[2 * n] <= marks[2 * n + 1] else None
            for n in range(1, captures.n_groups + 1)]


def group_names(pattern: str) -> set[str]:
    """The groups of a pattern, by their names and their numbers. ValueError."""
    try:
        state = parse(pattern).state
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return {*map(str, range(1, int(state.groups))), *state.groupdict}
