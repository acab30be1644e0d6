"""What was probably meant, and what would be valid: the ends of sentences about mistakes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Any, NoReturn, TypeVar

from fastlb.config.positions import Path
from fastlb.config.units import show

Found = tuple[Path, str, tuple[str, ...]]       # where, what, and what would be valid

NAME = "^[A-Za-z0-9_.-]+$"
# What other balancers call it.
ELSEWHERE = {
    "frontend": "listeners",
    "listen": "bind",
    "backend": "pools",
    "backends": "pools",
    "upstream": "pools",
    "upstreams": "pools",
    "nbthread": "threads",
    "workers": "threads",
    "worker_processes": "threads",
    "worker_connections": "max_connections",
    "maxconn": "max_connections",
    "max_conns": "max_connections",
    "default_backend": "pool",
    "algorithm": "balance",
    "lb_policy": "balance",
    "policy": "balance",
    "timeout": "idle_timeout",
    "resolvers": "dns",
    "source": "ring_hash",
    "ip_hash": "ring_hash",
    "leastconn": "least_connections",
    "least_conn": "least_connections",
    "least_time": "peak_ewma",
    "p2c": "least_request",
    "check": "health",
    "healthcheck": "health",
    "health_check": "health",
    "httpchk": "health",
}


# Where it is clear what was meant, a longer list of what else would be valid only hides it.
LISTED_MAX = 16


def hint(word: Any, valid: Collection[str]) -> str:
    """The end of a sentence: what was probably meant, and what would be valid."""
    near = difflib.get_close_matches(word, valid, 1) if isinstance(word, str) else []
    if isinstance(word, str) and ELSEWHERE.get(word) in valid:
        near = [ELSEWHERE[word]]
    if near:
        return f"; did you mean {near[0]!r}?{beside(valid)}"
    return f". One of: {', '.join(valid)}"


def beside(valid: Collection[str]) -> str:
    """What would be valid, beside what was probably meant; "" where that is too much to read."""
    return f" One of: {', '.join(valid)}" if len(valid) <= LISTED_MAX else ""


def no_pool(path: Path, pool: str, valid: tuple[str, ...]) -> Found:
    if not valid:
        name = pool if re.fullmatch(NAME, pool) else "NAME"
        return path, f"there is no pool {show(pool)}; write a [pools.{name}] with servers", ()
    return path, f"there is no pool {show(pool)}{hint(pool, valid)}", valid


Handle = TypeVar("Handle")


class Named(dict[str, Handle]):
    """A dictionary of handles by name. Its KeyError lists the names that exist."""

    def __init__(self, what: str, handles: dict[str, Handle]) -> None:
        super().__init__(handles)
        self._what = what

    def __missing__(self, name: object) -> NoReturn:
        shown = ", ".join([*self][:LISTED_MAX]) or "none"
        more = f" and {len(self) - LISTED_MAX} more" if len(self) > LISTED_MAX else ""
        raise KeyError(f"there is no {self._what} {name!r}; there are: {shown}{more}")
