"""docs/explain.md shows what the command really prints.

`python -m tests.unit.explain.test_documents` writes it anew.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs/explain.md"
COMMAND = (
    "fastlb explain examples/documents.toml 'http://localhost:8080/docs/7/edit'"
    " -H 'X-Team-Tier: free' --from 192.0.2.7"
)


def shown() -> str:
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(COMMAND)], cwd=ROOT, capture_output=True, text=True,
        timeout=30, check=True,
    )
    return f"$ {COMMAND}\n{done.stdout.rstrip()}\n"


def written(text: str, output: str) -> str:
    return re.sub(
        r"(<!-- explain -->\n```console\n).*?(```\n<!-- /explain -->)",
        lambda found: f"{found[1]}{output}{found[2]}", text, flags=re.DOTALL,
    )


def test_the_document_shows_what_is_printed() -> None:
    text = DOCUMENT.read_text()
    assert written(text, shown()) == text
    assert "picked: 10." in text


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(), shown()))
