"""`mirror`: another pool that gets copies of a route's requests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from fastlb.config import limits
from fastlb.config.base import Model
from fastlb.config.compare import TEXT, loose
from fastlb.config.hints import Found, no_pool
from fastlb.config.part import Checking, Compiling, Part, Place
from fastlb.config.positions import Path
from fastlb.config.units import show

ALL = 2**32 - 1                 # of requests, as the core counts shares


def _pool(value: Any) -> Any:
    return {"pool": value} if isinstance(value, str) else value


def _check_share(value: str) -> str:
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%", value)
    if not found or not 0 < float(found[1]) <= 100:
        raise ValueError(f'{show(value)} is not a share; write it like "10%"')
    return value


class Mirror(Model):
    """A copy of requests for another pool, whose responses are discarded."""

    pool: Annotated[str, Field(min_length=1, max_length=limits.NAME_MAX)]
    """The pool that gets the copies."""
    share: Annotated[str, AfterValidator(_check_share), limits.MIRROR_SHARE] = "100%"
    """Share of the requests that are copied, chosen by chance."""


AnyMirror = Annotated[
    Mirror, BeforeValidator(_pool), loose({"anyOf": [TEXT, {"type": "object"}]}), limits.MIRROR
]


@dataclass(frozen=True)
class EffectiveMirror:
    pool: str
    share: float                # up to 1


def effective_mirror(given: Mirror, place: Place) -> EffectiveMirror:
    return EffectiveMirror(given.pool, float(given.share.removesuffix("%")) / 100)


def check_mirror(path: Path, value: Any, checking: Checking) -> Iterator[Found]:
    """Yield what is wrong with a `mirror` as it is written."""
    table = isinstance(value, Mapping)
    pool = value.get("pool") if table else value
    if not isinstance(pool, str):
        return
    where = (*path, "pool") if table else path
    pools = checking.tables("pools")
    if pool not in pools:
        yield no_pool(where, pool, tuple(pools))
    if "pool" not in checking.owner and "split" not in checking.owner:
        yield where, "a mirror gets copies of what goes to a pool, and this route has none", ()


def show_mirror(mirror: EffectiveMirror | None) -> str:
    if mirror is None:
        return ""
    return f"pool {mirror.pool}" + (f", {mirror.share * 100:g}%" if mirror.share < 1 else "")


@dataclass(frozen=True)
class MirrorSpec:
    pool: int
    share: int                  # of 2**32


def compile_mirror(mirror: EffectiveMirror, compiling: Compiling) -> MirrorSpec:
    return MirrorSpec(compiling.pool_index(mirror.pool), min(int(mirror.share * 2**32), ALL))


def explain_mirror(mirror: EffectiveMirror, facts: Mapping[str, Any]) -> str:
    copied = f"copied to pool {mirror.pool}"
    return copied if mirror.share == 1 else f"{mirror.share:.4g} of the requests are {copied}"


PART = Part(
    key="mirror",
    kind=AnyMirror,
    meaning="Another pool that gets a copy of the requests, or of a share of them.",
    filter="mirror",
    routes_only=True,
    switch=False,
    check=check_mirror,
    pools=lambda mirror: (mirror.pool,),
    effective=effective_mirror,
    compile=compile_mirror,
    show=show_mirror,
    explain=explain_mirror,
    tables=(("`mirror`", Mirror),),
)
