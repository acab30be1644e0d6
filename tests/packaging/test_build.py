"""How the build behaves: what it says where it can't go on, and what it builds again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PRETEND = (
    "import runpy, sys; {lie}; sys.argv = ['setup.py', 'build_ext'];"
    " runpy.run_path('setup.py', run_name='__main__')"
)


def python(code: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        ("sys.platform = 'darwin'", "fastlb can only be built on Linux, and this is darwin.\n"),
        (
            "sys.version_info = (3, 9, 2); sys.version = '3.9.2 (main)'",
            "fastlb needs Python 3.10 or newer, and this is 3.9.2.\n",
        ),
    ],
)
def test_elsewhere_the_build_stops_with_one_sentence(
    lie: str, sentence: str, sdist: Path, environment: dict[str, str]
) -> None:
    ended = python(PRETEND.format(lie=lie), sdist, environment)
    assert ended.returncode == 1
    assert ended.stdout + ended.stderr == sentence


@pytest.fixture
def no_compiler(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    return {**environment, "PATH": str(tmp_path / "bin")}


def test_without_a_compiler_the_build_stops_with_one_sentence(
    sdist: Path, no_compiler: dict[str, str]
) -> None:
    ended = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext"],
        cwd=sdist,
        env=no_compiler,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    said = ended.stdout + ended.stderr
    assert said.startswith("fastlb needs a C compiler to build, and there is no ")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_pip_shows_that_sentence_and_no_traceback(
    sdist: Path, no_compiler: dict[str, str], tmp_path: Path
) -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel"),
            *("--no-deps", "--no-build-isolation", "-w", tmp_path, "."),
        ],
        cwd=sdist,
        env=no_compiler,
        capture_output=True,
        text=True,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1
    assert said.count("fastlb needs a C compiler to build") == 1
    assert "Traceback" not in said


def test_an_unknown_kind_of_build_is_named(sdist: Path, environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext"],
        cwd=sdist,
        env={**environment, "FASTLB_BUILD": "fast"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "FASTLB_BUILD is 'fast', and must be one of: release, debug, asan, gcov.\n"
    )


class Small:
    """A tree of two modules, `two` cimporting `one`, that setup.py builds in place."""

    def __init__(self, root: Path, env: dict[str, str]) -> None:
        self.core = root / "fastlb/_core"
        self.root = root
        self.env = {**env, "CFLAGS": "-O0"}
        (self.core / "c").mkdir(parents=True)
        shutil.copy(ROOT / "setup.py", root)
        (root / "pyproject.toml").write_text('[project]\nname = "small"\nversion = "1"\n')
        self.write("c/one.h", "#define ONE 1\n")
        self.write("one.pxd", "cdef inline int twice(int x) noexcept:\n    return 2 * x\n")
        self.write("one.pyx", "def f():\n    return twice(1)\n")
        self.write("two.pyx", "from fastlb._core.one cimport twice\ndef g():\n    twice(2)\n")

    def write(self, name: str, text: str) -> None:
        (self.core / name).write_text(text)

    def build(self, **env: str) -> set[str]:
        """Builds, and returns the modules that are other files than before."""

        def inodes() -> dict[str, int]:
            return {path.name[:3]: path.stat().st_ino for path in self.core.glob("*.so")}

        before = inodes()
        ended = subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
            cwd=self.root,
            env={**self.env, **env},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return {name for name, inode in inodes().items() if before.get(name) != inode}


@pytest.mark.slow
def test_what_is_stale_is_built_again_and_nothing_else(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    small = Small(tmp_path, environment)
    assert small.build() == {"one", "two"}
    assert small.build() == set()

    small.write("one.pyx", "def f():\n    return twice(3)\n")
    assert small.build() == {"one"}

    small.write("one.pxd", "cdef inline int twice(int x) noexcept:\n    return x + x\n")
    os.utime(small.core / "one.pxd", (0, 0))  # as from an archive: older than what is built
    assert small.build() == {"one", "two"}

    next(small.core.glob("two.*.so")).unlink()
    assert small.build() == {"two"}

    assert small.build(FASTLB_BUILD="debug") == {"one", "two"}
    assert small.build(FASTLB_BUILD="debug") == set()

    small.write("c/one.h", "#define ONE 2\n")
    assert small.build(FASTLB_BUILD="debug") == {"one", "two"}


@pytest.mark.slow
def test_what_does_not_compile_is_tried_again(tmp_path: Path, environment: dict[str, str]) -> None:
    small = Small(tmp_path, environment)
    small.build()
    small.write("one.pyx", "def f(:\n")
    for _ in range(2):
        with pytest.raises(AssertionError, match="Error compiling Cython file"):
            small.build()
    small.write("one.pyx", "def f():\n    return twice(4)\n")
    assert small.build() == {"one"}
