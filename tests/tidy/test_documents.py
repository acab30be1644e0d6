"""Pages lead to each other, and the first one to all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlb._core.tables.reasons import REASONS
from tests.tidy.rules import ROOT
from tools import modules

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings."""
    heads = re.findall(r"^#+ +(.*)$", _CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def dead_links(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        there = page.parent / path if path else page
        if not there.exists():
            yield f"{page.name}: {link}: there is no such file"
        elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text()):
            yield f"{page.name}: {link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert not list(dead_links(page))


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in _LINK.findall(text)}
    assert set((ROOT / "docs").glob("*.md")) <= linked


def test_every_end_of_a_request_is_explained() -> None:
    page = (ROOT / "docs" / "observe.md").read_text()
    assert not [name for name in REASONS if f"`{name}`" not in page]


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("[a](there.md), [b](there.md#two-words), [c](#here)\n# Here\n", []),
        ("[a](https://example.com/none.md), `[b](none.md)`\n```\n[c](none.md)\n```\n", []),
        ("[a](none.md)", ["page.md: none.md: there is no such file"]),
        ("[a](there.md#three)", ["page.md: there.md#three: there is no such heading"]),
    ],
)
def test_a_dead_link_is_noticed(tmp_path: Path, text: str, dead: list[str]) -> None:
    (tmp_path / "there.md").write_text("## Two words\n")
    page = tmp_path / "page.md"
    page.write_text(text)
    assert list(dead_links(page)) == dead


def test_the_list_of_modules_is_made_of_their_headers() -> None:
    assert modules.page() == modules.PAGE.read_text(), "run: python tools/modules.py"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("# One sentence.\n# Another one.\n", "One sentence."),
        ("# cython: x=True\n# It goes on\n# here, in 1.6 ms.\n\n# Not this.\n",
         "It goes on here, in 1.6 ms."),
        ("# See RFC 9113, 8). Then more.", "See RFC 9113, 8)."),
        ("# As `a ... b` has it: c. More.", "As `a ... b` has it: c."),
    ],
)
def test_a_module_is_said_to_be_what_its_header_says_first(
    tmp_path: Path, text: str, first: str
) -> None:
    (tmp_path / "a.pyx").write_text(text)
    assert modules.header(tmp_path / "a.pyx") == first


def test_every_module_has_a_header() -> None:
    nameless = [path for folder in modules.folders() for path in modules.modules(folder)
                if not modules.header(path)]
    assert not nameless
