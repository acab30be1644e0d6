"""`compress`: which responses are compressed, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from fastlb._core.tables.compression import LIBRARIES
from fastlb.config import limits
from fastlb.config.base import Model, Size, Switch, as_list
from fastlb.config.part import Compiling, Part, Place
from fastlb.config.units import show, size_bytes

Coding = Literal["zstd", "br", "gzip"]
CODINGS: tuple[Coding, ...] = ("zstd", "br", "gzip")
# What gains by it: text of all kinds. Images, audio, video and archives are compressed already.
TYPES = (
    "text/*", "application/json", "*/*+json", "application/javascript", "application/xml",
    "*/*+xml", "application/wasm", "application/x-ndjson", "application/graphql", "font/ttf",
    "font/otf", "image/bmp", "image/x-icon", "application/vnd.ms-fontobject",
)
TOKEN = r"[a-z0-9!#$&^_.+-]+"
MEDIA_TYPE = rf"(?:{TOKEN}/(?:{TOKEN}|\*)|\*/\*\+{TOKEN})"


def _check_type(value: str) -> str:
    if not re.fullmatch(MEDIA_TYPE, value.lower()):
        raise ValueError(
            f'{show(value)} is not a media type; write it like "text/html", "text/*" or'
            ' "*/*+json"'
        )
    return value.lower()


def _check_codings(value: list[str]) -> list[str]:
    if len(set(value)) != len(value):
        raise ValueError("a coding is named twice")
    return value


def _check_available(value: Compress | bool) -> Compress | bool:
    """Refuse codings that are named and not built in; `true` takes those that are."""
    named = value.codings if isinstance(value, Compress) and "codings" in value.model_fields_set \
        else ()
    for coding in named:
        if not LIBRARIES[coding]:
            raise ValueError(f"this fastlb was built without {coding}; see `fastlb version -v`")
    if value and not any(LIBRARIES.values()):
        raise ValueError("this fastlb was built without zstd, brotli and zlib")
    return value


class Levels(Model):
    """How hard each coding tries: more takes CPU time and saves bytes."""

    zstd: Annotated[
        int,
        Field(strict=True, ge=limits.ZSTD_LEVEL.low, le=limits.ZSTD_LEVEL.high),
        limits.ZSTD_LEVEL,
    ] = limits.ZSTD_LEVEL.default
    """Level of zstd."""
    br: Annotated[
        int,
        Field(strict=True, ge=limits.BROTLI_LEVEL.low, le=limits.BROTLI_LEVEL.high),
        limits.BROTLI_LEVEL,
    ] = limits.BROTLI_LEVEL.default
    """Level of brotli."""
    gzip: Annotated[
        int,
        Field(strict=True, ge=limits.GZIP_LEVEL.low, le=limits.GZIP_LEVEL.high),
        limits.GZIP_LEVEL,
    ] = limits.GZIP_LEVEL.default
    """Level of gzip."""


class Compress(Model):
    """How responses are compressed, for clients that accept it. `true` takes every default, and
    `false` compresses nothing where the listener or `[defaults]` would."""

    codings: Annotated[
        list[Coding],
        BeforeValidator(as_list),
        Field(min_length=1),
        AfterValidator(_check_codings),
        limits.CODINGS,
    ] = Field(default_factory=lambda: list(CODINGS))
    """Codings, in the order of preference. The client's weights (`q=`) come first."""
    min_size: Annotated[str, Size(limits.COMPRESS_MIN_SIZE)] = "1KiB"
    """The shortest body that is compressed, where Content-Length tells its length."""
    types: Annotated[
        list[Annotated[str, AfterValidator(_check_type)]],
        BeforeValidator(as_list),
        Field(min_length=1, max_length=limits.COMPRESS_TYPES_MAX),
        limits.COMPRESS_TYPES,
    ] = Field(default_factory=lambda: list(TYPES))
    """Media types to compress: `text/html`, `text/*`, or `*/*+json` for a suffix. Event streams
    and gRPC never are."""
    level: Annotated[Levels, limits.COMPRESS_LEVELS] = Field(default_factory=Levels)
    """Levels by coding."""
    personal: Annotated[Switch, limits.COMPRESS_PERSONAL] = limits.COMPRESS_PERSONAL.default
    """Compress responses with Set-Cookie or `Cache-Control: private`, too. Where such a response
    holds a secret beside text that an attacker chooses, its size gives the secret away (BREACH)."""


AnyCompress = Annotated[Compress | Switch, AfterValidator(_check_available), limits.COMPRESS]


@dataclass(frozen=True)
class EffectiveCompress:
    codings: tuple[str, ...]
    min_bytes: int
    types: tuple[str, ...]
    levels: tuple[int, ...]     # by `codings`
    personal: bool


def effective_compress(
    given: Compress | bool | None, place: Place
) -> EffectiveCompress | None:
    """None: nothing is compressed."""
    if not given:
        return None
    if given is True:
        given = Compress()
    codings = [coding for coding in given.codings if LIBRARIES[coding]]
    return EffectiveCompress(
        tuple(codings), size_bytes(given.min_size), tuple(given.types),
        tuple(getattr(given.level, coding) for coding in codings), given.personal,
    )


def show_compress(compress: EffectiveCompress | None) -> str:
    """Codings with their levels, as `fastlb check` shows them."""
    if compress is None:
        return "off"
    return ", ".join(
        f"{coding} {level}" for coding, level in zip(compress.codings, compress.levels, strict=True)
    )


@dataclass(frozen=True)
class CompressSpec:
    codings: tuple[str, ...]
    levels: Mapping[str, int]
    min_bytes: int
    types: list[tuple[str, bytes]]      # "exact", "any" subtype, or "suffix"
    personal: bool


def compile_compress(compress: EffectiveCompress, compiling: Compiling) -> CompressSpec:
    return CompressSpec(
        codings=compress.codings,
        levels=dict(zip(compress.codings, compress.levels, strict=True)),
        min_bytes=compress.min_bytes,
        types=[_form(one) for one in compress.types],
        personal=compress.personal,
    )


def _form(written: str) -> tuple[str, bytes]:
    if written.startswith("*/*"):
        return "suffix", written.removeprefix("*/*").encode()
    if written.endswith("/*"):
        return "any", written.removesuffix("*").encode()
    return "exact", written.encode()


def explain_compress(compress: EffectiveCompress, facts: Mapping[str, Any]) -> str:
    coding = facts.get("coding", "")
    if not coding:
        return "not compressed: the client accepts none of " + ", ".join(compress.codings)
    return f"compressed with {coding}, if the response's type and length allow it"


PART = Part(
    key="compress",
    kind=AnyCompress,
    meaning="Compress responses for clients that accept it: `true`, or a table with more about it.",
    filter="compress",
    effective=effective_compress,
    compile=compile_compress,
    show=show_compress,
    explain=explain_compress,
    tables=(("`compress = { ... }`", Compress), ("`level = { ... }` of `compress`", Levels)),
)
