"""What is said about a configuration that can't be used: where, what, and what to write."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fastlb.config.reader import load, loads
from fastlb.errors import ConfigError

from .bad import ALL, SEVERAL
from .forms import LISTENER, POLICIES, POOL, Bad


def told(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loads(text, "f.toml")
    return str(caught.value)


def test_what_all_of_these_are_made_of_is_right() -> None:
    loads(LISTENER + POOL, "f.toml")


@pytest.mark.parametrize("bad", ALL, ids=lambda bad: bad.id)
def test_a_mistake_is_told_in_these_words(bad: Bad) -> None:
    assert told(bad.text) == bad.told


def test_a_problem_has_its_parts() -> None:
    with pytest.raises(ConfigError) as caught:
        loads(SEVERAL.text, "f.toml")
    problem = caught.value.problems[4]
    assert (problem.file, problem.line, problem.path) == ("f.toml", 9, "pools.api.balance")
    assert problem.message.startswith("'leastconn' is not a balancing method")
    assert ", ".join(problem.valid) == POLICIES
    assert isinstance(caught.value, ValueError)


SYNTAX = {
    "table-twice": (
        LISTENER + POOL + "\n" + POOL,
        "f.toml:7: not TOML: [pools.api] stands here a second time: names are given once",
    ),
    "key-twice": (
        POOL + 'balance = "ring_hash"\nbalance = "round_robin"\n',
        'f.toml:4: not TOML: balance = "round_robin" stands here a second time: names are given'
        " once",
    ),
    "no-quotes": ("[pools.api]\nbalance = ring_hash\n", "f.toml:2: not TOML: invalid value; a text"
        " has quotes around it"),
    "open-quotes": ('[pools.api]\nbalance = "ring_hash\n', "f.toml:2: not TOML: a text has no"
        " closing quote on its line"),
    "no-value": (
        "\n\nthreads\n",
        "f.toml:3: not TOML: a line is KEY = VALUE, or [TABLE]",
    ),
    "open-list": (
        '[pools.api]\nservers = ["10.0.0.1:7000"\n',
        "f.toml:3: not TOML: unclosed array",
    ),
    "digits": ("threads = " + "9" * 5000, "f.toml: a number has too many digits"),
    "depth": ("threads = " + "[" * 9000 + "]" * 9000, "f.toml: nested too deeply"),
    "depth-of-values": (
        "threads = " + "[" * 99 + "]" * 99 + "\n" + LISTENER + POOL,
        "f.toml:1: threads: nested too deeply",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SYNTAX)
def test_what_is_no_toml_is_told_with_its_line(name: str) -> None:
    text, expected = SYNTAX[name]
    assert told(text) == expected


def load_error(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    assert load_error(path) == f"{path}: can't be read: no such file or directory"


def test_a_directory_is_told(tmp_path: Path) -> None:
    assert load_error(tmp_path) == f"{tmp_path}: can't be read: is a directory"


def test_a_file_that_may_not_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:  # root, who may run this, may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("fastlb.config.reader.read_file", refuse)
    assert load_error("a.toml") == "a.toml: can't be read: permission denied"


def test_a_path_with_a_zero_byte_is_told() -> None:
    """(The end is Python's, and another one in 3.13.)"""
    told = load_error("a\0b")
    assert told.startswith("a\0b: can't be read: ") and "embedded null " in told


def test_other_encodings_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"# ok\n# caf\xe9\n")
    assert load_error(path) == f"{path}:2: not UTF-8"


def test_a_file_of_any_size_is_not_read_to_its_end() -> None:
    assert load_error("/dev/zero") == "/dev/zero: larger than 16 MiB: not a configuration"


def test_a_byte_order_mark_and_carriage_returns_are_read_over(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    text = (LISTENER + POOL + 'zzz = "a"\n').replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load_error(path).startswith(f"{path}:6: pools.api.zzz: ")


def test_variables_are_replaced_in_every_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTLB_PORT", "8081")
    host = tmp_path / "host"
    host.write_text("10.0.0.9\n")
    config = loads(
        '[listeners.web]\nbind = "tcp://127.0.0.1:${env:FASTLB_PORT}"\npool = "api"\n'
        f'[pools.api]\nservers = ["${{file:{host}}}:${{env:FASTLB_PORT}}"]\n'
    )
    assert config.listeners["web"].bind == ["tcp://127.0.0.1:8081"]
    assert config.pools["api"].servers[0].address == "10.0.0.9:8081"


def test_what_a_variable_contains_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLB_NAME", "${file:/etc/passwd}")
    assert "'${file:/etc/passwd}' has no scheme" in told(
        '[listeners.web]\nbind = "${env:FASTLB_NAME}"\npool = "api"\n' + POOL
    )


def test_a_file_of_a_variable_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xff")
    text = LISTENER.replace('"api"', f'"${{file:{path}}}"') + POOL
    assert told(text) == f"f.toml:3: listeners.web.pool: '{path}' is not UTF-8"
