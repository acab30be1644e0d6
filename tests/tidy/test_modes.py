"""Modes of the flow tests: what is dealt leaves no mode of a file without a test."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flow import modes

ALL = list(modes.THREADS)


def cases(of: list[str], n: int = 3) -> Any:
    return {mode: [f"{mode}-{i}" for i in range(n)] for mode in of}


def dealt(*tests: list[str]) -> list[str]:
    """What the tests of one file are dealt, each one mode of these. Items are numbered by test."""
    items: Any = [{mode: [f"{number} {name}" for name in names]
                   for mode, names in cases(of).items()} for number, of in enumerate(tests)]
    return sorted(str(item) for item in modes.dealt(items))


@pytest.mark.parametrize("n", [1, 2, 5, 7, 8, 30])
def test_every_file_meets_every_mode_and_every_test_another(n: int) -> None:
    got = dealt(*[ALL] * n)
    assert {name.split()[1].rpartition("-")[0] for name in got} == set(ALL) - {modes.PLAIN}
    assert {name.split()[0] for name in got} == {str(number) for number in range(n)}
    assert len(got) == max(n, len(ALL) - 1)


def test_each_other_mode_gets_one_case_and_not_always_the_same() -> None:
    assert dealt(*[["thread", "poll"]] * 4) == ["0 poll-0", "1 poll-1", "2 poll-2", "3 poll-0"]


def test_a_rare_mode_goes_to_the_test_that_fits() -> None:
    plain = ["thread", "poll"]
    assert dealt(plain, plain, ["thread", "poll", "h2"]) == ["0 poll-0", "1 poll-1", "2 h2-2"]
    assert dealt(["thread", "poll", "tls"]) == ["0 poll-0", "0 tls-1"]


def test_a_test_that_fits_no_other_mode_is_dealt_none() -> None:
    assert dealt(["thread"], ["thread"]) == []


class Item:
    """As much of a pytest.Item as the choice of modes asks for."""

    def __init__(self, path: Any, name: str, mode: str, case: int, *marks: pytest.Mark) -> None:
        self.path = path
        self.originalname = name
        self.name = f"{name}[{mode}-{case}]"
        self.fixturenames = ["dress"]
        self.callspec = type("Call", (), {"params": {"mode": mode} if mode else {}})()
        self.marks = marks

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        return [mark for mark in self.marks if mark.name == name]

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return next(iter(self.iter_markers(name)), None)


def chosen(
    path: Any, *marks: pytest.Mark, args: tuple[str, ...] = (), wanted: str = "dealt"
) -> Any:
    """Which of two tests with three cases in each mode run; the first has the marks."""
    told: list[Any] = []
    hook = type("Hook", (), {"pytest_deselected": lambda self, items: told.extend(items)})()
    config = type("Config", (), {
        "args": list(args), "hook": hook, "getoption": lambda self, name: wanted})()
    items: Any = [Item(path, name, mode, case, *(marks if name == "one" else ()))
                  for name in ("one", "two") for case in range(3) for mode in ALL]
    items.append(Item(path, "without", "", 0))
    before = list(items)
    modes.select(config, items)
    assert {id(item) for item in told} | {id(item) for item in items} == {id(i) for i in before}
    assert items[-1].name == "without[-0]"
    return [item.name for item in items[:-1]]


def test_the_plain_mode_has_every_case(tmp_path: Any) -> None:
    got = chosen(tmp_path / "test_x.py")
    assert [name for name in got if "[thread-" in name] == [
        "one[thread-0]", "one[thread-1]", "one[thread-2]",
        "two[thread-0]", "two[thread-1]", "two[thread-2]"]
    assert len(got) == 6 + 6        # threads, inline, poll and three of TLS


def test_a_marked_mode_has_every_case(tmp_path: Any) -> None:
    got = chosen(tmp_path / "test_x.py", pytest.mark.modes("poll").mark)
    assert [name for name in got if name.startswith("one[poll-")] == [
        "one[poll-0]", "one[poll-1]", "one[poll-2]"]


def test_modes_that_do_not_fit_are_never_run(tmp_path: Any) -> None:
    path = tmp_path / "test_x.py"
    for wanted in ("dealt", "all"):
        got = chosen(path, pytest.mark.plain.mark, wanted=wanted)
        assert not [name for name in got if name.startswith("one[tls") or "[h2" in name]
    got = chosen(path, pytest.mark.h2.mark, pytest.mark.http1.mark, wanted="all")
    assert not [name for name in got if "[h2" in name]


def test_a_file_that_is_asked_for_by_a_test_has_every_mode(tmp_path: Any) -> None:
    path = tmp_path / "test_x.py"
    whole = 2 * 3 * (len(ALL) - 2)      # (not over HTTP/2, and without requests no filter)
    assert len(chosen(path, args=(f"{path}::one",))) == whole
    assert len(chosen(path, wanted="all")) == whole
    assert len(chosen(path, wanted="plain")) == 6
    assert len(chosen(path, args=(str(path),))) < whole
    assert len(chosen(path, args=(f"{tmp_path}/test_y.py::one",))) < whole
