"""Filters of a route made into what the engines go by."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastlb._core.tables.filters import FILTER_COMPRESS, FILTER_IDENTITY

if TYPE_CHECKING:
    from fastlb.config.compression import EffectiveCompress
    from fastlb.config.effective_http import EffectiveRoute

IDENTITY = "FASTLB_IDENTITY_FILTER"     # set to 1 by tests and benchmarks


@dataclass(frozen=True)
class CompressSpec:
    codings: tuple[str, ...]
    levels: Mapping[str, int]
    min_bytes: int
    types: list[tuple[str, bytes]]      # "exact", "any" subtype, or "suffix"
    personal: bool


def compile_filters(route: EffectiveRoute) -> dict[int, object]:
    """Specs by FilterNumber; {} where the route has none."""
    specs: dict[int, object] = {}
    if route.compress is not None and (route.pool or route.split or route.policy is not None):
        specs[FILTER_COMPRESS] = compile_compress(route.compress)
    if os.environ.get(IDENTITY) == "1":
        specs[FILTER_IDENTITY] = None
    return specs


def compile_compress(compress: EffectiveCompress) -> CompressSpec:
    return CompressSpec(
        codings=compress.codings,
        levels=dict(zip(compress.codings, compress.levels, strict=True)),
        min_bytes=compress.min_bytes,
        types=[_type(one) for one in compress.types],
        personal=compress.personal,
    )


def _type(written: str) -> tuple[str, bytes]:
    if written.startswith("*/*"):
        return "suffix", written.removeprefix("*/*").encode()
    if written.endswith("/*"):
        return "any", written.removesuffix("*").encode()
    return "exact", written.encode()
