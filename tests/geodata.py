"""MaxMind's databases for tests, the broken ones among them: they come with maxminddb's source,
which is fetched from the registry once and kept below build/."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tarfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

KEPT = Path(__file__).resolve().parents[1] / "build" / "cache" / "maxminddb"


@cache
def databases() -> Path:
    """A folder with `test-data` and `bad-data`."""
    wanted = version("maxminddb")
    found = KEPT / wanted
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)        # (several processes run tests)
        if not found.is_dir():
            _fetch(wanted, found)
    return found


def _fetch(wanted: str, into: Path) -> None:
    place = into.with_suffix(".new")
    place.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-binary", "maxminddb", "--dest", str(place), f"maxminddb=={wanted}"],
        check=True, stdin=subprocess.DEVNULL,
    )
    archive = next(place.glob("*.tar.gz"))
    inside = f"{archive.name.removesuffix('.tar.gz')}/tests/data/"
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name = member.name.removeprefix(inside)
            data = tar.extractfile(member) if member.name.startswith(inside) else None
            if data is not None and name.endswith(".mmdb") and ".." not in name:
                file = place / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data.read())
    archive.unlink()
    place.rename(into)
