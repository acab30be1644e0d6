"""Parts: each is a service of routes, described by one module of config/parts.

A part has a key in `[defaults]`, listeners and routes, and everything that Python knows of the
service: its model, what holds in the end, what engines get, and how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

if TYPE_CHECKING:
    from fastlb.config.base import Model
    from fastlb.config.hints import Found
    from fastlb.config.model import Config
    from fastlb.config.positions import Path


@dataclass(frozen=True)
class Place:
    """Where a value stands: "web/api" is a route of a listener, "web/*" the listener for all of its
    routes. `config` is all of it."""

    name: str
    config: Config


@dataclass(frozen=True)
class Checking:
    """The surroundings of a value that is checked. `owner` is the table that has the key (a route,
    a listener or `[defaults]`), and `raw` the whole configuration, both as they are written."""

    owner: Mapping[str, Any]
    raw: Mapping[str, Any]

    def tables(self, section: str) -> Mapping[str, Any]:
        """The tables of a section, such as "pools", by their names."""
        found = self.raw.get(section)
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True)
class Compiling:
    """Helpers for a part's `compile`: `pool_index` returns a pool's place in the snapshot, `fact`
    how the core knows a fact by its name, and `networks` a list of networks as the core gets it."""

    pool_index: Callable[[str], int]
    fact: Callable[[str], tuple[int, int, bytes]]
    networks: Callable[[Iterable[str]], object]


def _no_problem(path: Path, value: Any, checking: Checking) -> Iterable[Found]:
    return ()


def _no_pool(value: Any) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Part:
    """`kind` is the annotated type of the key, with the reason of its default; `filter` the name
    that the core's filter has registered. `effective` makes what holds of what is written, None
    where nothing is to be done; it compares and hashes as what it says. `compile` makes what the
    filter's table is made of. `show` returns the text for `fastlb check`, and `explain` a line
    for `fastlb explain`, of what holds and of what a rehearsal has found."""

    key: str
    kind: Any
    meaning: str
    filter: str
    effective: Callable[[Any, Place], Any]
    compile: Callable[[Any, Compiling], object]
    show: Callable[[Any], str]
    explain: Callable[[Any, Mapping[str, Any]], str]
    tables: tuple[tuple[str, type[Model]], ...] = ()    # sections of docs/config.md
    routes_only: bool = False   # not for listeners and [defaults]
    switch: bool = True         # `true` and `false` can be written
    answers: bool = False       # also for routes that answer by themselves
    check: Callable[[Path, Any, Checking], Iterable[Found]] = _no_problem   # what is written
    pools: Callable[[Any], tuple[str, ...]] = _no_pool  # that its effective value sends to

    def field(self, meaning: str) -> tuple[Any, Any]:
        """A field of a model, for pydantic's create_model."""
        return self.kind | None, Field(default=None, description=meaning)
