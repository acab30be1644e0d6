"""Writes the list of modules in docs/architecture.md: each with the first sentence of its header.

`modules.py` writes it, `modules.py --check` says whether it is up to date.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- modules: written by tools/modules.py -->", "<!-- end of modules -->"
SENTENCE = re.compile(r"(.*?[^.]\.)(?=\s+[A-Z`]|$)")


def header(path: Path) -> str:
    """The first sentence of a module's header: of its comment in Cython, of its docstring else."""
    text = path.read_text()
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:
        lines = []
        for line in text.splitlines():
            if not line.startswith("#"):
                break
            if not line.startswith("# cython:"):
                lines.append(line.lstrip("# "))
        said = " ".join(lines)
    said = " ".join(said.split("\n\n")[0].split())
    found = SENTENCE.match(said)
    return (found[1] if found else said).strip()


def modules(folder: Path) -> list[Path]:
    """The modules of one folder, without those below; a .pxd counts where there is no .pyx."""
    def counts(path: Path) -> bool:
        if path.suffix == ".pxd":
            return not path.with_suffix(".pyx").exists()
        return path.suffix in (".py", ".pyx") and path.stem != "__init__"

    return sorted(filter(counts, folder.iterdir()), key=lambda path: path.stem)


def folders() -> list[Path]:
    top = ROOT / "fastlb"
    below = sorted(path for path in top.rglob("*") if path.is_dir() and modules(path))
    return [top, *below]


def listed() -> str:
    """The whole list."""
    lines = []
    for folder in folders():
        lines += [f"### {folder.relative_to(ROOT)}/", ""]
        lines += [f"- `{path.stem}`: {header(path)}" for path in modules(folder)]
        lines.append("")
    return "\n".join(lines)


def page() -> str:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{listed()}\n{END}{after}"


def main(check: bool) -> int:
    new = page()
    if check:
        return int(new != PAGE.read_text())
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
