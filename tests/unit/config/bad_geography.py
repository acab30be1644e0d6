"""What can be wrong with `[geo]`, with conditions on where clients are, and with `nearest`."""

from __future__ import annotations

from .forms import LISTENER, POOL, Bad

CROSS = "it is about two values"
CODES = "a schema can't tell codes of places"


def geo(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    return Bad(f"geo-{id}", f"{LISTENER}{POOL}[geo]\n{written}\n", f"f.toml:{told}", beyond_schema)


def match(id: str, written: str, told: str) -> Bad:
    text = f"""\
[listeners.web]
bind = "http://127.0.0.1:8080"
[[listeners.web.routes]]
name = "r"
pool = "api"
{written}
{POOL}"""
    return Bad(f"match-{id}", text, f"f.toml:6: listeners.web.routes[0].match.{told}", CODES)


def nearest(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    text = f"""{LISTENER}[pools.api]
servers = [{{ address = "10.0.0.1:1", zone = "eu" }}, {{ address = "10.0.0.2:1", zone = "us" }}]
nearest = {written}
"""
    return Bad(f"nearest-{id}", text, f"f.toml:6: pools.api.nearest{told}", beyond_schema)


GEOGRAPHY = [
    geo("nothing", 'refresh = "1h"',
        "6: geo: there is no database; write country, city or asn with a file", CROSS),
    geo("refresh", 'asn = "a.mmdb"\nrefresh = "1ms"',
        "8: geo.refresh: '1ms' is not from 100ms to 1d",
        "a schema can't tell how long a time is"),
    geo("unknown-key", 'contry = "a.mmdb"\nasn = "b.mmdb"',
        "7: geo.contry: 'contry' is not a key here; did you mean 'country'? One of: country, city,"
        " asn, refresh, overrides"),
    geo("number", "country = 7", "7: geo.country: 7 is not a text in quotes"),
    geo("host-bits", 'overrides = { "10.0.0.1/8" = { country = "DE" } }',
        "7: geo.overrides.'10.0.0.1/8': '10.0.0.1/8' is not a network like \"10.0.0.0/8\":"
        " 10.0.0.1/8 has host bits set", "a schema can't tell networks"),
    geo("nothing-known", 'overrides = { "10.0.0.0/8" = {} }',
        "7: geo.overrides.'10.0.0.0/8': nothing is known of this network; write country, continent,"
        " region or asn", CROSS),
    geo("country-in-lower-case", 'overrides = { "10.0.0.0/8" = { country = "de" } }',
        "7: geo.overrides.'10.0.0.0/8'.country: 'de' is not a country; write it like \"DE\""
        " (ISO 3166-1)", CODES),
    geo("no-continent", 'overrides = { "10.0.0.0/8" = { continent = "Europe" } }',
        "7: geo.overrides.'10.0.0.0/8'.continent: 'Europe' is not a continent. One of: AF, AN, AS,"
        " EU, NA, OC, SA", CODES),
    geo("no-region", 'overrides = { "10.0.0.0/8" = { region = "CA" } }',
        "7: geo.overrides.'10.0.0.0/8'.region: 'CA' is not a region; write it like \"US-CA\""
        " (ISO 3166-2)", CODES),
    geo("asn-0", 'overrides = { "10.0.0.0/8" = { asn = 0 } }',
        "7: geo.overrides.'10.0.0.0/8'.asn: 0 is out of range: at least 1"),
    geo("unknown-fact", 'overrides = { "10.0.0.0/8" = { city = "Berlin" } }',
        "7: geo.overrides.'10.0.0.0/8'.city: 'city' is not a key here. One of: country, continent,"
        " region, asn"),
    match("country-in-lower-case", 'match.client.country = "de"',
          "client.country: 'de' is not a country; write it like \"DE\" (ISO 3166-1)"),
    match("country-in-list", 'match.client.country = ["DE", "Austria"]',
          "client.country[1]: 'Austria' is not a country; write it like \"DE\" (ISO 3166-1)"),
    match("no-continent", 'match.not.client.continent = { one_of = ["EU", "XX"] }',
          "not.client.continent.one_of[1]: 'XX' is not a continent. One of: AF, AN, AS, EU, NA,"
          " OC, SA"),
    match("no-region", 'match.client.region = "California"',
          "client.region: 'California' is not a region; write it like \"US-CA\" (ISO 3166-2)"),
    match("asn-with-letters", 'match.client.asn = "AS64496"',
          "client.asn: 'AS64496' is not the number of an AS; write it like \"64496\""),
    nearest("nothing", "{}",
            ": it names no zones; write country, continent, others or measured", CROSS),
    nearest("measured-and-others", '{ measured = true, others = ["eu"] }',
            ".others: measured = true finds this order: leave one out", CROSS),
    nearest("measured-without-checks", "{ measured = true }",
            ".measured: the pool has no health checks that connect, which measure it; write"
            " health = { tcp = true }", CROSS),
    nearest("unknown-zone", '{ others = ["eu", "us", "ap"] }',
            ".others[2]: no server of this pool is in the zone 'ap'", CROSS),
    nearest("unknown-zone-of-a-country", '{ country = { DE = "fra" } }',
            ".country.DE: no server of this pool is in the zone 'fra'", CROSS),
    Bad("nearest-many-zones", f"""{LISTENER}[pools.api]
servers = [{", ".join(f'{{ address = "10.0.0.1:{i}", zone = "z{i}" }}' for i in range(1, 18))}]
nearest = {{ others = "z1" }}
""", "f.toml:6: pools.api.nearest: the servers have 17 different zones and priorities, and a pool"
        " with nearest can have 16", CROSS),
    nearest("country-in-lower-case", '{ country = { de = "eu" } }',
            ".country.de: 'de' is not a country; write it like \"DE\" (ISO 3166-1)", CODES),
    nearest("unknown-key", '{ countries = { DE = "eu" } }',
            ".countries: 'countries' is not a key here; did you mean 'country'? One of: country,"
            " continent, others, measured"),
]
