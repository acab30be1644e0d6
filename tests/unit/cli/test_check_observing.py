"""What `fastlb check` says of the access log and of traces."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

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


EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def test_each_key_is_told_with_where_it_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, EXPORTER, ModuleType(EXPORTER))    # (not everywhere)
    out = checked('access_log = { path = "-", fields = ["time", "status"] }\n'
                  'tracing = { sample = "0.5%" }\n', tmp_path, capsys)
    assert """
access_log
  path                       standard output                      given
  format                     json                                 built in
  fields                     time, status                         given
  buffer                     1MiB                                 built in

tracing
  sample                     0.5%                                 given
  service                    fastlb                               built in
""" in out


def refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = tmp_path / "a.toml"
    path.write_text(text + SERVED)
    assert run(["check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.replace(str(path), "a.toml")


def test_a_log_that_cannot_be_opened_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for where, why in (("none/a.log", "No such file or directory"), ("", "Is a directory")):
        said = refused(f'[access_log]\npath = "{tmp_path}/{where}"\n', tmp_path, capsys)
        assert said == f"a.toml:2: access_log.path: it can't be opened: {why}\n"


@pytest.mark.parametrize(("bind", "why"), [
    ("http://unix:/none/a.sock", "there is no folder /none"),
    ("http://[fe80::1%nosuch0]:80", "no interface has this name"),
])
def test_a_place_that_nobody_can_listen_at_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bind: str, why: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'[listeners.l]\nbind = "{bind}"\npool = "p"\n'
                    '[pools.p]\nservers = ["10.0.0.1:80"]\n')
    assert run(["check", str(path)]) == 2
    assert capsys.readouterr().err == f"{path}:2: listeners.l.bind: {bind}: {why}\n"


def test_a_log_is_not_made_by_a_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a.log"
    checked(f'access_log = {{ path = "{log}" }}\n', tmp_path, capsys)
    assert not log.exists()
    log.write_text("a line\n")
    checked(f'access_log = {{ path = "{log}" }}\n', tmp_path, capsys)
    assert log.read_text() == "a line\n"


def test_traces_without_their_package_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert refused('[tracing]\nsample = "1%"\n', tmp_path, capsys) == (
        "a.toml:1: tracing: opentelemetry-sdk isn't installed; run: pip install opentelemetry-sdk"
        " opentelemetry-exporter-otlp\n"
    )


def test_traces_without_an_exporter_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, EXPORTER, None)
    assert "a.toml:1: tracing: there is no exporter for spans; run: pip" in refused(
        '[tracing]\nsample = "1%"\n', tmp_path, capsys)
