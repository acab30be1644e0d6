"""What `import fastlb` gives: few names, quickly, and a help that is true."""

from __future__ import annotations

import doctest
import pydoc
import subprocess
import sys

import pytest

import fastlb


def test_the_public_names_are_few_and_all_there() -> None:
    assert len(fastlb.__all__) <= 30
    assert len(set(fastlb.__all__)) == len(fastlb.__all__)
    assert all(hasattr(fastlb, name) for name in fastlb.__all__)


def test_the_program_that_help_opens_with_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (test,) = doctest.DocTestFinder(recurse=False).find(fastlb, "fastlb")
    lines = [line for example in test.examples for line in example.source.splitlines()]
    assert len(lines) == 12
    result = doctest.DocTestRunner().run(test)
    assert (result.failed, result.attempted) == (0, 7)
    text = pydoc.plain(pydoc.render_doc(fastlb))
    assert 0 < text.index(">>> import urllib.request, fastlb") < 600


def test_importing_it_is_cheap() -> None:
    heavy = ("asyncio", "pydantic", "uvloop", "socket", "logging", "rich", "click", "httptools")
    program = (
        "import sys; before = set(sys.modules); import fastlb;"
        " new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        " print(sorted(name for name in sys.modules if name.startswith('fastlb')),"
        f" new & {{*{heavy}}})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "['fastlb', 'fastlb._version'] set()", done.stderr
