"""The admin API of processes that follow each other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import fastlb
from tests.flow.admin.conftest import origins  # noqa: F401
from tests.flow.conftest import wait_until
from tests.flow.http.peers import HttpOrigin
from tests.flow.test_supervise import Supervised, supervise, toml  # noqa: F401

Origins = Callable[..., HttpOrigin]


def pid_at(admin: str) -> int:
    """Of the process that answers there; 0 if none does."""
    try:
        pid: int = fastlb.connect(admin).status()["pid"]
    except (ConnectionError, RuntimeError):
        return 0
    return pid


@pytest.mark.parametrize("unix", [True, False])
def test_the_api_is_at_its_address_whoever_serves(
    supervise: Callable[..., Supervised], origins: Origins, tmp_path: Path,  # noqa: F811
    unix: bool, free_port: int,
) -> None:
    where = f"http://unix:{tmp_path}/admin.sock" if unix else f"http://127.0.0.1:{free_port}"
    text = toml(origins("o").address)
    process = supervise(f'admin = {{ bind = "{where}" }}\n{text}')
    process.readied()
    first = process.worker()
    assert pid_at(where) == first
    process.wait_for_spare()
    upgraded = process.upgrade()
    assert upgraded.returncode == 0, upgraded.stderr + process.log()
    wait_until(lambda: pid_at(where) not in (0, first), "the new process has no admin API")
    second = pid_at(where)
    process.wait_for_spare()
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: pid_at(where) not in (0, first, second), "nor has the next one")
