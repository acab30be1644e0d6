"""Limits by source, tarpits, bans and rates of requests that can't be."""

from __future__ import annotations

from .forms import LISTENER, POOL, Bad, listener

CROSS = "it is about two values"
LOOSE = "its table is any, as a text may stand for it"
MEANING = "a schema can't tell what a text means"
UDP = LISTENER.replace("tcp", "udp")
HTTP = LISTENER.replace("tcp", "http")
RATE = "max_connection_rate_per_source"


def http(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    return Bad(id, f"{HTTP}{written}\n{POOL}", f"f.toml:4: listeners.web.{told}", beyond_schema)


def udp(id: str, written: str, told: str, beyond_schema: str = CROSS) -> Bad:
    return Bad(id, f"{UDP}{written}\n{POOL}", f"f.toml:4: listeners.web.{told}", beyond_schema)


def ban(id: str, keys: str, told: str, beyond_schema: str = "") -> Bad:
    text = f'{LISTENER}ban = {{ {keys} }}\n{POOL}[networks.bad]\ncidrs = []\n'
    return Bad(f"ban-{id}", text, f"f.toml:4: listeners.web.ban{told}", beyond_schema)


SOURCES = [
    listener("rate-no-rate", f'{RATE} = "often"',
             f"{RATE}: 'often' is not a rate; write it like \"100/m\" or \"10MiB/s\"", MEANING),
    listener("rate-number", f"{RATE} = 20", f'{RATE}: 20 is not a table; write {RATE} = "20/s"'),
    listener("rate-of-bytes", f'{RATE} = "20KiB/s"',
             f"{RATE}: '20KiB/s' is a rate of bytes; write it like \"20/s\"", MEANING),
    listener("rate-nothing", f'{RATE} = "0/s"',
             f"{RATE}: '0/s' is nothing at all; to refuse everything, respond with 403",
             MEANING),
    listener("rate-no-burst", f'{RATE} = {{ limit = "20/s", burst = 0 }}',
             f"{RATE}.burst: 0 is out of range: at least 1", LOOSE),
    listener("rate-long-burst", f'{RATE} = {{ limit = "1/d", burst = 1000 }}',
             f"{RATE}.burst: 1000 takes more than 400d to come back at '1/d'", CROSS),
    listener("rate-no-limit", f"{RATE} = {{ burst = 5 }}", f"{RATE}.limit: this key is missing",
             LOOSE),
    listener("rate-unknown-key", f'{RATE} = {{ limit = "1/s", brust = 5 }}',
             f"{RATE}.brust: 'brust' is not a key here; did you mean 'burst'? One of: limit, burst,"
             " report", LOOSE),
    udp("rate-udp", f'{RATE} = "20/s"',
        f"{RATE}: {RATE} is not for UDP; write max_session_rate_per_source"),
    listener("session-rate-tcp", 'max_session_rate_per_source = "20/s"',
             "max_session_rate_per_source: max_session_rate_per_source belongs to udp://, and bind"
             " is tcp://", CROSS),
    listener("tarpit-no-duration", 'tarpit = "long"',
             "tarpit: 'long' is not a duration; write it like \"500ms\", \"10s\", \"5m\"", MEANING),
    listener("tarpit-number", "tarpit = 30", 'tarpit: 30 is not a table; write tarpit = "30s"'),
    listener("tarpit-short", 'tarpit = "1ms"', "tarpit: '1ms' is not from 100ms to 1h",
             MEANING),
    listener("tarpit-nobody", "tarpit = { max_connections = 0 }",
             "tarpit.max_connections: 0 is out of range: at least 1", LOOSE),
    udp("tarpit-udp", 'tarpit = "30s"', "tarpit: tarpit is not for UDP"),
    udp("ban-udp", 'ban = { networks = "bad", after = "1 denial/m" }\n[networks.bad]\ncidrs = []',
        "ban: ban is not for UDP"),
    ban("no-rate", 'networks = "bad", after = "20/m"',
        ".after: '20/m' is not a rate of denials; write it like \"20 denials/m\""),
    ban("number", 'networks = "bad", after = 20',
        ".after: 20 is not a rate of denials; write it like \"20 denials/m\""),
    ban("nothing", 'networks = "bad", after = "0 denials/m"',
        ".after: '0/m' is nothing at all; to refuse everything, respond with 403", MEANING),
    ban("short", 'networks = "bad", after = "1 denial/m", for = "1ms"',
        ".for: '1ms' is not from 1s to 365d", MEANING),
    ban("network", 'networks = "10.0.0.0/8", after = "1 denial/m"',
        ".networks: '10.0.0.0/8' is not the name of a set of networks", MEANING),
    ban("unknown-set", 'networks = "bed", after = "1 denial/m"',
        ".networks: there is no set of networks 'bed'; did you mean 'bad'? One of: bad", CROSS),
    ban("no-set", 'after = "1 denial/m"', ".networks: this key is missing"),
    http("request-rate-no-bytes", 'min_request_rate = "1/s"',
         "min_request_rate: '1/s' is not a rate of bytes; write it like \"1KiB/s\"", MEANING),
    http("request-rate-slow", 'min_request_rate = "1B/m"',
         "min_request_rate: '1B/m' is not from 1B/s to 1GiB/s", MEANING),
    http("request-rate-grace", 'min_request_rate = { limit = "1KiB/s", grace = "1ms" }',
         "min_request_rate.grace: '1ms' is not from 100ms to 10m", MEANING),
    listener("request-rate-tcp", 'min_request_rate = "1KiB/s"',
             "min_request_rate: min_request_rate belongs to an http listener, and bind is tcp://;"
             " write http:// there if its clients speak HTTP", CROSS),
]
