"""Configurations that can't be used, and every word that is said about them."""

from __future__ import annotations

from .bad_addresses import ADDRESSES
from .bad_admin import ADMIN
from .bad_geography import GEOGRAPHY
from .bad_guesses import GUESSES
from .bad_networks import NETWORKS
from .bad_pools import POOLS
from .bad_sources import SOURCES
from .forms import (
    LISTENER,
    LISTENER_KEYS,
    NO_SCHEME,
    POLICIES,
    POOL,
    SERVER_KEYS,
    Bad,
    bind,
    listener,
    pool,
    server,
    top,
)

NUMBERS = "a pattern says what a unit is, not how much is too much"
ACROSS = "it is about two values"
VARIABLES = "it is about the surroundings"

KEYS = [
    listener(
        "unknown-key",
        "max_conections = 5",
        "max_conections: 'max_conections' is not a key here; did you mean 'max_connections'?",
    ),
    listener(
        "unknown-key-far-off",
        "zzz = 5",
        f"zzz: 'zzz' is not a key here. One of: {LISTENER_KEYS}",
    ),
    top(
        "unknown-section",
        '[pool.api]\nservers = ["10.0.0.1:7000"]',
        "pool: 'pool' is not a key here; did you mean 'pools'?",
    ),
    top(
        "key-of-another-balancer",
        "[backend.api]",
        "backend: 'backend' is not a key here; did you mean 'pools'?",
    ),
    server(
        "unknown-key",
        '{ adress = "10.0.0.1:7000", dns = "api:7000" }',
        f".adress: 'adress' is not a key here; did you mean 'address'? One of: {SERVER_KEYS}",
    ),
    listener(
        "unknown-key-of-keepalive",
        "keepalive = { probes = 3 }",
        "keepalive.probes: 'probes' is not a key here. One of: idle, interval, count",
    ),
    top(
        "unknown-key-of-dns",
        "dns = { servers = [] }",
        "dns.servers: 'servers' is not a key here; did you mean 'nameservers'?"
        " One of: nameservers, timeout, refresh",
    ),
    top(
        "key-of-pools-alone-in-defaults",
        'defaults = { balance = "ring_hash" }',
        "defaults.balance: 'balance' is not a key here; it belongs to a pool ([pools.NAME])",
    ),
    Bad(
        "missing-key",
        f'[listeners.web]\nbind = "tcp://127.0.0.1:8080"\n{POOL}',
        "f.toml:1: listeners.web.pool: this key is missing",
    ),
    Bad(
        "name",
        '[listeners."my web"]\nbind = "tcp://127.0.0.1:8080"\npool = "api"\n' + POOL,
        "f.toml:1: listeners.'my web': 'my web' is not a name: letters, digits, '-', '_' and '.',"
        " 100 at most",
    ),
]

TYPES = [
    listener(
        "text-for-number",
        'max_connections = "5"',
        "max_connections: '5' is not a whole number",
    ),
    listener(
        "fraction-for-number",
        "max_connections = 5.5",
        "max_connections: 5.5 is not a whole number",
    ),
    listener(
        "switch-for-number",
        "max_connections = true",
        "max_connections: true is not a whole number",
    ),
    listener(
        "number-for-switch",
        "tcp_nodelay = 1",
        "tcp_nodelay: 1 is not true or false",
    ),
    listener(
        "table-for-switch",
        "tcp_nodelay = {}",
        "tcp_nodelay: a table is not true or false",
    ),
    listener(
        "true-for-keepalive",
        "keepalive = true",
        "keepalive: true is not a table with idle, interval and count, or false",
    ),
    listener(
        "number-for-text",
        "mode = 432",
        "mode: 432 is not a text in quotes",
    ),
    listener(
        "list-for-text",
        'idle_timeout = ["5s"]',
        'idle_timeout: a list is not a duration; write it like "500ms", "10s", "5m"',
    ),
    Bad(
        "text-for-list",
        f'{LISTENER}[pools.api]\nservers = "10.0.0.1:7000"\n',
        "f.toml:5: pools.api.servers: '10.0.0.1:7000' is not a list; write [\"10.0.0.1:7000\"]",
    ),
    Bad(
        "table-for-list",
        f'{LISTENER}[pools.api.servers]\na = "10.0.0.1:7000"\n',
        "f.toml:4: pools.api.servers: a table is not a list",
    ),
    server("number", "7000", ": 7000 is not a text or a table"),
    Bad(
        "list-for-table",
        "[[listeners]]\nbind = 1\n" + POOL,
        "f.toml:1: listeners: a list is not a table",
    ),
    Bad(
        "text-for-table",
        f'listeners.web = "tcp://127.0.0.1:8080"\n{POOL}',
        "f.toml:1: listeners.web: 'tcp://127.0.0.1:8080' is not a table",
    ),
    pool(
        "policy",
        'balance = "round-robin"',
        "balance: 'round-robin' is not a balancing method; did you mean 'round_robin'?"
        f" One of: {POLICIES}",
    ),
    pool(
        "policy-of-another-balancer",
        'balance = "source"',
        "balance: 'source' is not a balancing method; did you mean 'ring_hash'?"
        f" One of: {POLICIES}",
    ),
    pool(
        "number-for-policy",
        "balance = 1",
        f"balance: 1 is not a balancing method. One of: {POLICIES}",
    ),
    pool(
        "key-to-hash",
        'hash_on = "client.ips"\nbalance = "ring_hash"',
        "hash_on: 'client.ips' is not a key to hash. One of: client.ip, client.port,"
        " client.address, tls.sni, tls.version, tls.client_subject, tls.client_fingerprint,"
        " mqtt.client_id, mqtt.username, proxy.authority, proxy.unique_id, proxy.alpn, proxy.vpce,"
        " proxy.dst, client.country, client.continent, client.region, client.asn,"
        " request.method, request.host, request.hostname, request.path, request.query,"
        " route, path.rest, path.NAME, query.NAME, header.NAME, cookie.NAME",
    ),
]

