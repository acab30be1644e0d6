"""Modes: the ways in which the engines of a flow test run, and which tests run in which of them.

Every test runs in the plain mode, with all of its cases; one that is about other modes alone,
in these. Of the other modes that fit, each test is dealt one, with one of its cases, so that each
file meets every mode. A test marked `modes("poll", "tls")` is about something that these modes
change: it runs in them with all of its cases. A test that is named on the command line
(`FILE::TEST`) and a run with `--modes=all` have every mode with every case; a run with
`--modes=plain` has the plain one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from fastlb._core.tables.certificates import H2_AVAILABLE

PLAIN = "thread"
# The number of threads of each; 0 is a running loop, and "poll" the other poller. With "tls",
# clients speak it, servers, or both; with "h2", clients speak HTTP/2. With "filter", each route has
# a filter that uses every hook and changes nothing.
THREADS = {
    PLAIN: 1, "threads": 2, "inline": 0, "poll": 1, "tls": 1, "tls-servers": 1, "tls-both": 2,
    "h2": 2, "filter": 1,
}
ENVIRONMENT = {"poll": ("FASTLB_POLLER", "poll"), "filter": ("FASTLB_IDENTITY_FILTER", "1")}


def fixture_of(*names: str) -> Callable[..., int]:
    """The fixture `mode` for these modes: how many threads its engines have."""

    @pytest.fixture(params=names, name="mode")
    def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
        if request.param in ENVIRONMENT:
            monkeypatch.setenv(*ENVIRONMENT[request.param])
        return THREADS[request.param]

    return mode


def mode_of(item: pytest.Item) -> str:
    """Empty if the test has none."""
    call = getattr(item, "callspec", None)
    return str(call.params.get("mode", "")) if call is not None else ""


def fits(item: pytest.Item) -> bool:
    """Whether the test can run in its mode: over TLS if its clients bring none of their own, over
    HTTP/2 if it is marked `h2`, for then its requests are whole ones, and with a filter if it has
    requests."""
    mode = mode_of(item)
    if mode == "filter":
        return not {"http", "http2", "grpc"}.isdisjoint(item.path.parts)
    if mode == "h2":
        return H2_AVAILABLE and item.get_closest_marker("h2") is not None \
            and item.get_closest_marker("http1") is None
    if mode.startswith("tls"):
        names: list[str] = getattr(item, "fixturenames", [])
        return "dress" in names and not item.get_closest_marker("plain")
    return True


Cases = dict[str, list[pytest.Item]]        # of one test, by mode


def dealt(tests: Iterable[Cases]) -> set[pytest.Item]:
    """For the tests of one file, in order: what runs beyond the plain mode and the marks. Each test
    gets the mode that fewest have got, and a mode that is left goes to the test that has fewest."""
    tests = list(tests)
    times = {mode: 0 for cases in tests for mode in cases if mode != PLAIN}
    hands: list[list[str]] = []
    for cases in tests:
        fit = [mode for mode in cases if mode != PLAIN]
        hands.append([min(fit, key=times.__getitem__)] if fit else [])
        for mode in hands[-1]:
            times[mode] += 1
    for mode in [mode for mode, n in times.items() if n == 0]:
        fit = [i for i, cases in enumerate(tests) if mode in cases]
        hands[min(fit, key=lambda i: len(hands[i]))].append(mode)
    return {cases[mode][(i + j) % len(cases[mode])]
            for i, (cases, hand) in enumerate(zip(tests, hands, strict=True))
            for j, mode in enumerate(hand)}


def marked(item: pytest.Item) -> bool:
    return any(mode_of(item) in mark.args for mark in item.iter_markers("modes"))


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not fit, and of the rest what the dealing leaves out."""
    files: dict[Path, dict[str, Cases]] = {}
    for item in items:
        if mode_of(item) and fits(item):
            tests = files.setdefault(item.path, {})
            name = getattr(item, "originalname", item.name)
            tests.setdefault(name, {}).setdefault(mode_of(item), []).append(item)
    asked = {Path(arg.split("::")[0]).resolve() for arg in config.args if "::" in arg}
    wanted = config.getoption("--modes")
    chosen: set[Any] = set()
    for path, tests in files.items():
        chosen |= {item for cases in tests.values() for mode, of_mode in cases.items()
                   for item in of_mode
                   if mode == PLAIN or PLAIN not in cases or wanted == "all" or path in asked
                   or (wanted == "dealt" and marked(item))}
        chosen |= dealt(tests.values()) if wanted == "dealt" else set()
    left_out = [item for item in items if mode_of(item) and item not in chosen]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not mode_of(item) or item in chosen]
