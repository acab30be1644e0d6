"""Addresses that are none, and every word that is said about them."""

from __future__ import annotations

from .forms import ANYWHERE, BIND_HOW, LONG_PATH, NO_SCHEME, SERVER_HOW, bind, server, top

PORT_HIGH = "65535 is the most, which a pattern could only tell at length"
HOSTS = "the parts of an address have bounds of their own"

ADDRESSES = [
    bind("no-scheme", '"localhost:8080"',
         "'localhost:8080' has no scheme; write \"http://localhost:8080\" for HTTP, or"
         ' "tcp://localhost:8080" for another protocol'),
    bind("colon-port", '":8080"', f"':8080' has no scheme; {NO_SCHEME}"),
    bind("port", '"8080"', f"'8080' has no scheme; {NO_SCHEME}"),
    bind("number", "8080", f"'8080' has no scheme; {NO_SCHEME}"),
    bind("star", '"*:8080"', f"'*:8080' has no scheme; {NO_SCHEME}"),
    bind("path", '"/run/a.sock"', f"'/run/a.sock' has no scheme; {BIND_HOW}"),
    bind("scheme-and-port", '"tcp://:8080"', f"'tcp://:8080' has no host; {ANYWHERE}"),
    bind("scheme-of-http-and-port", '"http://:8080"',
         f"'http://:8080' has no host; {ANYWHERE.replace('tcp', 'http')}"),
    bind("scheme-and-star", '"tcp://*:8080"', f"'tcp://*:8080' has no host; {ANYWHERE}"),
    bind("udp-unix", '"udp://unix:/run/a.sock"',
         "'udp://unix:/run/a.sock': udp has no unix sockets here; write udp://HOST:PORT",
         "a scheme and what follows it are two parts of one pattern"),
    bind("scheme", '"ftp://127.0.0.1:21"',
         "'ftp' is not a scheme; one of: tcp, http, udp, tls, https"),
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
    bind("of-a-link", '"tcp://[fe80::1]:80"',
         "'tcp://[fe80::1]:80': each link has an address fe80::1; say which one is meant:"
         ' "[fe80::1%eth0]:80", say', HOSTS),
    bind("mapped", '"tcp://[::ffff:10.0.0.1]:80"',
         "'tcp://[::ffff:10.0.0.1]:80': IPv4 that is written as IPv6 can't be bound to; write"
         ' "tcp://10.0.0.1:80"', HOSTS),
    server("of-a-link", '"[fe80::1]:7000"',
           ": '[fe80::1]:7000': each link has an address fe80::1; say which one is meant:"
           ' "[fe80::1%eth0]:7000", say', HOSTS),
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