UNITS = [
    listener(
        "bare-duration",
        "idle_timeout = 30",
        'idle_timeout: 30 has no unit; write "30s" or "30ms"',
    ),
    listener(
        "bare-fraction",
        "idle_timeout = 0.5",
        'idle_timeout: 0.5 has no unit; write "0.5s" or "0.5ms"',
    ),
    listener(
        "bare-duration-in-quotes",
        'idle_timeout = "30"',
        'idle_timeout: \'30\' is not a duration; write it like "500ms", "10s", "5m"',
    ),
    listener(
        "unit-of-durations",
        'idle_timeout = "30sec"',
        'idle_timeout: \'30sec\' is not a duration; write it like "500ms", "10s", "5m"',
    ),
    listener(
        "negative-duration",
        'idle_timeout = "-1s"',
        'idle_timeout: \'-1s\' is not a duration; write it like "500ms", "10s", "5m"',
    ),
    listener(
        "bare-size",
        "buffer_size = 4096",
        'buffer_size: 4096 has no unit; write "4096B" or "4096KiB"',
    ),
    listener(
        "unit-of-sizes",
        'buffer_size = "16K"',
        'buffer_size: \'16K\' is not a size; write it like "512B", "16KiB", "1MiB"',
    ),
]
RANGES = [
    listener(
        "duration-above",
        'idle_timeout = "31d"',
        "idle_timeout: '31d' is not from 0s to 30d",
        NUMBERS,
    ),
    pool(
        "duration-below",
        'connect_timeout = "0s"',
        "connect_timeout: '0s' is not from 1ms to 10m",
        NUMBERS,
    ),
    listener(
        "duration-that-would-be-zero",
        'idle_timeout = "0.1ms"',
        "idle_timeout: '0.1ms' is less than a millisecond, which is the least there is",
        NUMBERS,
    ),
    listener(
        "duration-in-part-of-a-second",
        'keepalive = { idle = "1500ms" }',
        "keepalive.idle: '1500ms' is not in whole seconds, and the kernel knows no others",
        NUMBERS,
    ),
    listener(
        "size-above",
        'buffer_size = "2MiB"',
        "buffer_size: '2MiB' is not from 4KiB to 1MiB",
        NUMBERS,
    ),
    listener(
        "size-between-powers",
        'buffer_size = "20KiB"',
        "buffer_size: '20KiB' is not a power of two; the next is 32KiB",
        NUMBERS,
    ),
    top(
        "refresh-below",
        'dns = { refresh = "1ms" }',
        "dns.refresh: '1ms' is not \"ttl\", or from 100ms to 1d",
        NUMBERS,
    ),
    listener(
        "number-below",
        "max_connections = 0",
        "max_connections: 0 is out of range: at least 1",
    ),
    listener(
        "number-above",
        "backlog = 65536",
        "backlog: 65536 is out of range: at most 65535",
    ),
    server(
        "weight",
        '{ address = "10.0.0.1:7000", weight = 257 }',
        ".weight: 257 is out of range: at most 256",
    ),
    top("no-threads", "threads = 0", 'threads: 0 is not "auto" or a number from 1 to 64'),
    top("text-threads", 'threads = "4"', "threads: '4' is not \"auto\" or a number from 1 to 64"),
    listener("mode", 'mode = "0888"', "mode: '0888' is not a file mode; write it like \"0660\""),
]

