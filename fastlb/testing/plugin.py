"""The pytest plugin. It is imported in every run, and so imports nothing but pytest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastlb.testing.balancer import TestBalancer

FIXTURES = ("balancer", "balancer_session")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "fastlb(threads=1, seed=0, **keys): how this test's `balancer` is made;"
        " keys are those of the configuration",
    )


def _made(keys: dict[str, Any]) -> Iterator[TestBalancer]:
    from fastlb.testing.balancer import TestBalancer

    with TestBalancer(**keys) as balancer:
        yield balancer


@pytest.fixture
def balancer(request: pytest.FixtureRequest) -> Iterator[TestBalancer]:
    """A fastlb.testing.TestBalancer of this test's own, on threads of its own.

    `@pytest.mark.fastlb(threads=2)` says how it is made.
    """
    keys: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("fastlb"))):
        keys.update(marker.kwargs)
    yield from _made(keys)


@pytest.fixture(scope="session")
def balancer_session() -> Iterator[TestBalancer]:
    """One fastlb.testing.TestBalancer for the whole run (under xdist: of each worker)."""
    yield from _made({})


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """A test that fails shows what its balancer did."""
    if call.when == "call" and call.excinfo is not None:
        given = getattr(item, "funcargs", {})
        for name in FIXTURES:
            one: Any = given.get(name)
            if type(one).__module__ == "fastlb.testing.balancer":
                item.add_report_section("call", f"fastlb, {name}", one.describe())
