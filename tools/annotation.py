"""Fails where code without the GIL touches Python; reads a directory of Cython's C and HTML files.

A line of a nogil function or block that Cython's annotation paints yellow calls into the
interpreter. Inline functions of .pxd files have no annotation: there the C text is searched.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.nogil import bodies

ROOT = Path(__file__).resolve().parent.parent
_LINE = re.compile(r'<pre class="cython line score-(\d+)".*?<span class="">(\d+)</span>:', re.S)
_INLINE = re.compile(
    r"^static CYTHON_INLINE [^;{]*?\b__pyx_f_\w*?_(\w+)\([^;{]*\) \{(.*?)^\}", re.M | re.S
)
_PYTHON = re.compile(r"\b(?:Py[A-Z]\w*|__Pyx_\w+)\(")


def yellow(html: str, source: str) -> Iterator[tuple[int, str]]:
    """Lines of nogil code with a score, each with its function."""
    scores = {int(line): int(score) for score, line in _LINE.findall(html)}
    if not scores:
        raise SystemExit("this Cython writes its annotation in a form that is not known here")
    for body in bodies(source):
        for line in range(body.start, body.end + 1):
            if scores.get(line, 0) > 0:
                yield line, body.name


def python_calls(c_text: str, names: set[str]) -> Iterator[tuple[str, str]]:
    """Inline functions among `names` whose C calls the interpreter, each with the call."""
    for mangled, body in _INLINE.findall(c_text):
        call = _PYTHON.search(body)
        if call and any(mangled == name or mangled.endswith(f"_{name}") for name in names):
            yield mangled, call[0]


def main(directory: Path) -> int:
    found: set[str] = set()
    inlines = {
        body.name
        for path in (ROOT / "fastlb/_core").rglob("*.pxd")
        for body in bodies(path.read_text())
    }
    # (a page of a module that has moved or gone may lie there from an earlier build)
    pages = {page: source for page in sorted(directory.rglob("*.html"))
             if (source := ROOT / page.relative_to(directory).with_suffix(".pyx")).exists()}
    for page, source in pages.items():
        where = source.relative_to(ROOT)
        lines = source.read_text()
        for line, name in yellow(page.read_text(), lines):
            found.add(f"{where}:{line}: {name} touches Python without the GIL")
        for mangled, call in python_calls(page.with_suffix(".c").read_text(), inlines):
            found.add(f"{where}: inline {mangled} calls {call}) without the GIL")
    for finding in sorted(found):
        print(finding)
    print(f"annotation: {len(found)} findings in {len(pages)} modules")
    return 1 if found or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
