"""Sets of networks that can't be read, and lists that name nothing."""

from __future__ import annotations

from .forms import LISTENER, POOL, Bad, listener

CROSS = "it is about two values"
SETS = '[networks.bad]\ncidrs = ["192.0.2.0/24"]\n'


def networks(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    text = f"{LISTENER}{POOL}[networks.bad]\n{written}\n"
    return Bad(f"networks-{id}", text, f"f.toml:{told}", beyond_schema)


def route(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    text = f"""\
[listeners.web]
bind = "http://127.0.0.1:8080"
[[listeners.web.routes]]
name = "r"
pool = "api"
{written}
{POOL}{SETS}"""
    return Bad(f"route-{id}", text, f"f.toml:6: listeners.web.routes[0].{told}", beyond_schema)


NETWORKS = [
    networks("host-bits", 'cidrs = ["192.0.2.1/24"]',
             "7: networks.bad.cidrs[0]: '192.0.2.1/24' is not a network like \"10.0.0.0/8\":"
             " 192.0.2.1/24 has host bits set", "a schema can't tell networks"),
    networks("zone", 'cidrs = ["fe80::1%eth0"]',
             "7: networks.bad.cidrs[0]: 'fe80::1%eth0' is not a network like \"10.0.0.0/8\": a"
             " network has no zone", "a schema can't tell networks"),
    Bad("networks-name-of-an-address", f"{LISTENER}{POOL}[networks.10]\ncidrs = []\n",
        "f.toml:6: networks.10: '10' is not a name of a set: it looks like an address", CROSS),
    networks("two-sources", 'cidrs = []\nfile = "x"',
             "6: networks.bad: give cidrs or file, not both", CROSS),
    networks("no-source", 'refresh = "1s"',
             "6: networks.bad: this set has no networks; write a file with them, or cidrs ([] for a"
             " set that is filled while running)", CROSS),
    networks("refresh", 'file = "x"\nrefresh = "1ms"',
             "8: networks.bad.refresh: '1ms' is not from 100ms to 1d",
             "a schema can't tell how long a time is"),
    networks("unknown-key", 'file = "x"\nrefesh = "1s"',
             "8: networks.bad.refesh: 'refesh' is not a key here; did you mean 'refresh'? One of:"
             " cidrs, file, refresh"),
    listener("deny-unknown-set", 'deny = "bad"',
             "deny: there is no set of networks 'bad'; write a [networks.bad] with a file", CROSS),
    listener("deny-nothing", "deny = []", "deny: the list is empty"),
    listener("deny-number", "deny = 7", "deny: 7 is not a table"),
    listener("allow-not-a-network", 'allow = ["10.0.0.0/99"]',
             "allow[0]: '10.0.0.0/99' is not a network like \"10.0.0.0/8\":"
             " '10.0.0.0/99' does not appear to be an IPv4 or IPv6 network",
             "a schema can't tell networks"),
    listener("allow-neither", 'allow = ["a b"]',
             "allow[0]: 'a b' is neither the name of a set nor a network such as"
             ' "10.0.0.0/8"', "a schema can't tell networks"),
    route("deny-misspelt-set", 'deny = ["bed"]',
          "deny[0]: there is no set of networks 'bed'; did you mean 'bad'? One of: bad", CROSS),
    route("match-network-of-no-name", 'match.client.network = "10.0.0.0/8"',
          "match.client.network: '10.0.0.0/8' is not the name of a set; networks belong to"
          " client_ip", CROSS),
    route("match-unknown-set", 'match.client.network = ["bad", "worse"]',
          "match.client.network[1]: there is no set of networks 'worse'. One of: bad",
          CROSS),
    route("match-comparison", 'match.client.network = { prefix = "b" }',
          "match.client.network: a table is not the name of a set of networks"),
]
