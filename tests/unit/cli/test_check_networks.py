"""`fastlb check` on sets of networks and on lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastlb.cli import run

LISTENER = '[listeners.web]\nbind = "http://127.0.0.1:8080"\npool = "p"\n'
POOL = '[pools.p]\nservers = ["10.0.0.1:80"]\n'


def check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listener: str, more: str = ""
) -> tuple[int, str, list[str]]:
    path = tmp_path / "fastlb.toml"
    path.write_text(f"{LISTENER}{listener}\n{POOL}{more}")
    status = run(["check", str(path)])
    out, err = capsys.readouterr()
    return status, out, err.replace(f"{path}: ", "").splitlines()


def test_sets_and_lists_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.txt"
    file.write_text("192.0.2.0/24\n")
    status, out, err = check(
        tmp_path, capsys, 'deny = ["bad", "198.51.100.0/24"]\nallow = { networks = "own", report ='
        " true }", f'[networks.bad]\nfile = "{file}"\nrefresh = "1m"\n'
        '[networks.own]\ncidrs = ["10.0.0.0/8"]\n')
    assert (status, err) == (0, [])
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in ("networks bad", f"file {file} networks", "refresh 1m networks", "networks own",
                 "cidrs 10.0.0.0/8 networks", "deny bad, 198.51.100.0/24 listener",
                 "allow own; reported only listener"):
        assert line in lines


@pytest.mark.parametrize(("listener", "more", "warnings"), [
    ('deny = "0.0.0.0/0"', "",
     ["listeners.web.deny: 0.0.0.0/0 has all of IPv4, so that nobody there is served"]),
    ('deny = ["0.0.0.0/1", "128.0.0.0/1"]', "",
     ["listeners.web.deny: 0.0.0.0/1 has 127.0.0.1, an address of this machine, from which health"
      " checks and tools may come"]),
    ('deny = "bad"', '[networks.bad]\ncidrs = ["::/1", "8000::/1"]\n',
     ["listeners.web.deny: bad has all of IPv6, so that nobody there is served"]),
    ('allow = "own"', "[networks.own]\ncidrs = []\n",
     ["listeners.web.allow: its sets have no networks, so that nobody is served"]),
    ('deny = "own"', "[networks.own]\ncidrs = []\n", []),
    ('[[listeners.web.routes]]\nname = "r"\npool = "p"\ndeny = "::1"', "",
     ["listeners.web.routes.r.deny: ::1 has ::1, an address of this machine, from which health"
      " checks and tools may come"]),
])
def test_lists_that_deny_too_much_are_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listener: str, more: str,
    warnings: list[str],
) -> None:
    status, _, err = check(tmp_path, capsys, listener, more)
    assert (status, err) == (0, [f"warning: {one}" for one in warnings])


def test_file_that_can_not_be_used_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.txt"
    sets = f'[networks.bad]\nfile = "{file}"\n'
    status, _, err = check(tmp_path, capsys, 'deny = "bad"', sets)
    assert status == 2
    assert f"networks.bad.file: {file} can't be read: No such file or directory" in err[0]
    file.write_text("10.0.0.0/8\nnonsense\n")
    status, _, err = check(tmp_path, capsys, 'deny = "bad"', sets)
    assert status == 2 and f"networks.bad.file: {file}: no networks in line 2" in err[0]


def test_url_is_not_fetched_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = check(
        tmp_path, capsys, 'deny = "bad"\nallow = "bad"',
        '[networks.bad]\nurl = "https://192.0.2.1/bad.txt?token=secret"\n')
    assert (status, err) == (0, [])
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in ("url https://192.0.2.1/bad.txt?... (not fetched here) networks",
                 "refresh 10m built in", "timeout 10s built in", "ca the system's built in",
                 "saved_copy none built in", "required true built in"):
        assert line in lines
    config = str(tmp_path / "fastlb.toml")
    assert run(["explain", config, "http://127.0.0.1:8080/", "--from", "10.0.0.1"]) == 0
    assert "networks bad: https://192.0.2.1/bad.txt?... was not fetched" in capsys.readouterr().out
