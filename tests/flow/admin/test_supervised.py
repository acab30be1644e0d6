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
from tests.ports import free_port

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
    unix: bool,
) -> None:
    where = f"http://unix:{tmp_path}/admin.sock" if unix else f"http://127.0.0.1:{free_port()}"
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


def test_the_usual_socket_of_a_worker_is_found_whoever_else_starts(
    supervise: Callable[..., Supervised], origins: Origins, tmp_path: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FASTLB_RUN_DIR", str(tmp_path / "run"))
    text = toml(origins("o").address)
    process = supervise(text)
    process.readied()
    other = supervise(text)                 # which sweeps what dead processes have left
    other.readied()
    for one in (process, other):
        where = f"http://unix:{tmp_path}/run/{one.worker()}.sock"
        assert pid_at(where) == one.worker()
    assert len(list((tmp_path / "run").iterdir())) == 2


def test_a_second_process_takes_no_address_over(
    supervise: Callable[..., Supervised], origins: Origins, tmp_path: Path,  # noqa: F811
) -> None:
    where = f"http://unix:{tmp_path}/admin.sock"
    text = f'admin = {{ bind = "{where}" }}\n{toml(origins("o").address)}'
    process = supervise(text)
    process.readied()
    config = tmp_path / "second.toml"
    config.write_text(text)
    second = Supervised(config)
    assert second.ended() == 2
    assert f"admin.bind: {where}: another process listens there" in second.log()
    assert pid_at(where) == process.worker()
