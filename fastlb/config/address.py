"""Addresses as they are written: of listeners with a scheme, of servers without one."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

SCHEMES = ("tcp",)
LATER_SCHEMES = ("http", "https", "tls", "udp")
DNS_PORT = 53
HOST = r"(\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]|[\w.-]+)"
BIND = rf"^({'|'.join(SCHEMES)})://(unix:/.+|{HOST}:\d{{1,5}})$"
SERVER = rf"^(unix:/.+|{HOST}:\d{{1,5}})$"


@dataclass(frozen=True)
class Address:
    """A host (name or IP) and port, or a unix socket's path. `scheme` is None for a server."""

    scheme: str | None
    host: str | None
    port: int | None
    path: str | None

    def __str__(self) -> str:
        scheme = f"{self.scheme}://" if self.scheme else ""
        if self.path is not None:
            return f"{scheme}unix:{self.path}"
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host
        return f"{scheme}{host}:{self.port}"


def parse_bind(text: str) -> Address:
    """"tcp://HOST:PORT", "tcp://[v6]:PORT" or "tcp://unix:/PATH". ValueError says what to write."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"{text!r} has no scheme; {_suggest_bind(text)}")
    if scheme in LATER_SCHEMES:
        raise ValueError(
            f"{scheme}:// is not available in this version; write tcp://{rest}"
            " (it relays any protocol over TCP unchanged)"
        )
    if scheme not in SCHEMES:
        raise ValueError(f"{scheme!r} is not a scheme; one of: {', '.join(SCHEMES)}")
    address = _parse(rest, text, 'write it like "tcp://127.0.0.1:8080" or "tcp://unix:/run/a.sock"')
    return Address(scheme, address.host, address.port, address.path)


def _suggest_bind(text: str) -> str:
    if text.isdigit():
        return f'write "tcp://0.0.0.0:{text}", or "tcp://127.0.0.1:{text}" for this machine only'
    if re.fullmatch(r":\d+", text):
        return f'write "tcp://0.0.0.0{text}", or "tcp://127.0.0.1{text}" for this machine only'
    return f'write "tcp://{text}"'


def parse_server(text: str) -> Address:
    """"HOST:PORT", "[v6]:PORT" or "unix:/PATH". ValueError says what to write."""
    _, separator, rest = text.partition("://")
    if separator:
        raise ValueError(
            f'a server has no scheme; write "{rest.rstrip("/")}" (how to speak to it is the'
            " pool's business)"
        )
    return _parse(text, text, 'write it like "10.0.0.1:7000", "[::1]:7000" or "unix:/run/a.sock"')


def _parse(rest: str, text: str, how: str) -> Address:
    if rest.startswith("unix:"):
        path = rest.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > 107 or "\0" in path:
            raise ValueError(
                f"{text!r}: a unix socket's path begins with / and has at most 107 bytes; {how}"
            )
        return Address(None, None, None, path)
    host, separator, port = rest.rpartition(":")
    bare_v6 = ":" in host and not host.startswith("[")
    if bare_v6:
        raise ValueError(f'{text!r}: an IPv6 address stands in brackets; write "[{host}]:{port}"')
    if not separator or not host:
        raise ValueError(f"{text!r} is not an address with a port; {how}")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r}: {port!r} is not a port from 0 to 65535; {how}")
    if not re.fullmatch(HOST, host):
        raise ValueError(f"{text!r}: {host!r} is not a host; {how}")
    return Address(None, host.strip("[]"), int(port), None)


def parse_nameserver(text: str) -> tuple[str, int]:
    """An IP address with or without a port (53). ValueError says what to write."""
    try:
        return str(ipaddress.ip_address(text)), DNS_PORT
    except ValueError:
        pass
    host, _, port = text.rpartition(":")
    try:
        address = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        raise ValueError(
            f'{text!r} is not a name server; write it like "10.0.0.2" or "10.0.0.2:53"'
        ) from None
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r}: {port!r} is not a port from 1 to 65535")
    return address, int(port)
