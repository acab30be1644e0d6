"""What the header of a stage says of its ends is what its code does."""

from __future__ import annotations

import re

import pytest

from tests.tidy.ends import CORE, VERDICTS, ends, members

STAGES = sorted(path.stem for path in (CORE / "stages").glob("*.pyx") if path.stem != "record")


def said(stage: str) -> str:
    found = re.search(r"^# Ends: (.*?)\n(?!#)", (CORE / "stages" / f"{stage}.pyx").read_text(),
                      re.M | re.S)
    assert found, f"stages/{stage} doesn't say how it ends"
    return found[1]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_ends_as_its_header_says(stage: str) -> None:
    named = set(re.findall(r"\b[A-Z]+\b", re.sub(r"\([^)]*\)", "", said(stage)))) & VERDICTS
    assert named == ends(f"stages.{stage}.{stage}_step")


@pytest.mark.parametrize("stage", STAGES)
def test_a_header_that_lists_reasons_lists_all_of_the_stage(stage: str) -> None:
    """Unless it says that there are more."""
    text = said(stage)
    named = set(re.findall(r"\bREASON_\w+", text))
    source = (CORE / "stages" / f"{stage}.pyx").read_text()
    given = set(re.findall(r"x\.reason = (REASON_\w+)", source)) & members("Reason")
    assert not named or "..." in text or named == given
