"""Modules that the oldest Python of fastlb has not are imported with another way beside them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("fastlb", "tests", "examples", "tools", "bench")
# In the standard library since 3.11. Those who need it take that of fastlb.config.reader.
LATER = re.compile(r"^(?:import|from) tomllib\b", re.M)


def test_modules_of_later_pythons_are_not_imported_without_another_way() -> None:
    found = [str(path.relative_to(ROOT)) for folder in FOLDERS
             for path in (ROOT / folder).rglob("*.py") if LATER.search(path.read_text())]
    assert found == []
