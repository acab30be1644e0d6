"""The part of the model that binds clients to servers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fastlb.config import limits
from fastlb.config.base import Duration, Model, Switch
from fastlb.config.units import duration_ms, show, show_ms

COOKIE = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"       # a token of RFC 9110, as RFC 6265 has it


def _check_cookie(value: str) -> str:
    if not re.fullmatch(COOKIE, value):
        raise ValueError(f"{show(value)} is not the name of a cookie: letters, digits, '-' and '_'")
    return value


def _check_attribute(value: str) -> str:
    if not re.fullmatch(r"[!-:<-~]+", value):
        raise ValueError(f"{show(value)} has characters that a cookie's attribute can't have")
    return value


def _check_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{show(value)} is not a path: it begins with /")
    return _check_attribute(value)


def _secrets(value: Any) -> list[str]:
    """Nothing here says what was given."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not found or not all(
        isinstance(one, str) for one in found
    ):
        raise ValueError("not a text, or a list of them")
    least = limits.SECRET_CHARACTERS_MIN
    if any(len(one) < least for one in found):
        raise ValueError(f"shorter than {least} characters; make one: openssl rand -hex 32")
    return list(found)


class Sticky(Model):
    """Clients come back to the server that they had, by a cookie that nobody else can make."""

    cookie: Annotated[
        str, Field(min_length=1, max_length=limits.NAME_MAX), AfterValidator(_check_cookie),
        WithJsonSchema({"type": "string", "pattern": COOKIE}),
    ]
    """Its name."""
    secret: Annotated[
        list[str], BeforeValidator(_secrets), limits.STICKY_SECRET,
        WithJsonSchema({"anyOf": [
            {"type": "string", "minLength": limits.SECRET_CHARACTERS_MIN},
            {"type": "array", "minItems": 1,
             "items": {"type": "string", "minLength": limits.SECRET_CHARACTERS_MIN}},
        ]}),
    ]
    """What it is signed with, of at least 16 characters; several while they change: the first one
    signs, all are believed."""
    max_age: Annotated[str, Duration(limits.STICKY_MAX_AGE)] = show_ms(
        limits.STICKY_MAX_AGE.default
    )
    """How long the browser keeps it, in whole seconds; 0s: until it is closed."""
    path: Annotated[
        str, Field(min_length=1), AfterValidator(_check_path), limits.STICKY_PATH
    ] = "/"
    """The paths that it is sent for."""
    domain: Annotated[
        str, Field(min_length=1), AfterValidator(_check_attribute), limits.STICKY_DOMAIN
    ] | None = None
    """The hosts that it is sent to."""
    secure: Annotated[Switch, limits.STICKY_SECURE] = limits.STICKY_SECURE.default
    """Only over https."""
    same_site: Annotated[
        Literal["lax", "strict", "none"], limits.STICKY_SAME_SITE
    ] = "lax"
    """Whether it is sent with requests that other sites caused (SameSite)."""


@dataclass(frozen=True)
class EffectiveSticky:
    cookie: str
    secrets: tuple[str, ...] = field(repr=False)
    attributes: str             # of the Set-Cookie field, from the first ";" on


def effective_sticky(sticky: Sticky) -> EffectiveSticky:
    attributes = [f"Path={sticky.path}"]
    if sticky.domain:
        attributes.append(f"Domain={sticky.domain}")
    max_age_s = duration_ms(sticky.max_age) // 1000
    if max_age_s:
        attributes.append(f"Max-Age={max_age_s}")
    attributes += ["HttpOnly", f"SameSite={sticky.same_site.capitalize()}"]
    if sticky.secure:
        attributes.append("Secure")
    return EffectiveSticky(
        sticky.cookie, tuple(sticky.secret), "".join(f"; {one}" for one in attributes)
    )
