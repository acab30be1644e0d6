"""Pools that balance, check and fail in a way that can't be, and what is said about them."""

from __future__ import annotations

from .forms import LISTENER, POOL, Bad, http_pool, listener, pool

FORM = "a schema's pattern would say it at length"
ACROSS = "one key says it of another"
KINDS = "health has exactly one of tcp, tls, http, grpc, expect, udp; this one has"

POOLS = [
    Bad("table-size-not-prime",
         f'{LISTENER}{POOL}balance = "maglev"\ntable_size = 65536\n',
         "f.toml:7: pools.api.table_size: 65536 is not a prime number, and maglev's table needs"
         " one; the next is 65537", ACROSS),
    pool("table-size-elsewhere", "table_size = 65537",
         "table_size: table_size belongs to maglev, and balance is 'round_robin'", ACROSS),
    pool("bounded-load-elsewhere", "bounded_load = 1.25",
         "bounded_load: bounded_load belongs to a hashing method, and balance is 'round_robin';"
         " one of: ring_hash, maglev, rendezvous", ACROSS),
    pool("health-none", "health = {}", f"health: {KINDS} none", ACROSS),
    pool("health-two", 'health = { tcp = true, http = "/" }', f"health: {KINDS} tcp and http",
         ACROSS),
    pool("health-path", 'health = { http = "healthz" }',
         "health.http: 'healthz' is not a path; write it like \"/healthz\"", FORM),
    pool("health-status", 'health = { http = "/", statuses = ["2x"] }',
         "health.statuses[0]: '2x' is not a status; write it like \"200\", \"2xx\" or \"200-399\"",
         FORM),
    pool("health-statuses-backwards", 'health = { http = "/", statuses = ["399-200"] }',
         "health.statuses[0]: '399-200' ends before it begins", FORM),
    pool("health-key-of-another-kind", 'health = { tcp = true, body = "ok" }',
         "health.body: body belongs to http, and this check is of tcp", ACROSS),
    pool("health-udp-switch", "health = { udp = true }", "health.udp: true is not a table"),
    pool("health-udp-and-tcp", "health = { udp = {}, tcp = true }",
         f"health: {KINDS} tcp and udp", ACROSS),
    pool("health-udp-send-beside", 'health = { udp = {}, send = "x" }',
         "health.send: send belongs to expect, and this check is of udp", ACROSS),
    pool("health-udp-escape", r"health = { udp = { send = '\x4g' } }",
         r"health.udp.send: '\\x4g': \x is none of \xff (two digits), \0, \t, \r, \n, \\", FORM),
    pool("health-udp-escape-ends", r"health = { udp = { expect = 'a\' } }",
         r"health.udp.expect: 'a\\': \ is none of \xff (two digits), \0, \t, \r, \n, \\", FORM),
    pool("health-udp-long", 'health = { udp = { send = "%s" } }' % ("a" * 1473),
         "health.udp.send: '%s... has 1,473 bytes, and a datagram at most 1,472" % ("a" * 119),
         FORM),
    pool("health-udp-unknown", 'health = { udp = { sent = "x" } }',
         "health.udp.sent: 'sent' is not a key here; did you mean 'send'? One of: send, expect"),
    Bad("health-udp-unix",
        f'{LISTENER}[pools.api]\nservers = ["unix:/run/a.sock"]\nhealth = {{ udp = {{}} }}\n',
        "f.toml:5: pools.api.servers[0]: unix:/run/a.sock: checks with datagrams (health.udp) need"
        " HOST:PORT", ACROSS),
    pool("health-panic", 'health = { tcp = true, panic = "101%" }',
         "health.panic: '101%' is not a share up to 100%; write it like \"10%\"", FORM),
    pool("health-unknown", "health = { tcp = true, rises = 3 }",
         "health.rises: 'rises' is not a key here; did you mean 'rise'?"),
    pool("retry-attempts", "retry = { attempts = 0 }",
         "retry.attempts: 0 is out of range: at least 1"),
    pool("retry-on", 'retry = { on = ["sometimes"] }',
         "retry.on[0]: 'sometimes' is none of connect_failure, reset, timeout, invalid, and no"
         " status", FORM),
    pool("retry-connects", 'retry = { on = ["connect_failure"], connect_failure = false }',
         "retry: `on` lists connect_failure, and connect_failure is false", FORM),
    pool("retry-budget", 'retry = { budget = "a lot" }',
         "retry.budget: 'a lot' is not a share up to 1500%; write it like \"10%\"", FORM),
    pool("outliers-share", 'outliers = { max_ejected = "half" }',
         "outliers.max_ejected: 'half' is not a share up to 100%; write it like \"10%\"", FORM),
    pool("outliers-unknown", "outliers = { consecutive = 3 }",
         "outliers.consecutive: 'consecutive' is not a key here; did you mean"
         " 'consecutive_failures'? One of: consecutive_failures, error_rate, latency, interval,"
         " min_requests, ejection_time, max_ejection_time, max_ejected, statuses"),
    pool("outliers-rate-of-nothing", 'outliers = { error_rate = "0%" }',
         "outliers.error_rate: nothing fails less often than never: leave error_rate out instead",
         FORM),
    pool("outliers-latency", "outliers = { latency = 1 }",
         "outliers.latency: 1 is out of range: at least 1.5"),
    pool("health-host-label", 'health = { tls = true, host = "%s.test" }' % ("a" * 64),
         "health.host: '%s.test' is not a host; write it like \"example.com\" or"
         " \"*.example.com\", without a port" % ("a" * 64), FORM),
    pool("hash-on-tls", 'hash_on = "tls.name"\nbalance = "maglev"',
         "hash_on: 'tls.name' is not a key to hash. One of: client.ip, client.port,"
         " client.address, tls.sni, tls.version, tls.client_subject, tls.client_fingerprint,"
         " mqtt.client_id, mqtt.username, proxy.authority, proxy.unique_id, proxy.alpn, proxy.vpce,"
         " proxy.dst, client.country, client.continent, client.region, client.asn,"
         " request.method, request.host, request.hostname, request.path, request.query,"
         " route, path.rest, path.NAME, query.NAME, header.NAME, cookie.NAME"),
    pool("proxy-protocol-version", 'proxy_protocol = "v3"',
         "proxy_protocol: 'v3' is not a valid value. One of: v1, v2"),
    listener("proxy-protocol-of-nobody", "proxy_protocol = { required = true }",
             "proxy_protocol.trusted: this key is missing"),
    listener("proxy-protocol-trusting-none", "proxy_protocol = { trusted = [] }",
             "proxy_protocol.trusted: the list is empty"),
    listener("proxy-protocol-switch", "proxy_protocol = true",
             "proxy_protocol: true is not a table; write proxy_protocol ="
             ' { trusted = ["10.0.0.0/8"] }'),
    listener("proxy-protocol-network", 'proxy_protocol = { trusted = ["10.0.0.1/8"] }',
             "proxy_protocol.trusted[0]: '10.0.0.1/8' is not a network like \"10.0.0.0/8\":"
             " 10.0.0.1/8 has host bits set", FORM),
    listener("proxy-protocol-unknown", 'proxy_protocol = { trusted = ["::/0"], require = true }',
             "proxy_protocol.require: 'require' is not a key here; did you mean 'required'?"
             " One of: trusted, required, timeout"),
    http_pool("proxy-protocol-of-h2", 'proxy_protocol = "v2"\nprotocol = "h2"',
         "proxy_protocol: its header tells of one client, and connections of HTTP/2 are shared",
         ACROSS),
    http_pool("sticky-path", f'sticky = {{ cookie = "c", secret = "{"x" * 16}", path = "api" }}',
         "sticky.path: 'api' is not a path: it begins with /", FORM),
    http_pool("hedge-neither", 'hedge = { budget = "5%" }',
         "hedge: hedge has either a delay or a percentile", ACROSS),
    http_pool("hedge-both", 'hedge = { delay = "5ms", percentile = "95%" }',
         "hedge: hedge has either a delay or a percentile", ACROSS),
    http_pool("hedge-percentile", 'hedge = { percentile = "100%" }',
         "hedge.percentile: '100%' is not from 50% to 99.9%", FORM),
    http_pool("hedge-budget", 'hedge = { delay = "5ms", budget = "0%" }',
         "hedge.budget: a budget of nothing: leave hedge out instead", FORM),
    http_pool("hedge-and-sticky",
              'hedge = { delay = "5ms" }\n'
              'sticky = { cookie = "a", secret = "0123456789abcdef" }',
              "hedge: second tries go to other servers, and sticky binds clients to one: it is"
              " either", ACROSS),
    pool("hedge-of-tcp", 'hedge = { delay = "5ms" }',
         "hedge: second tries are for HTTP only, and listeners.web relays tcp to this"
         " pool", ACROSS),
    pool("unavailable-of-tcp", 'unavailable = { body = "sorry" }',
         "unavailable: an answer is for HTTP only, and listeners.web relays tcp to this"
         " pool", ACROSS),
    http_pool("unavailable-status", "unavailable = { status = 99 }",
              "unavailable.status: 99 is out of range: at least 200"),
    pool("limits-retries", "limits = { max_retries = 0 }",
         "limits.max_retries: 0 is out of range: at least 1"),
    pool("sticky-of-tcp", 'sticky = { cookie = "a", secret = "0123456789abcdef" }',
         'sticky: a cookie is for HTTP only, and listeners.web relays tcp to this pool; use'
         ' balance = "maglev", which keeps an address on its server', ACROSS),
    http_pool("sticky-secret", 'sticky = { cookie = "a", secret = "too short" }',
         "sticky.secret: shorter than 16 characters; make one: openssl rand -hex 32"),
    http_pool("sticky-secrets", "sticky = { cookie = \"a\", secret = 5 }",
         "sticky.secret: not a text, or a list of them"),
    http_pool("sticky-cookie", 'sticky = { cookie = "a b", secret = "0123456789abcdef" }',
         "sticky.cookie: 'a b' is not the name of a cookie: letters, digits, '-' and '_'"),
    http_pool("sticky-path", 'sticky = { cookie = "a", secret = "0123456789abcdef", path = "/;x" }',
         "sticky.path: '/;x' has characters that a cookie's attribute can't have", FORM),
    Bad("slow-start-of-a-hash",
         f'{LISTENER}{POOL}balance = "maglev"\nslow_start = "5s"\n',
         "f.toml:7: pools.api.slow_start: slow_start would send keys elsewhere and back, and"
         " balance is 'maglev'", ACROSS),
    pool("subset-of-nobody", "subset = { size = 0 }",
         "subset.size: 0 is out of range: at least 1"),
    Bad("server-state",
         f'{LISTENER}[pools.api]\nservers = [{{ address = "a:1", state = "down" }}]\n',
         "f.toml:5: pools.api.servers[0].state: 'down' is not a valid value. One of: up, draining,"
         " maintenance"),
    pool("fallback-to-nobody", 'fallback = "apis"',
         "fallback: there is no pool 'apis'; did you mean 'api'? One of: api", ACROSS),
    pool("fallback-to-itself", 'fallback = "api"', "fallback: it leads back: api -> api", ACROSS),
    Bad("fallback-in-a-circle",
        f'{LISTENER}{POOL}fallback = "b"\n[pools.b]\nservers = ["10.0.0.2:1"]\nfallback = "api"\n',
        "f.toml:6: pools.api.fallback: it leads back: api -> b -> api\n"
        "f.toml:9: pools.b.fallback: it leads back: b -> api -> b", ACROSS),
]
