"""Configurations that can't be used, and every word that is said about them."""

from __future__ import annotations

from dataclasses import dataclass

LISTENER = '[listeners.web]\nbind = "tcp://127.0.0.1:8080"\npool = "api"\n'
POOL = '[pools.api]\nservers = ["10.0.0.1:7000"]\n'
TOP_KEYS = "threads, shutdown_timeout, max_connections, dns, defaults, listeners, pools"
LISTENER_KEYS = (
    "tcp_nodelay, keepalive, bind, pool, max_connections, idle_timeout, backlog, buffer_size,"
    " bulk_buffer_size, reuse_port, mode"
)
SERVER_KEYS = "address, dns, refresh, weight, max_connections"
BIND_HOW = 'write it like "tcp://127.0.0.1:8080" or "tcp://unix:/run/a.sock"'
SERVER_HOW = 'write it like "10.0.0.1:7000", "[::1]:7000" or "unix:/run/a.sock"'
ANYWHERE = 'write "tcp://0.0.0.0:8080", or "tcp://127.0.0.1:8080" for this machine only'
RELAYS = "(it relays any protocol over TCP unchanged)"
LONG_PATH = "/" + "a" * 107


@dataclass(frozen=True)
class Bad:
    id: str
    text: str
    told: str
    beyond_schema: str = ""  # why a schema can't tell


