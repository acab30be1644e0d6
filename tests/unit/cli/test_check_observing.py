"""What `fastlb check` says of the access log and of traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastlb.cli import run

SERVED = """
[listeners.web]
bind = "tcp://127.0.0.1:8080"
pool = "api"
[pools.api]
servers = ["10.0.0.1:7000"]
"""


def checked(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = tmp_path / "a.toml"
    path.write_text(text + SERVED)
    assert run(["check", str(path)]) == 0
    return capsys.readouterr().out


def test_nothing_is_said_of_what_is_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checked("", tmp_path, capsys)
    assert "access_log" not in out and "tracing" not in out


def test_each_key_is_told_with_where_it_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checked('access_log = { path = "-", fields = ["time", "status"] }\n'
                  'tracing = { sample = "0.5%" }\n', tmp_path, capsys)
    assert """
access_log
  path                     standard output                      given
  format                   json                                 built in
  fields                   time, status                         given
  buffer                   1MiB                                 built in

tracing
  sample                   0.5%                                 given
  service                  fastlb                               built in
""" in out
