"""Before anything is collected, what is stale in the compiled core is built again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-build", action="store_true", help="test the compiled modules as they are"
    )
    parser.addoption(
        "--modes", choices=["plain", "dealt", "all"], default="dealt",
        help="run flow tests in their plain mode alone, in some, or in all that fit",
    )


# How long examples take to be made and tried is the machine's affair.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    # The processes that tests start don't compile all modules again, and leave nothing in the tree.
    # Nor do the workers of one run: what the first of them has compiled, the others read.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / "build" / "pycache")
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]
    # Where processes of the tests can be found: not where others of this machine are, nor those of
    # another worker, as each that starts looks whether the others are alive, and so wakes them.
    folder = tempfile.mkdtemp(prefix="fastlb-tests-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["FASTLB_RUN_DIR"] = folder
    # An xdist worker is started by a process that has seen to it.
    if config.getoption("--no-build") or hasattr(config, "workerinput"):
        return
    build = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=ROOT,
        env={**os.environ, "FASTLB_PROBES": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if build.returncode:
        pytest.exit(f"the core doesn't build:\n{build.stdout[-20_000:]}", returncode=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: with several workers, none is left alone with them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def example_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that examples/full.toml names."""
    from tests.example_files import write_example_files

    write_example_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
