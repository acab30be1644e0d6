"""Adds the toys of docs/extending.md to a copy of the tree, builds it, and runs their tests and
those that hold the tree to its rules: `make toys`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.toys import TOYS, Toy

ROOT = Path(__file__).resolve().parent.parent
GENERATED = (
    ("fastlb.config.docs", "docs/config.md"), ("fastlb.config.typed", ""),
    ("fastlb.config.full", ""), ("tools.modules", ""),
)
# Rules of the tree, what documents and schemas say, and every filter, fact and key that was there.
CHECKS = (
    "tests/tidy", "--ignore=tests/tidy/test_toys.py", "tests/unit/config/test_documents.py",
    "tests/unit/config/test_schema.py", "tests/unit/config/test_effects.py",
    "tests/flow/http/test_compression.py",
)


def apply(toy: Toy, tree: Path) -> None:
    for path, template in toy.files().items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(template.read_text())
    for edit in toy.edits:
        lines = (tree / edit.path).read_text().splitlines(keepends=True)
        at = next(i for i, line in enumerate(lines) if line.startswith(edit.anchor))
        lines.insert(at + 1, edit.text)
        (tree / edit.path).write_text("".join(lines))


def copied(tree: Path) -> None:
    """The tree's files, with what was built: only what toys change is built anew."""
    named = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
        check=True).stdout.splitlines()
    built = [str(path.relative_to(ROOT)) for folder in ("fastlb", "tests")
             for path in (ROOT / folder).rglob("*.so")]
    for name in (*named, *built):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def generate(tree: Path, environment: dict[str, str]) -> None:
    for module, into in GENERATED:
        made = subprocess.run([sys.executable, "-m", module], cwd=tree, env=environment, text=True,
                              capture_output=True, check=True)
        if into:
            (tree / into).write_text(made.stdout)


def main() -> int:
    for toy in TOYS:
        print(f"{toy.name}: {len(toy.touched())} files, {toy.limit} allowed:",
              ", ".join(sorted(toy.touched())), flush=True)
    with TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        copied(tree)
        for toy in TOYS:
            apply(toy, tree)
        environment = {**os.environ, "PYTHONPATH": str(tree), "FASTLB_PROBES": "1"}
        subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
                       cwd=tree, env=environment, check=True)
        generate(tree, environment)
        tests = [path for toy in TOYS for path in toy.files() if path.startswith("tests/")]
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *tests, *CHECKS, *sys.argv[1:]], cwd=tree,
            env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
