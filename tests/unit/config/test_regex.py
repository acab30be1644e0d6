"""Patterns as tables: they match what Python's own matcher does, in linear time."""

from __future__ import annotations

import random
import re
import time

import pytest

from fastlb.config.regex import STATES_MAX, compile_regex, matches

PATTERNS = [
    ("/v[0-9]+/.*", b"/v12/x", True),
    ("/v[0-9]+/.*", b"/v/x", False),
    ("(?i)/Docs", b"/dOcS", True),
    ("/(?:a|bc)*", b"/abcbca", True),
    ("/(?:a|bc)*", b"/abcb", False),
    ("a{2,3}", b"aaa", True),
    ("a{2,3}", b"aaaa", False),
    ("a{2,3}?b", b"aab", True),
    (r"\d\w\s\D\W\S", b"1_ x-y", True),
    ("[^a-c]x", b"dx", True),
    ("[^a-c]x", b"bx", False),
    (".", b"\n", False),
    ("(?s).", b"\n", True),
    ("é", "é".encode(), True),
    ("(?i:a)b", b"Ab", True),
    ("(?i:a)b", b"AB", False),
    ("^a$", b"a", True),
    ("", b"", True),
    ("a?", b"", True),
    ("(?P<n>x)y", b"xy", True),
]


@pytest.mark.parametrize(("pattern", "text", "expected"), PATTERNS)
def test_a_whole_text(pattern: str, text: bytes, expected: bool) -> None:
    assert matches(compile_regex(pattern, whole=True), text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("Mobile", b"Mozilla Mobile Safari", True),
        ("^Mobile", b"Mozilla Mobile", False),
        ("^Moz", b"Mozilla", True),
        ("Safari$", b"Mobile Safari", True),
        ("Safari$", b"Safari Mobile", False),
        ("^$", b"", True),
        ("^$", b"x", False),
        ("a|^b|c$", b"xb", False),
        ("a|^b|c$", b"xc", True),
    ],
)
def test_a_part_of_a_text(pattern: str, text: bytes, expected: bool) -> None:
    assert matches(compile_regex(pattern, whole=False), text) is expected


def some_pattern(choose: random.Random, depth: int = 0) -> str:
    parts = []
    for _ in range(choose.randint(1, 3)):
        kind = choose.randrange(8 if depth < 3 else 4)
        if kind < 3:
            part = choose.choice(["a", "b", "c", "ab", "."])
        elif kind == 3:
            part = choose.choice(["[ab]", "[^a]", "[a-c]", r"\d", r"\w", r"[^b\d]"])
        elif kind == 4:
            part = f"(?:{some_pattern(choose, depth + 1)}|{some_pattern(choose, depth + 1)})"
        elif kind == 5:
            part = f"({some_pattern(choose, depth + 1)}){choose.choice('*+?')}"
        elif kind == 6:
            part = f"(?:{some_pattern(choose, depth + 1)}){{{choose.randint(0, 2)},2}}"
        else:
            part = f"(?:{some_pattern(choose, depth + 1)})?"
        parts.append(part)
    return "".join(parts)


@pytest.mark.parametrize("seed", range(8))
def test_it_agrees_with_python(seed: int) -> None:
    choose = random.Random(seed)
    refused = 0
    for _ in range(40):
        pattern = some_pattern(choose)
        if choose.random() < 0.2:
            pattern = "^" + pattern
        if choose.random() < 0.2:
            pattern += r"\Z"
        python = re.compile(pattern.encode())
        try:
            whole, part = compile_regex(pattern, whole=True), compile_regex(pattern, whole=False)
        except ValueError:              # more than a DFA can hold: a rare one of these
            refused += 1
            continue
        for _ in range(20):
            text = bytes(choose.choice(b"abc1\n") for _ in range(choose.randint(0, 8)))
            assert matches(whole, text) is bool(python.fullmatch(text)), (seed, pattern, text)
            assert matches(part, text) is bool(python.search(text)), (seed, pattern, text)
    assert refused <= 2


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "not a regular expression: missing ), unterminated subpattern at position 0"),
        (r"(a)\1", "groupref is not possible here: matching takes one step for each byte"),
        ("(?=a)", "assert is not possible here: matching takes one step for each byte"),
        (r"\ba", "only the text's begin and end can be asked for (^ and $)"),
        ("[éa]", "'é' can't stand in a class of bytes; write it by itself"),
        ("(?:a{200}){400}", "the pattern is too large; repeat less"),
        ("[ab]*a[ab]{14}", f"the pattern needs more than {STATES_MAX} states; make it simpler"),
    ],
)
def test_what_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        compile_regex(pattern, whole=True)
    assert str(caught.value) == why


def test_no_text_takes_long() -> None:
    dfa = compile_regex("(a+)+$", whole=True)
    started = time.process_time()
    assert not matches(dfa, b"a" * 100_000 + b"!")
    assert time.process_time() - started < 5    # backtracking would outlast the universe
