"""What groups capture: the same as in Python, found without going back."""

from __future__ import annotations

import random
import re

import pytest

from fastlb.config.captures import captured, compile_captures, group_names
from fastlb.config.regex import compile_regex, matches

SEED = 7


def groups(pattern: str, text: str) -> list[str | None] | None:
    """None where it doesn't fit."""
    if not matches(compile_regex(pattern, whole=True), text.encode()):
        return None
    found = captured(compile_captures(pattern), text.encode())
    return [one.decode() if one is not None else None for one in found]


def generated(chance: random.Random, depth: int) -> str:
    """A pattern whose repeats repeat something: of what may be empty, Python has its own ideas."""
    kind = chance.random()
    if depth == 0 or kind < 0.3:
        return chance.choice(["a", "b", "/", ".", "[ab]", "[^/]"])
    one = generated(chance, depth - 1)
    if kind < 0.5:
        return one + generated(chance, depth - 1)
    if kind < 0.7:
        return f"({one})"
    if kind < 0.8:
        return f"(?:{one}|{generated(chance, depth - 1)})"
    if kind < 0.85:
        return f"^{one}" if chance.random() < 0.5 else f"{one}$"
    again = chance.choice(["*", "+", "?", "*?", "+?", "{1,3}", "{2}"])
    return f"(?:{one}){again}" if not re.fullmatch(one, "") else f"(?:{one})"


def test_any_pattern_captures_as_python_does() -> None:
    chance = random.Random(SEED)
    checked = 0
    for _ in range(1500):
        pattern = generated(chance, 4)
        for _ in range(6):
            text = "".join(chance.choice("ab/") for _ in range(chance.randrange(8)))
            wanted = re.fullmatch(pattern, text)
            got = groups(pattern, text)
            assert (got is None) == (wanted is None), (SEED, pattern, text)
            if wanted is not None:
                assert got == list(wanted.groups()), (SEED, pattern, text)
                checked += 1
    assert checked > 500


@pytest.mark.parametrize(("pattern", "text", "wanted"), [
    ("/(.*)/(.*)", "/a/b/c", ["a/b", "c"]),
    ("/(.*?)/(.*)", "/a/b/c", ["a", "b/c"]),
    ("/(a|ab)(c|bcd)?", "/abcd", ["a", "bcd"]),
    ("/(?:(x)|(y))*", "/xyx", ["x", "y"]),
    ("^/(é+)$", "/éé", ["éé"]),
    ("(?i)/(A)(?-i:(b))", "/ab", ["a", "b"]),
])
def test_groups_of_patterns_that_people_write(
    pattern: str, text: str, wanted: list[str | None]
) -> None:
    assert groups(pattern, text) == wanted


def test_loops_over_nothing_end() -> None:
    for pattern in ("(a*)*", "((?:a*?)*?)*", "(?:(a)??)*", "((?:(?:(a))??)+)*?"):
        assert len(captured(compile_captures(pattern), b"aaa")) >= 1


@pytest.mark.parametrize(("pattern", "told"), [
    ("(a)" * 17, "at most 16 groups"),
    ("(a{1000}){100}", "too large to capture with"),
    ("[ab]{13}a([ab]*)", "more than 2048 states"),
])
def test_patterns_that_cost_too_much_are_refused(pattern: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        compile_captures(pattern)


def test_groups_have_names_and_numbers() -> None:
    assert group_names("/(?P<id>a)(?:b)(c)") == {"1", "2", "id"}
