"""The toys of docs/extending.md: how many files each touches, and whether they still fit the tree.
`make toys` builds them and runs their tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.toys import TOYS, Toy

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)
def test_a_toy_touches_few_files(toy: Toy) -> None:
    assert any(path.startswith("tests/") for path in toy.touched())
    assert len(toy.touched()) <= toy.limit, sorted(toy.touched())


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)
def test_a_toy_fits_the_tree(toy: Toy) -> None:
    for path in toy.files():
        assert not (ROOT / path).exists(), f"{path} is there already"
        assert (ROOT / path).parent.is_dir(), f"there is no folder for {path}"
    for edit in toy.edits:
        lines = (ROOT / edit.path).read_text().splitlines()
        assert any(line.startswith(edit.anchor) for line in lines), f"{edit.path}: {edit.anchor}"
