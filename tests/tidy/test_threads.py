"""What a helper thread of a test raises fails the test, by the settings of pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import threading

def test_quiet():
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()

def test_thread():
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()

class Broken:
    def __del__(self):
        raise KeyError

def test_destructor():
    Broken()
"""


def test_an_exception_that_nobody_sees_fails_its_test(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", tmp_path,
         "--confcutdir", tmp_path, "-p", "no:cacheprovider", "-p", "no:xdist", "-rA", file],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    outcomes = sorted(line.split(" - ")[0].replace(f"{file.name}::", "")
                      for line in done.stdout.splitlines()
                      if line.startswith(("PASSED", "FAILED", "ERROR")))
    assert outcomes == ["FAILED test_destructor", "FAILED test_thread", "PASSED test_quiet"], \
        done.stdout
