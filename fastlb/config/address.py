"""Addresses as they are written: of listeners with a scheme, of servers without one."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from fastlb.config import limits
from fastlb.config.units import cut, show

OVER_TLS = {"tls": "tcp", "https": "http"}
SCHEMES = ("tcp", "http", "udp", *OVER_TLS)
USUAL_PORTS = {"http": 80, "https": 443}
DNS_PORT = 53
HOST = r"(\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\]|[A-Za-z0-9_.-]+)"
PORT = "[0-9]{1,5}"
BIND = rf"^({'|'.join(SCHEMES)})://(unix:/.+|{HOST}:{PORT})$"
SERVER = rf"^(unix:/.+|{HOST}:{PORT})$"
DNS_NAME = rf"^(?![0-9.]+:)[A-Za-z0-9_.-]+:{PORT}$"
NAMESERVER = rf"^([0-9.]+(:{PORT})?|[0-9A-Fa-f:.]+|\[[0-9A-Fa-f:.]+\](:{PORT})?)$"
BIND_HOW = 'write it like "http://127.0.0.1:8080" or "tcp://unix:/run/a.sock"'
ADMIN_HOW = 'write it like "http://127.0.0.1:9000" or "http://unix:/run/fastlb/admin.sock"'
SERVER_HOW = 'write it like "10.0.0.1:7000", "[::1]:7000" or "unix:/run/a.sock"'
# RFC 1035, 2.3.4: a label has 1 to 63 bytes, and a name 253 that can be seen.
LABEL_MAX = 63
HOST_NAME_MAX = 253


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


def socket_address(host: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """An IP address and port as sockets take them: of a link-local one with the number of its link.
    OSError if there is no such link."""
    ip, separator, zone = host.partition("%")
    if not separator:
        return host, port
    return ip, port, 0, int(zone) if zone.isascii() and zone.isdigit() \
        else socket.if_nametoindex(zone)


def parse_bind(text: str) -> Address:
    """"tcp://HOST:PORT", "tcp://[v6]:PORT" or "tcp://unix:/PATH". ValueError says what to write."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"{show(text)} has no scheme; {_suggest_bind(text)}")
    if scheme not in SCHEMES:
        raise ValueError(f"{show(scheme)} is not a scheme; one of: {', '.join(SCHEMES)}")
    if re.fullmatch(rf"\*?:{PORT}", rest):
        port = rest.removeprefix("*").removeprefix(":")
        raise ValueError(f"{show(text)} has no host; {_anywhere(scheme, port)}")
    address = _parse(rest, text, BIND_HOW)
    mapped = ":" in (address.host or "") and _mapped(address.host or "")
    if mapped:
        raise ValueError(f"{show(text)}: IPv4 that is written as IPv6 can't be bound to; write"
                         f' "{scheme}://{mapped}:{address.port}"')
    if scheme == "udp" and address.path is not None:
        raise ValueError(f"{show(text)}: udp has no unix sockets here; write udp://HOST:PORT")
    return Address(scheme, address.host, address.port, address.path)


def _suggest_bind(text: str) -> str:
    """What speaks HTTP, and what doesn't, only the user knows."""
    port = text.removeprefix("*").removeprefix(":")
    if re.fullmatch(PORT, port):
        return f"{_anywhere('http', port)}; tcp:// is for other protocols"
    try:
        parse_bind(f"tcp://{text}")
    except ValueError:
        return BIND_HOW
    return f'write "http://{text}" for HTTP, or "tcp://{text}" for another protocol'


def _anywhere(scheme: str, port: str) -> str:
    return (f'write "{scheme}://0.0.0.0:{port}", or "{scheme}://127.0.0.1:{port}" for this machine'
            " only")


def _with_port(rest: str, scheme: str) -> str:
    """What is behind a scheme, as an address: without a path, with the scheme's usual port."""
    if rest.startswith("unix:"):
        return rest
    host = re.split(r"[/?#]", rest)[0]
    if re.search(r":[0-9]+$", host) or scheme not in USUAL_PORTS:
        return host
    return f"{host}:{USUAL_PORTS[scheme]}"


