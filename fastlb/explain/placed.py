"""Where a client is, in words."""

from __future__ import annotations

from fastlb._core.tables.live import Live

FACTS = ("client.country", "client.continent", "client.region", "client.asn")


def place_facts(live: Live, client: str) -> dict[str, str]:
    """Return the facts about an address's place, by their names."""
    if live.geography is None:
        return {}
    try:
        *codes, asn = live.geography.find(client)
    except ValueError:          # (a word that a proxy hides its client behind)
        return {}
    found = dict(zip(FACTS, (*codes, str(asn or "")), strict=True))
    return {name: value for name, value in found.items() if value}


def place_in_words(live: Live, client: str) -> str:
    """Such as "in DE (EU), AS 64496"; "" where there are no databases."""
    if live.geography is None:
        return ""
    facts = place_facts(live, client)
    country, continent, region, asn = (facts.get(name, "") for name in FACTS)
    place = region or country
    parts = [f"in {place} ({continent})" if place and continent else f"in {place or continent}"] \
        if place or continent else []
    parts += [f"AS {asn}"] if asn else []
    return ", ".join(parts) or "where it is isn't known"
