"""Pages of one's own for errors that fastlb answers with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from fastlb.config import limits
from fastlb.config.base import Model
from fastlb.config.tls import File
from fastlb.config.units import show

STATUS = "^[45]([0-9]{2}|xx)$"
TYPES = {
    ".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8",
    ".json": "application/json", ".txt": "text/plain; charset=utf-8",
    ".xml": "application/xml", ".svg": "image/svg+xml",
}
TYPE = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+( *;.*)?$"     # RFC 9110, 8.3.1


def _file(value: str) -> File:
    file = File.read(value)
    if len(file.data) > limits.PAGE_BYTES_MAX:
        raise ValueError(f"{show(value)} has more than {limits.PAGE_BYTES_MAX >> 10} KiB")
    return file


def _type(value: str) -> str:
    if not re.fullmatch(TYPE, value) or not value.isprintable():
        raise ValueError(f'{show(value)} is not a content type; write it like "text/html"')
    return value


def _status(value: str) -> str:
    if not re.fullmatch(STATUS, value):
        raise ValueError(f"{show(value)} is not the status of an error: 400 to 599, 4xx or 5xx")
    return value


class ErrorPage(Model):
    """What clients get with an error that fastlb answers with by itself."""

    file: Annotated[str, AfterValidator(_file), limits.PAGE_FILE] | None = None
    """A file with the content. It is read when the configuration is, at every reload again."""
    body: Annotated[
        str, Field(max_length=limits.RESPOND_BYTES_MAX), limits.PAGE_BODY
    ] | None = None
    """The content itself."""
    content_type: Annotated[str, AfterValidator(_type), limits.PAGE_TYPE] | None = None
    """What the content is. A page of JSON is for clients that ask for JSON too."""

    @model_validator(mode="after")
    def _check(self) -> ErrorPage:
        if (self.file is None) == (self.body is None):
            raise ValueError("a page has either a file or a body")
        return self

    @property
    def type(self) -> str:
        if self.content_type is not None:
            return self.content_type
        if self.file is not None:
            ending = os.path.splitext(self.file)[1].lower()
            return TYPES.get(ending, "application/octet-stream")
        start = (self.body or "").lstrip()[:1]
        return TYPES[{"<": ".html", "{": ".json"}.get(start, ".txt")]

    @property
    def is_json(self) -> bool:
        kind = self.type.partition(";")[0].strip().lower()
        return kind == "application/json" or kind.endswith("+json")


def _pages(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


def _kinds(pages: list[ErrorPage]) -> list[ErrorPage]:
    if len(pages) == 2 and pages[0].is_json == pages[1].is_json:
        raise ValueError("of two pages, one is JSON and the other is not")
    return pages


Pages = Annotated[
    list[ErrorPage], BeforeValidator(_pages), AfterValidator(_kinds),
    Field(min_length=1, max_length=2),
    WithJsonSchema({"anyOf": [
        {"type": "object"}, {"type": "array", "items": {"type": "object"}, "minItems": 1}]}),
]
Errors = Annotated[dict[Annotated[str, AfterValidator(_status)], Pages], limits.ERRORS]


@dataclass(frozen=True)
class EffectivePage:
    status: int                 # or its first digit, of a whole class
    for_json: bool              # for clients that ask for JSON, or for all others
    content_type: str
    body: bytes
    source: str                 # its file; "" of one that is written down

    def fits(self, status: int, json: bool) -> bool:
        return self.status in (status, status // 100) and self.for_json == json


def effective_pages(errors: Mapping[str, list[ErrorPage]] | None) -> tuple[EffectivePage, ...]:
    """Those of one status before those of a class: the first that fits is taken."""
    found = []
    for key, pages in sorted((errors or {}).items(), key=lambda item: item[0].endswith("xx")):
        status = int(key[0]) if key.endswith("xx") else int(key)
        for for_json in (False, True):
            # A page of JSON is for everybody where there is no other.
            page = next((one for one in pages if one.is_json == for_json), None)
            if page is None and not for_json:
                page = pages[0]
            if page is not None:
                body = page.file.data if isinstance(page.file, File) else (page.body or "").encode()
                found.append(EffectivePage(status, for_json, page.type, body, page.file or ""))
    return tuple(found)
