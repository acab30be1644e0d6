from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """As of a shell in which nobody has worked on fastlb."""
    own = ("PYTHONPATH", "LD_PRELOAD", "VIRTUAL_ENV", "CFLAGS")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in own and not name.startswith(("FASTLB_", "COVERAGE_", "PYTEST_"))
    }


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The directory that the source distribution unpacks to."""
    where = tmp_path_factory.mktemp("sdist")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(where)!r})"
    with (ROOT / "build/sdist.lock").open("w") as lock:     # setuptools works in the tree itself
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(
            [sys.executable, "-c", build], cwd=ROOT, env=environment, capture_output=True,
            text=True,
        )
    assert made.returncode == 0, made.stderr
    (archive,) = where.glob("fastlb-*.tar.gz")
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not before 3.11.4
    shutil.unpack_archive(archive, where, **safely)
    return where / archive.name.removesuffix(".tar.gz")
