"""What people do: install it in a clean place, and start it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_sdist_has_all_that_a_build_reads(sdist: Path) -> None:
    package = ROOT / "fastlb"
    wanted = {
        path.relative_to(ROOT)
        for pattern in ("*.py", "*.pyi", "*.pyx", "*.pxd", "*.h", "py.typed")
        for path in package.rglob(pattern)
    }
    wanted |= {Path(name) for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE")}
    assert not {path for path in wanted if not (sdist / path).is_file()}
    assert not list(sdist.rglob("*.so"))
    assert not list(sdist.rglob("*.c"))


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """A clean place, outside of any tree of sources."""
    where = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", where], env=environment, check=True)
    return where


@pytest.fixture(scope="module")
def wheel(sdist: Path, venv: Path, environment: dict[str, str]) -> Path:
    """As pip builds it, with what pyproject.toml says that a build needs. What `make` has
    translated already isn't translated again."""
    of_make = {name: value for name, value in os.environ.items() if name == "FASTLB_TRANSLATIONS"}
    into = venv.parent / "wheels"
    built = subprocess.run(
        [venv / "bin/python", "-m", "pip", "--disable-pip-version-check", "wheel", "-q",
         "--no-deps", "-w", into, "."],
        cwd=sdist, env={**environment, **of_make, "FASTLB_PROBES": "1"},
        capture_output=True, text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (made,) = into.glob("fastlb-*.whl")
    return made


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_wheel_has_types_and_declarations_and_no_probe(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"fastlb/py.typed", "fastlb/_core/engine.pyi", "fastlb/_core/engine.pxd"} <= names
    compiled = {name.partition(".")[0] for name in names if name.endswith(".so")}
    sources = (ROOT / "fastlb/_core").rglob("*.pyx")
    assert compiled == {str(path.relative_to(ROOT).with_suffix("")) for path in sources}
    assert not [name for name in names if name.startswith("tests") or name.endswith((".pyx", ".c"))]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pip_install_in_a_clean_venv_and_then_the_demo(
    wheel: Path, venv: Path, environment: dict[str, str]
) -> None:
    installed = subprocess.run(
        [venv / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "-q", wheel],
        cwd=venv.parent, env=environment, capture_output=True, text=True,
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    demo = subprocess.run(
        [venv / "bin/fastlb", "demo", "--seconds", "2"],
        cwd=venv.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "requests, 0 failed" in demo.stdout
    facts = (
        "import fastlb, importlib.metadata;"
        " print(fastlb.__file__, fastlb.__version__ == importlib.metadata.version('fastlb'))"
    )
    imported = subprocess.run(
        [venv / "bin/python", "-c", facts],
        cwd=venv.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert imported.stdout.startswith(str(venv))
    assert imported.stdout.endswith("True\n")
