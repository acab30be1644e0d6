"""`proxy_protocol` of a listener: who may say whom a connection is from."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from fastlb.config import limits
from fastlb.config.base import Duration, Model, Switch, as_list
from fastlb.config.units import duration_ms, show, show_ms

if TYPE_CHECKING:
    from fastlb.config.effective import Effective, EffectiveListener

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# What servers are told in a check: that we speak for ourselves (`LOCAL`, `UNKNOWN`).
OWN_HEADERS = {"v1": b"PROXY UNKNOWN\r\n", "v2": b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"}


_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")        # RFC 4291, 2.5.5.2


def parse_network(text: str) -> Network:
    """A network as the engine compares it: IPv4 that is written as IPv6 is IPv4. Raises
    ValueError."""
    if "%" in text:
        raise ValueError("a network has no zone")
    found = ipaddress.ip_network(text)
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        v4 = ipaddress.IPv4Address(found.network_address.packed[-4:])
        return ipaddress.IPv4Network((v4, found.prefixlen - _MAPPED.prefixlen))
    return found


def check_network(value: str) -> str:
    try:
        parse_network(value)
    except ValueError as error:
        raise ValueError(f'{show(value)} is not a network like "10.0.0.0/8": {error}') from None
    return value


def normal_network(value: str) -> str:
    """Return a network as the engine writes it, whichever way it was typed. Raises ValueError."""
    return str(parse_network(check_network(value)))


class ProxyProtocol(Model):
    """Headers of the PROXY protocol, version 1 or 2, that connections may begin with."""

    trusted: Annotated[
        list[Annotated[str, AfterValidator(check_network)]],
        BeforeValidator(as_list),
        Field(min_length=1),
    ]
    """Networks of the proxies whose headers are believed; a header of anybody else closes its
    connection. Clients of a unix socket are believed."""
    required: Annotated[Switch, limits.PROXY_REQUIRED] = limits.PROXY_REQUIRED.default
    """Close connections without a header, and of anybody who is not trusted."""
    timeout: Annotated[str, Duration(limits.PROXY_TIMEOUT)] = show_ms(limits.PROXY_TIMEOUT.default)
    """How long a header is waited for. Then a connection is closed if it must have one or has begun
    one, and else goes on."""


Outgoing = Annotated[Literal["v1", "v2"], limits.POOL_PROXY_PROTOCOL]


@dataclass(frozen=True)
class EffectiveProxyProtocol:
    trusted: tuple[Network, ...]
    required: bool
    timeout_ms: int
    origins: dict[str, str] = field(default_factory=dict, compare=False)


def effective_proxy_protocol(proxy: ProxyProtocol) -> EffectiveProxyProtocol:
    given = proxy.model_fields_set
    return EffectiveProxyProtocol(
        trusted=tuple(parse_network(one) for one in proxy.trusted),
        required=proxy.required,
        timeout_ms=duration_ms(proxy.timeout),
        origins={key: "listener" if key in given else "built in"
                 for key in ProxyProtocol.model_fields},
    )


def hears_proxies(listener: EffectiveListener, values: Effective) -> bool:
    """Whether proxies can have told of its clients: to itself, or to who hands them over."""
    return any(one.proxy_protocol is not None for one in values.accepting(listener))