def bind(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    text = f'[listeners.web]\nbind = {written}\npool = "api"\n{POOL}'
    return Bad(f"bind-{id}", text, f"f.toml:2: listeners.web.bind: {told}", beyond_schema)


def server(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    text = f"{LISTENER}[pools.api]\nservers = [{written}]\n"
    return Bad(f"server-{id}", text, f"f.toml:5: pools.api.servers[0]{told}", beyond_schema)


def listener(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    return Bad(id, f"{LISTENER}{written}\n{POOL}", f"f.toml:4: listeners.web.{told}", beyond_schema)


def pool(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    return Bad(id, f"{LISTENER}{POOL}{written}\n", f"f.toml:6: pools.api.{told}", beyond_schema)


def top(id: str, written: str, told: str, beyond_schema: str = "") -> Bad:
    return Bad(id, f"{written}\n{LISTENER}{POOL}", f"f.toml:1: {told}", beyond_schema)


NUMBERS = "a number has no unit and so no bound that a pattern could tell"
ACROSS = "it is about two values"
VARIABLES = "it is about the surroundings"

KEYS = [
    listener(
        "unknown-key",
        "max_conections = 5",
        "max_conections: 'max_conections' is not a key here; did you mean 'max_connections'?"
        f" One of: {LISTENER_KEYS}",
    ),
    listener(
        "unknown-key-far-off",
        "zzz = 5",
        f"zzz: 'zzz' is not a key here. One of: {LISTENER_KEYS}",
    ),
    top(
        "unknown-section",
        '[pool.api]\nservers = ["10.0.0.1:7000"]',
        f"pool: 'pool' is not a key here; did you mean 'pools'? One of: {TOP_KEYS}",
    ),
    top(
        "key-of-another-balancer",
        "[backend.api]",
        f"backend: 'backend' is not a key here; did you mean 'pools'? One of: {TOP_KEYS}",
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
        "defaults.balance: 'balance' is not a key here. One of: tcp_nodelay, keepalive,"
        " idle_timeout, connect_timeout, buffer_size, bulk_buffer_size",
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
        "balance: 'round-robin' is not a policy; did you mean 'round_robin'?"
        " One of: round_robin, ring_hash",
    ),
    pool(
        "policy-of-another-balancer",
        'balance = "source"',
        "balance: 'source' is not a policy; did you mean 'ring_hash'?"
        " One of: round_robin, ring_hash",
    ),
    pool(
        "number-for-policy",
        "balance = 1",
        "balance: 1 is not a policy. One of: round_robin, ring_hash",
    ),
    pool(
        "key-to-hash",
        'hash_on = "client.ips"\nbalance = "ring_hash"',
        "hash_on: 'client.ips' is not a key to hash; did you mean 'client.ip'?"
        " One of: client.ip, client.address",
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

PORT_HIGH = "65535 is the most, which a pattern could only tell at length"
HOSTS = "the parts of an address have bounds of their own"

ADDRESSES = [
    bind("no-scheme", '"localhost:8080"',
         "'localhost:8080' has no scheme; write \"tcp://localhost:8080\""),
    bind("colon-port", '":8080"', f"':8080' has no scheme; {ANYWHERE}"),
    bind("port", '"8080"', f"'8080' has no scheme; {ANYWHERE}"),
    bind("number", "8080", f"'8080' has no scheme; {ANYWHERE}"),
    bind("star", '"*:8080"', f"'*:8080' has no scheme; {ANYWHERE}"),
    bind("path", '"/run/a.sock"', f"'/run/a.sock' has no scheme; {BIND_HOW}"),
    bind("scheme-and-port", '"tcp://:8080"', f"'tcp://:8080' has no host; {ANYWHERE}"),
    bind("scheme-and-star", '"tcp://*:8080"', f"'tcp://*:8080' has no host; {ANYWHERE}"),
    bind("http", '"http://127.0.0.1:8080"',
         f'http:// is not available in this version; write "tcp://127.0.0.1:8080" {RELAYS}'),
    bind("https-without-port", '"https://127.0.0.1/"',
         f'https:// is not available in this version; write "tcp://127.0.0.1:443" {RELAYS}'),
    bind("scheme", '"ftp://127.0.0.1:21"', "'ftp' is not a scheme; one of: tcp"),
    bind("no-port", '"tcp://127.0.0.1"',
         f"'tcp://127.0.0.1' is not an address with a port; {BIND_HOW}"),
    bind("port-name", '"tcp://127.0.0.1:http"',
         f"'tcp://127.0.0.1:http': 'http' is not a port from 0 to 65535; {BIND_HOW}"),
    bind("port-high", '"tcp://127.0.0.1:65536"',
         f"'tcp://127.0.0.1:65536': '65536' is not a port from 0 to 65535; {BIND_HOW}",
         PORT_HIGH),
    bind("port-negative", '"tcp://127.0.0.1:-1"',
         f"'tcp://127.0.0.1:-1': '-1' is not a port from 0 to 65535; {BIND_HOW}"),
    bind("slash", '"tcp://127.0.0.1:8080/"',
         f"'tcp://127.0.0.1:8080/': '8080/' is not a port from 0 to 65535; {BIND_HOW}"),
    bind("bare-ipv6", '"tcp://::1:8080"',
         "'tcp://::1:8080': an IPv6 address stands in brackets; write \"[::1]:8080\""),
    bind("bare-ipv6-without-port", '"tcp://::1"',
         "'tcp://::1': an IPv6 address stands in brackets; write \"[::1]:PORT\""),
    bind("half-a-bracket", '"tcp://[::1"',
         f"'tcp://[::1' is not an address with a port; {BIND_HOW}"),
    bind("ipv4-in-brackets", '"tcp://[127.0.0.1]:8080"',
         f"'tcp://[127.0.0.1]:8080': '[127.0.0.1]' is not a host; {BIND_HOW}", HOSTS),
    bind("half-an-ipv4", '"tcp://127.0.1:8080"',
         f"'tcp://127.0.1:8080': '127.0.1' is not a host; {BIND_HOW}", HOSTS),
    bind("host", '"tcp://a b:8080"', f"'tcp://a b:8080': 'a b' is not a host; {BIND_HOW}"),
    bind("empty-label", '"tcp://a..b:8080"',
         f"'tcp://a..b:8080': 'a..b' is not a host; {BIND_HOW}", HOSTS),
    bind("unix-relative", '"tcp://unix:a.sock"',
         "'tcp://unix:a.sock': a unix socket's path begins with / and has at most 107 bytes;"
         f" {BIND_HOW}"),
    bind("unix-long", f'"tcp://unix:{LONG_PATH}"',
         f"'tcp://unix:{LONG_PATH}"[:120]
         + "...: a unix socket's path begins with / and has at most 107 bytes;"
         f" {BIND_HOW}", HOSTS),
    bind("empty-list", "[]", "the list is empty"),
    server("scheme", '"http://10.0.0.1:7000/"',
           ": a server has no scheme; write \"10.0.0.1:7000\" (how to speak to it is the pool's"
           " business)"),
    server("scheme-without-port", '"https://example.com"',
           ": a server has no scheme; write \"example.com:443\" (how to speak to it is the pool's"
           " business)"),
    server("no-port", '"10.0.0.1"', f": '10.0.0.1' is not an address with a port; {SERVER_HOW}"),
    server("bare-ipv6", '"2001:db8::1:7000"',
           ": '2001:db8::1:7000': an IPv6 address stands in brackets;"
           ' write "[2001:db8::1]:7000"'),
    server("port-0", '"10.0.0.1:0"', ": '10.0.0.1:0': a server's port is not 0", PORT_HIGH),
    server("neither", "{ weight = 2 }", ": a server has either an address or a dns name"),
    server("both", '{ address = "10.0.0.1:1", dns = "a:1" }',
           ": a server has either an address or a dns name"),
    server("dns-ip", '{ dns = "10.0.0.1:7000" }',
           ".dns: '10.0.0.1:7000' is not a name with a port; write it like \"api.internal:7000\""),
    top("nameserver", 'dns = { nameservers = ["dns.internal"] }',
        "dns.nameservers[0]: 'dns.internal' is not a name server; write it like \"10.0.0.2\" or"
        ' "10.0.0.2:53"'),
    top("nameserver-port", 'dns = { nameservers = ["10.0.0.2:0"] }',
        "dns.nameservers[0]: '10.0.0.2:0': '0' is not a port from 1 to 65535", PORT_HIGH),
]  # fmt: skip

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
        "hash_on: hash_on belongs to a hash policy, and balance is 'round_robin'; one of:"
        " ring_hash",
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
f.toml:4: listeners.web.bind: '8080' has no scheme; {ANYWHERE}
f.toml:5: listeners.web.pool: there is no pool 'apy'; did you mean 'api'? One of: api
f.toml:6: listeners.web.idle_timeout: 30 has no unit; write "30s" or "30ms"
f.toml:9: pools.api.balance: 'leastconn' is not a policy. One of: round_robin, ring_hash
f.toml:12: pools.api.servers[1].wieght: 'wieght' is not a key here; did you mean 'weight'?\
 One of: {SERVER_KEYS}
f.toml:13: pools.api.servers[2]: a server has no scheme; write "10.0.0.3:7000" (how to speak to\
 it is the pool's business)""",
)

ALL = [*KEYS, *TYPES, *UNITS, *RANGES, *ADDRESSES, *CROSSED, *SURROUNDINGS, SEVERAL]
