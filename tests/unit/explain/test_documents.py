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
COMMANDS = {
    "explain": "fastlb explain examples/documents.toml 'http://localhost:8080/docs/7/edit'"
    " -H 'X-Team-Tier: free' --from 192.0.2.7",
    "connection": "fastlb explain examples/sensors.toml tcp://localhost:1883"
    " --says mqtt --client-id meter-7",
}


def shown(command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)], cwd=ROOT, capture_output=True, text=True,
        timeout=120, check=True,
    )
    return f"$ {command}\n{done.stdout.rstrip()}\n"


def written(text: str) -> str:
    for name, command in COMMANDS.items():
        output = shown(command)
        text = re.sub(
            rf"(<!-- {name} -->\n```console\n).*?(```\n<!-- /{name} -->)",
            lambda found, output=output: f"{found[1]}{output}{found[2]}", text, flags=re.DOTALL,
        )
    return text


def test_the_document_shows_what_is_printed() -> None:
    text = DOCUMENT.read_text()
    assert written(text) == text
    assert text.count("picked: ") == len(COMMANDS)


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
