"""The files of examples/ as they stand, but for ports, in front of real applications."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import httpx
import pytest

import fastlb
from fastlb.config.reader import tomllib
from tests.examples.applications import Servers
from tests.examples.running import EXAMPLES, Running, Start, patient


class Example:
    """A running example, and a client of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, trust_env=False, timeout=30)

    def who(self, path: str, method: str = "GET", **headers: str) -> str:
        """The server that answers, as "pool" and its number."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        got = self.client.request(method, path, headers=named)
        return got.json()["name"] if got.status_code == 200 else str(got.status_code)

    def pool(self, path: str, method: str = "GET", **headers: str) -> str:
        return self.who(path, method, **headers).rpartition(" ")[0]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    made = Servers()
    yield made
    made.stop()


@pytest.fixture
def example(servers: Servers) -> Iterator[Callable[[str], Example]]:
    with ExitStack() as stack:

        def run(name: str) -> Example:
            raw = tomllib.loads((EXAMPLES / name).read_text())
            patient(raw)
            for listener in raw["listeners"].values():
                listener["bind"] = "http://127.0.0.1:0"
            for pool, keys in raw["pools"].items():
                n = len(keys["servers"])
                keys["servers"] = [servers.start(f"{pool} {i}") for i in range(n)]
            balancer = fastlb.Balancer(fastlb.Config.build(raw), threads=2)
            stack.enter_context(balancer.background())
            made = Example(next(iter(balancer.listeners.values())).url)
            stack.callback(made.client.close)
            return made

        yield run


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts examples; whoever they served has gone when the test ends, and nothing is left."""
    monkeypatch.syspath_prepend(str(EXAMPLES))      # where their policies are
    with ExitStack() as stack:
        made: list[Running] = []

        def run(name: str, servers: Mapping[str, Sequence[str]]) -> Running:
            one = Running(name, servers)
            stack.enter_context(one.balancer.background())
            made.append(one)
            return one

        yield run
        for one in made:
            one.end()