def parse_server(text: str) -> Address:
    """"HOST:PORT", "[v6]:PORT" or "unix:/PATH". ValueError says what to write."""
    scheme, separator, rest = text.partition("://")
    if separator:
        raise ValueError(
            f'a server has no scheme; write "{cut(_with_port(rest, scheme))}" (how to speak to it'
            " is the pool's business)"
        )
    return _parse(text, text, SERVER_HOW)


def _parse(rest: str, text: str, how: str) -> Address:
    if rest.startswith("unix:"):
        return Address(None, None, None, _parse_unix_path(rest.removeprefix("unix:"), text, how))
    host, separator, port = rest.rpartition(":")
    if ":" in host and not host.startswith("["):
        better = f"[{host}]:{port}" if is_ip(host) else f"[{rest}]:PORT"
        raise ValueError(f'{show(text)}: an IPv6 address stands in brackets; write "{cut(better)}"')
    if not separator or not host or (host.startswith("[") and not host.endswith("]")):
        raise ValueError(f"{show(text)} is not an address with a port; {how}")
    if not re.fullmatch(PORT, port) or int(port) > 65535:
        raise ValueError(f"{show(text)}: {show(port)} is not a port from 0 to 65535; {how}")
    if not _is_host(host):
        raise ValueError(f"{show(text)}: {show(host)} is not a host; {how}")
    host = host.strip("[]")
    if ":" in host and "%" not in host and ipaddress.ip_address(host).is_link_local:
        raise ValueError(f"{show(text)}: each link has an address {host}; say which one is meant:"
                         f' "[{host}%eth0]:{port}", say')
    return Address(None, host, int(port), None)


def _parse_unix_path(path: str, text: str, how: str) -> str:
    size = len(path.encode(errors="surrogatepass"))
    if not path.startswith("/") or size > limits.UNIX_PATH_BYTES_MAX or "\0" in path:
        raise ValueError(
            f"{show(text)}: a unix socket's path begins with / and has at most"
            f" {limits.UNIX_PATH_BYTES_MAX} bytes; {how}"
        )
    return path


def _is_host(host: str) -> bool:
    if not re.fullmatch(HOST, host):
        return False
    if host.startswith("["):
        return is_ip(host[1:-1]) and ":" in host
    if re.fullmatch(r"[0-9.]+", host):
        return is_ip(host)
    labels = host.removesuffix(".").split(".")
    return len(host) <= HOST_NAME_MAX and all(0 < len(label) <= LABEL_MAX for label in labels)


def _mapped(host: str) -> str:
    """The IPv4 address that one of IPv6 stands for (RFC 4291, 2.5.5.2), or ""."""
    found = ipaddress.IPv6Address(host.partition("%")[0]).ipv4_mapped
    return str(found) if found is not None else ""


def is_host(text: str) -> bool:
    """A name or an IP address, without a port and without brackets."""
    return is_ip(text) or (_is_host(text) and not text.startswith("["))


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def parse_nameserver(text: str) -> tuple[str, int]:
    """An IP address with or without a port (53). ValueError says what to write."""
    if is_ip(text):
        return str(ipaddress.ip_address(text)), DNS_PORT
    found = re.fullmatch(r"([0-9.]+|\[[^\[\]]+\])(?::([0-9]{1,5}))?", text)
    if found is None or not is_ip(found[1].strip("[]")):
        raise ValueError(
            f'{show(text)} is not a name server; write it like "10.0.0.2" or "10.0.0.2:53"'
        )
    port = int(found[2]) if found[2] else DNS_PORT
    if not 0 < port < 65536:
        raise ValueError(f"{show(text)}: '{port}' is not a port from 1 to 65535")
    return str(ipaddress.ip_address(found[1].strip("[]"))), port
