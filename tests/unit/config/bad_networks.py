"""Sets of networks that can't be read, and lists that name nothing."""

from __future__ import annotations

from .forms import LISTENER, POOL, Bad, listener

CROSS = "it is about two values"
URLS = "a schema can't tell URLs"
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
             "6: networks.bad: cidrs and file are given, and a set has one source", CROSS),
    networks("three-sources", 'cidrs = []\nfile = "x"\nurl = "http://a/"',
             "6: networks.bad: cidrs and file and url are given, and a set has one source", CROSS),
    networks("no-source", 'refresh = "1s"',
             "6: networks.bad: this set has no networks; write a file or a url with them, or cidrs"
             " ([] for a set that is filled while running)", CROSS),
    *(networks(f"url-{id}", f'url = "{url}"',
               f"7: networks.bad.url: '{url}' is not a URL; write it like"
               ' "https://lists.example.com/bad.txt"', URLS)
      for id, url in (("scheme", "ftp://a/b"), ("host", "https:///b"), ("port", "http://a:b/"),
                      ("space", "http://a/b c"), ("path", "/etc/bad.txt"))),
    networks("url-password", 'url = "https://me:secret@a/"',
             "7: networks.bad.url: a URL here has no user and no password; give it without them",
             URLS),
    networks("url-fragment", 'url = "https://a/#b"',
             "7: networks.bad.url: 'https://a/#b' has a fragment (#), which no server gets", URLS),
    networks("timeout", 'url = "https://a/"\ntimeout = "2m"',
             "8: networks.bad.timeout: '2m' is not from 100ms to 1m",
             "a schema can't tell how long a time is"),
    networks("required", 'url = "https://a/"\nrequired = "no"',
             "8: networks.bad.required: 'no' is not true or false"),
    networks("saved-copy", 'url = "https://a/"\nsaved_copy = ""',
             "8: networks.bad.saved_copy: string should have at least 1 character"),
    networks("ca", 'url = "https://a/"\nca = "none.pem"',
             "8: networks.bad.ca: 'none.pem' can't be read: no such file or directory",
             "a schema can't tell what is in a file"),
    networks("refresh", 'file = "x"\nrefresh = "1ms"',
             "8: networks.bad.refresh: '1ms' is not from 100ms to 1d",
             "a schema can't tell how long a time is"),
    networks("unknown-key", 'file = "x"\nrefesh = "1s"',
             "8: networks.bad.refesh: 'refesh' is not a key here; did you mean 'refresh'? One of:"
             " cidrs, file, url, refresh, timeout, ca, saved_copy, required"),
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
