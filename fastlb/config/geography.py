"""`[geo]`: databases of where clients are, and `nearest`, the order of zones for them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from fastlb.config import limits
from fastlb.config.base import Duration, Model, Switch
from fastlb.config.compare import TEXT_OR_LIST, loose, one_or_list
from fastlb.config.proxy_protocol import check_network
from fastlb.config.units import duration_ms, show, show_ms

DATABASES = ("country", "city", "asn")
CONTINENTS = ("AF", "AN", "AS", "EU", "NA", "OC", "SA")
# The facts, and the databases that know them.
GEO_FACTS = {
    "client.country": ("country", "city"), "client.continent": ("country", "city"),
    "client.region": ("city",), "client.asn": ("asn",),
}
COUNTRY = "[A-Z][A-Z0-9]"
REGION = f"{COUNTRY}-[A-Z0-9]{{1,10}}"


def _country(value: str) -> str:
    if not re.fullmatch(COUNTRY, value):
        raise ValueError(f'{show(value)} is not a country; write it like "DE" (ISO 3166-1)')
    return value


def _continent(value: str) -> str:
    if value not in CONTINENTS:
        raise ValueError(f"{show(value)} is not a continent. One of: {', '.join(CONTINENTS)}")
    return value


def _region(value: str) -> str:
    if not re.fullmatch(REGION, value):
        raise ValueError(f'{show(value)} is not a region; write it like "US-CA" (ISO 3166-2)')
    return value


def _asn(value: str) -> str:
    if not re.fullmatch("[1-9][0-9]{0,9}", value) or int(value) > limits.ASN_MAX:
        raise ValueError(f'{show(value)} is not the number of an AS; write it like "64496"')
    return value


CHECKS = {"country": _country, "continent": _continent, "region": _region, "asn": _asn}
Country = Annotated[str, AfterValidator(_country)]
Continent = Annotated[str, AfterValidator(_continent)]
Database = Annotated[str, Field(min_length=1, max_length=limits.TEXT_MAX), limits.GEO_DATABASE]


class Override(Model):
    """A network's place and AS, in place of all that databases say; a key left out is unknown."""

    country: Annotated[Country, limits.GEO_FACT] | None = None
    """As ISO 3166-1 has it: `DE`."""
    continent: Annotated[Continent, limits.GEO_FACT] | None = None
    """`AF`, `AN`, `AS`, `EU`, `NA`, `OC` or `SA`."""
    region: Annotated[str, AfterValidator(_region), limits.GEO_FACT] | None = None
    """As ISO 3166-2 has it: `US-CA`."""
    asn: Annotated[
        int, Field(strict=True, ge=1, le=limits.ASN_MAX), limits.GEO_FACT
    ] | None = None
    """The number of the autonomous system."""


class Geo(Model):
    """Where clients are: databases in MaxMind's format, for the facts `client.country`,
    `client.continent`, `client.region` and `client.asn`. Needs `pip install 'fastlb[geo]'`."""

    country: Database | None = None
    """A file that knows countries and continents, such as GeoLite2-Country.mmdb."""
    city: Database | None = None
    """One that knows regions too, such as GeoLite2-City.mmdb. It comes before `country`."""
    asn: Database | None = None
    """One that knows autonomous systems, such as GeoLite2-ASN.mmdb."""
    refresh: Annotated[str, Duration(limits.GEO_REFRESH)] = show_ms(limits.GEO_REFRESH.default)
    """How often it is looked whether a file has changed. One that is broken then keeps what was
    known, which is logged."""
    overrides: Annotated[
        dict[Annotated[str, AfterValidator(check_network)], Override],
        Field(max_length=limits.GEO_OVERRIDES_MAX), limits.GEO_OVERRIDES,
    ] = Field(default_factory=dict)
    """Networks of your own, and what is known of them: `{ "10.0.0.0/8" = { country = "DE" } }`. The
    longest prefix counts."""


@dataclass(frozen=True)
class EffectiveOverride:
    network: str
    country: str
    continent: str
    region: str
    asn: int


@dataclass(frozen=True)
class EffectiveGeo:
    files: dict[str, str]       # by the database's kind
    refresh_ms: int
    overrides: tuple[EffectiveOverride, ...]
    origins: dict[str, str] = field(default_factory=dict, compare=False)


def effective_geo(given: Geo) -> EffectiveGeo:
    return EffectiveGeo(
        {kind: path for kind in DATABASES if (path := getattr(given, kind)) is not None},
        duration_ms(given.refresh),
        tuple(EffectiveOverride(network, one.country or "", one.continent or "", one.region or "",
                                one.asn or 0) for network, one in given.overrides.items()),
        {"refresh": "geo" if "refresh" in given.model_fields_set else "built in"})


# --- nearest ---

Zones = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=limits.NAME_MAX)]],
    BeforeValidator(one_or_list), Field(min_length=1, max_length=limits.ZONES_MAX),
    loose(TEXT_OR_LIST),
]


class Nearest(Model):
    """The zones whose servers come first for a client, by where it is."""

    country: Annotated[dict[Country, Zones], limits.NEAREST_PLACES] = Field(default_factory=dict)
    """By country: a zone, or a list of zones in their order. It comes before `continent`."""
    continent: Annotated[
        dict[Continent, Zones], limits.NEAREST_PLACES
    ] = Field(default_factory=dict)
    """By continent, likewise."""
    others: Annotated[Zones, limits.NEAREST_OTHERS] | None = None
    """For all other clients, and for those whose place isn't known."""
    measured: Annotated[Switch, limits.NEAREST_MEASURED] = limits.NEAREST_MEASURED.default
    """Instead of `others`: zones by how long the pool's health checks take to connect to their
    servers, the nearest first. They change places when one is nearer by a fifth."""


@dataclass(frozen=True)
class EffectiveNearest:
    countries: dict[str, tuple[str, ...]]
    continents: dict[str, tuple[str, ...]]
    others: tuple[str, ...]
    measured: bool = False


def effective_nearest(given: Nearest | None) -> EffectiveNearest | None:
    if given is None:
        return None
    return EffectiveNearest(
        {code: tuple(zones) for code, zones in given.country.items()},
        {code: tuple(zones) for code, zones in given.continent.items()},
        tuple(given.others or ()), given.measured)
