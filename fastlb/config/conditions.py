"""The part of the model that says what a request or a connection must have to take a route."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from fastlb._core.facts.registry import FACTS
from fastlb.config import limits
from fastlb.config.base import Model
from fastlb.config.compare import (
    TEXT_OR_LIST,
    Regex,
    Secured,
    Told,
    Value,
    loose,
    one_or_list,
)
from fastlb.config.patterns import OTHER_KINDS, check_field_name, check_host, check_path
from fastlb.config.proxy_protocol import check_network
from fastlb.config.sniffing import Mqtt, Protocols
from fastlb.config.units import show


def _check_method(value: str) -> str:
    # (tokens of RFC 9110, 5.6.2; requests whose method has lower case are refused)
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Z-]{1,64}", value):
        raise ValueError(f'{show(value)} is not a method; write it like "GET"')
    return value


def _check_path(value: str) -> str:
    check_path(value)
    return value


def _unique(values: list[str]) -> list[str]:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{show(value)} is in the list twice")
        seen.add(value)
    return values


T = TypeVar("T")
# One that a request may have, or a list of which any will do.
AnyOf = Annotated[
    list[T], BeforeValidator(one_or_list), AfterValidator(_unique),
    Field(min_length=1, max_length=limits.MATCH_VALUES_MAX), loose(TEXT_OR_LIST),
]
FieldName = Annotated[str, AfterValidator(check_field_name)]
Hosts = AnyOf[Annotated[str, AfterValidator(check_host)]]
Paths = AnyOf[Annotated[str, AfterValidator(_check_path)]]
PathRegexes = AnyOf[Regex]
Method = Annotated[str, AfterValidator(_check_method)]
Methods = AnyOf[Method]
Networks = AnyOf[Annotated[str, AfterValidator(check_network)]]


class _Conditions(Model):
    """What a request must have, or a connection of tcp: protocol, client_ip, tls, proxy and mqtt;
    all of it."""

    protocol: Protocols | None = None
    """What a client speaks, by its first bytes, or a list of that; "unknown" is anything
    else, and silence."""
    mqtt: Annotated[Mqtt, limits.CONDITION] = Field(default_factory=Mqtt)
    """What a client of MQTT says of itself."""
    host: Annotated[Hosts, limits.CONDITION] | None = None
    """`example.com`, or `*.example.com` for all below it, without a port; or a list of hosts."""
    path: Annotated[Paths, limits.CONDITION] | None = None
    """`/exact`, `/prefix/*` (and `/prefix` itself), `/docs/{doc_id}`; `{name}` is one segment. Or a
    list of paths: each is tried in the place that it would have alone."""
    path_regex: Annotated[PathRegexes, limits.CONDITION] | None = None
    """A regular expression for the whole path, or a list; matched in linear time."""
    method: Annotated[Methods, limits.CONDITION] | None = None
    """A method, or a list of them."""
    client_ip: Annotated[Networks, limits.CONDITION] | None = None
    """Networks that the client is in, as trusted proxies saw it: `10.0.0.0/8`, or a list."""
    tls: Annotated[Secured, limits.CONDITION] = Field(default_factory=Secured)
    """What TLS knows of the client."""
    proxy: Annotated[Told, limits.CONDITION] = Field(default_factory=Told)
    """What a trusted proxy told of the client (`proxy_protocol`)."""
    headers: Annotated[dict[FieldName, Value], limits.CONDITION] = Field(default_factory=dict)
    """By name: a text to be equal to, a list of which any will do, true (present), false (absent),
    or a comparison."""
    query: Annotated[dict[str, Value], limits.CONDITION] = Field(default_factory=dict)
    """Parameters of the query, likewise."""
    cookies: Annotated[dict[str, Value], limits.CONDITION] = Field(default_factory=dict)
    """Cookies, likewise."""
    json_: Annotated[dict[str, Value], limits.CONDITION] = Field(
        default_factory=dict, alias="json"
    )
    """Members of a JSON object in the body, likewise; numbers and literals as they are written."""
    form: Annotated[dict[str, Value], limits.CONDITION] = Field(default_factory=dict)
    """Fields of a form in the body, likewise."""


def _kind_of(fact: str) -> Any:
    """Return the type of a fact's condition. Sets of networks are only named: check_networks."""
    return Annotated[Value, loose(TEXT_OR_LIST)] if fact == "client.network" else Value


def _other_table(kind: str, names: list[str]) -> type[Model]:
    fields: dict[str, Any] = {
        name: (Annotated[_kind_of(f"{kind}.{name}"), limits.CONDITION] | None,
               Field(default=None, description=FACTS[f"{kind}.{name}"].meaning))
        for name in names}
    return create_model(f"{kind.title()}Facts", __base__=Model, **fields)


# A table for each kind of fact that has none above: `match.KIND.NAME`.
OTHER_TABLES = {kind: _other_table(kind, names) for kind, names in OTHER_KINDS.items()}


def _other_fields() -> dict[str, Any]:
    return {
        kind: (Annotated[table, limits.CONDITION], Field(
            default_factory=table, description=f"Facts of `{kind}`, likewise."))
        for kind, table in OTHER_TABLES.items()
    }


if TYPE_CHECKING:
    Conditions = _Conditions
else:
    Conditions = create_model(
        "Conditions", __base__=_Conditions, __module__=__name__, __doc__=_Conditions.__doc__,
        **_other_fields())


class Match(Conditions):
    """What a request must have, and what it must not."""

    not_: Annotated[Conditions, limits.CONDITION] = Field(default_factory=Conditions, alias="not")
    """The same keys: none of it may hold."""
