"""Which certificates of a listener are shown for the same names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fastlb.compile.certificates import by_names


def one(kind: str, *names: str) -> Any:
    """An EffectiveCertificate, as far as is looked at."""
    parsed = SimpleNamespace(names=names, algorithm=f"{kind} 0")
    return SimpleNamespace(certificate=parsed, ocsp=b"")


def sorted_(*given: Any) -> list[tuple[tuple[bytes, ...], list[int]]]:
    place = {id(each.certificate): i for i, each in enumerate(given)}
    return [(spec.names, [place[id(parsed)] for parsed, _ in spec.certificates])
            for spec in by_names(given)]


def test_kinds_of_keys_stand_side_by_side() -> None:
    assert sorted_(one("RSA", "a", "b"), one("RSA", "c"), one("ECDSA", "b", "a")) == [
        ((b"a", b"b"), [0, 2]), ((b"c",), [1]),
    ]


def test_a_second_one_of_a_kind_stands_for_itself() -> None:
    assert sorted_(
        one("RSA", "a"), one("RSA", "a"), one("ECDSA", "a"), one("ECDSA", "a"), one("ECDSA", "a")
    ) == [((b"a",), [0, 2]), ((b"a",), [1, 3]), ((b"a",), [4])]


def test_other_names_are_another_entry() -> None:
    assert sorted_(one("RSA", "a"), one("ECDSA", "a", "b"), one("RSA"), one("ECDSA")) == [
        ((b"a",), [0]), ((b"a", b"b"), [1]), ((), [2, 3]),
    ]
