"""Keys in the wrong place and values of the wrong form: what is said was meant."""

from __future__ import annotations

from .forms import (
    LISTENER,
    POOL,
    Bad,
    http_pool,
    listener,
    pool,
    top,
)

PAIR = "a schema knows a table, not what somebody meant by something else"
HTTP = LISTENER.replace("tcp://", "http://")


def route(id: str, written: str, told: str, scheme: str = "http", beyond_schema: str = "") -> Bad:
    text = (f"{HTTP.replace('http', scheme)}[[listeners.web.routes]]\nname = \"a\"\n{written}\n"
            f"{POOL}")
    return Bad(f"guess-route-{id}", text, f"f.toml:6: listeners.web.routes[0].{told}",
               beyond_schema)


GUESSES = [
    route("path-on-tcp", 'match.path = "/a"\npool = "api"',
          "match.path: path is for HTTP only, and bind is tcp://; write http:// there if its"
          " clients speak HTTP", "tcp", PAIR),
    listener("guess-http-key-on-tcp", "max_headers = 5",
             "max_headers: max_headers belongs to an http listener, and bind is tcp://; write"
             " http:// there if its clients speak HTTP", PAIR),
    pool("guess-health-path", 'health = "/healthz"',
         "health: '/healthz' is not a table; write health = { http = \"/healthz\" }"),
    pool("guess-health-switch", "health = true",
         "health: true is not a table; write health = { tcp = true }"),
    pool("guess-health-kind", 'health = "tls"',
         "health: 'tls' is not a table; write health = { tls = true }"),
    pool("guess-retry-number", "retry = 3",
         "retry: 3 is not a table; write retry = { attempts = 3 }"),
    pool("guess-limits-number", "limits = 100",
         "limits: 100 is not a table; write limits = { max_requests = 100 }"),
    route("compress-coding", 'compress = "gzip"\npool = "api"',
          "compress: 'gzip' is not true, false or a table; write compress = { codings ="
          ' ["gzip"] }'),
    http_pool("guess-hedge-delay", 'hedge = "20ms"',
         "hedge: '20ms' is not a table; write hedge = { delay = \"20ms\" }"),
    http_pool("guess-sticky-name", 'sticky = "session"',
         "sticky: 'session' is not a table; write sticky = { cookie = \"session\", secret ="
         ' "${env:SECRET}" }'),
    pool("guess-subset-number", "subset = 20",
         "subset: 20 is not a table; write subset = { size = 20 }"),
    pool("guess-outliers-number", "outliers = 3",
         "outliers: 3 is not a table; write outliers = { consecutive_failures = 3 }"),
    top("guess-log-path", 'access_log = "/tmp/a.log"',
        "access_log: '/tmp/a.log' is not a table; write access_log = { path = \"/tmp/a.log\" }"),
    top("guess-admin-bind", 'admin = "http://127.0.0.1:9000"',
        "admin: 'http://127.0.0.1:9000' is not a table with bind, or false; write admin ="
        ' { bind = "http://127.0.0.1:9000" }'),
    top("guess-dns", 'dns = "10.0.0.2"',
        "dns: '10.0.0.2' is not a table; write dns = { nameservers = [\"10.0.0.2\"] }"),
    route("respond-status", "respond = 404",
          "respond: 404 is not a table; write respond = { status = 404 }"),
    pool("guess-max-connections", "max_connections = 5",
         "max_connections: 'max_connections' is not a key here; a pool has limits.max_requests, and"
         " each of its servers max_connections"),
    pool("guess-policy", 'policy = "a:b"',
         "policy: 'policy' is not a key here; how a pool picks is its balance; a policy belongs to"
         " a route, or to a tcp listener"),
    Bad("guess-routes-of-a-pool",
        f'{LISTENER}{POOL}[[pools.api.routes]]\nname = "a"\npool = "api"\n',
        "f.toml:6: pools.api.routes: 'routes' is not a key here; it belongs to a listener"
        " ([listeners.NAME])"),
    listener("guess-balance-of-a-listener", 'balance = "random"',
             "balance: 'balance' is not a key here; it belongs to a pool ([pools.NAME])"),
    listener("guess-servers-of-a-listener", 'servers = ["10.0.0.1:1"]',
             "servers: 'servers' is not a key here; it belongs to a pool ([pools.NAME])"),
    pool("guess-weight-of-a-pool", "weight = 5",
         "weight: 'weight' is not a key here; it belongs to a server ({ address = \"HOST:PORT\","
         " weight = ... })"),
    Bad("guess-certificate-of-a-listener",
        f'{LISTENER.replace("tcp:", "tls:")}tls = {{ cert = "a.pem", key = "a.key" }}\n{POOL}',
        "f.toml:4: listeners.web.tls.cert: 'cert' is not a key here; write certificates = [{ cert"
        ' = "FILE", key = "FILE" }]\n'
        "f.toml:4: listeners.web.tls.certificates: this key is missing\n"
        "f.toml:4: listeners.web.tls.key: 'key' is not a key here; write certificates = [{ cert ="
        ' "FILE", key = "FILE" }]'),
    top("guess-pool-at-the-top", "connect_timeout = \"5s\"",
        "connect_timeout: 'connect_timeout' is not a key here; it belongs to a pool"
        " ([pools.NAME])"),
]  # fmt: skip