CROSSED = [
    Bad(
        "empty-pool",
        f"{LISTENER}[pools.api]\nservers = []\n",
        'f.toml:4: pools.api: the pool has no servers; write servers = ["HOST:PORT"]',
    ),
    Bad(
        "pool-without-servers",
        f'{LISTENER}[pools.api]\nbalance = "ring_hash"\n',
        'f.toml:4: pools.api: the pool has no servers; write servers = ["HOST:PORT"]',
    ),
    Bad(
        "duplicate-server",
        f'{LISTENER}[pools.api]\nservers = [\n  "10.0.0.1:7000",\n  "10.0.0.1:7000",\n]\n',
        "f.toml:7: pools.api.servers[1]: 10.0.0.1:7000 is in this pool already; give it a weight"
        " instead",
        ACROSS,
    ),
    Bad(
        "unknown-pool",
        LISTENER.replace('"api"', '"apy"') + POOL,
        "f.toml:3: listeners.web.pool: there is no pool 'apy'; did you mean 'api'? One of: api",
        ACROSS,
    ),
    Bad(
        "no-pool",
        LISTENER,
        "f.toml:3: listeners.web.pool: there is no pool 'api'; write a [pools.api] with servers",
    ),
    Bad(
        "same-bind",
        LISTENER + LISTENER.replace("web", "www") + POOL,
        "f.toml:5: listeners.www.bind: tcp://127.0.0.1:8080 is bound already, by listeners.web",
        ACROSS,
    ),
    Bad(
        "bind-of-the-admin-api",
        'admin = { bind = ["http://127.0.0.1:9000", "http://127.0.0.1:8080"] }\n' + LISTENER + POOL,
        "f.toml:1: admin.bind[1]: http://127.0.0.1:8080 is bound already, by listeners.web"
        " as tcp://127.0.0.1:8080",
        ACROSS,
    ),
    Bad(
        "bind-below-wildcard",
        '[listeners.web]\nbind = ["tcp://0.0.0.0:8080",\n"tcp://127.0.0.1:8080"]\npool = "api"\n'
        + POOL,
        "f.toml:3: listeners.web.bind[1]: tcp://127.0.0.1:8080 is bound already, by listeners.web"
        " as tcp://0.0.0.0:8080",
        ACROSS,
    ),
    pool(
        "hash-on-round-robin",
        'hash_on = "client.ip"',
        "hash_on: hash_on belongs to a hashing method, and balance is 'round_robin'; one of:"
        " ring_hash, maglev, rendezvous",
    ),
    Bad(
        "empty-file",
        "",
        "f.toml: there is no listener; write a [listeners.NAME] with bind and pool",
    ),
    Bad(
        "comments-alone",
        "# later\n",
        "f.toml: there is no listener; write a [listeners.NAME] with bind and pool",
    ),
]

SURROUNDINGS = [
    bind(
        "unset-variable",
        '"tcp://127.0.0.1:${env:FASTLB_NOT_SET}"',
        "the environment variable FASTLB_NOT_SET is not set",
        VARIABLES,
    ),
    bind(
        "missing-file",
        '"${file:/nonexistent}"',
        "'/nonexistent' can't be read: no such file or directory",
        VARIABLES,
    ),
    bind("folder", '"${file:/}"', "'/' can't be read: is a directory", VARIABLES),
    bind("endless-file", '"${file:/dev/zero}"', "'/dev/zero' has more than 4096 bytes", VARIABLES),
    bind("shell", '"${PORT}"', "'${PORT}' is not a variable; write '${env:PORT}'"),
    bind("no-end", '"${env:PORT"',
         "'${env:PORT' has no end; write '${env:NAME}' or '${file:/path}'"),
]  # fmt: skip

SEVERAL = Bad(
    "several",
    """\
threads = 0

[listeners.web]
bind = "8080"
pool = "apy"
idle_timeout = 30

[pools.api]
balance = "leastconn"
servers = [
    "10.0.0.1:7000",
    { address = "10.0.0.2:7000", wieght = 2 },
    "http://10.0.0.3:7000",
]
""",
    f"""\
f.toml:1: threads: 0 is not "auto" or a number from 1 to 64
f.toml:4: listeners.web.bind: '8080' has no scheme; {NO_SCHEME}
f.toml:5: listeners.web.pool: there is no pool 'apy'; did you mean 'api'? One of: api
f.toml:6: listeners.web.idle_timeout: 30 has no unit; write "30s" or "30ms"
f.toml:9: pools.api.balance: 'leastconn' is not a balancing method; did you mean\
 'least_connections'? One of: {POLICIES}
f.toml:12: pools.api.servers[1].wieght: 'wieght' is not a key here; did you mean 'weight'?\
 One of: {SERVER_KEYS}
f.toml:13: pools.api.servers[2]: a server has no scheme; write "10.0.0.3:7000" (how to speak to\
 it is the pool's business)""",
)

ALL = [
    *KEYS, *TYPES, *UNITS, *RANGES, *ADDRESSES, *ADMIN, *POOLS, *GUESSES, *NETWORKS, *GEOGRAPHY,
    *SOURCES,
    *CROSSED, *SURROUNDINGS, SEVERAL,
]
