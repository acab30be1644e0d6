"""Lists of networks while connections and requests are explained."""

from __future__ import annotations

import ipaddress
import math
import sys
from collections.abc import Iterable, Iterator

from fastlb._core.tables.live import Live
from fastlb.compile.networks import literal_set
from fastlb.config.effective import EffectiveListener
from fastlb.config.networks import EffectiveNetworks, is_network
from fastlb.config.units import show_ms
from fastlb.explain.model import Answer, Explanation

Address = tuple[str, int]


def found_in(networks: Iterable[str], live: Live, host: str) -> str:
    """The first of a list's sets and networks that an address is in; "": none."""
    sets = {one.name: one for one in live.networks()}
    for one in networks:
        found = literal_set(one) if is_network(one) else sets.get(one)
        if found is not None and host in found:
            return one
    return ""


def denial(listener: EffectiveListener, live: Live, client: Address | None) -> tuple[str, bool]:
    """Why a listener doesn't serve a client, and whether that is only reported; "": it does. None
    is a client of a unix socket."""
    if client is None:
        return "", False
    address = ipaddress.ip_address(client[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        host = str(address.ipv4_mapped)
    else:
        host = str(address)
    deny, allow = listener.deny, listener.allow
    reported = ""
    if deny is not None and (name := found_in(deny.networks, live, host)):
        why = f"{host} is in {name}, which listener {listener.name} denies"
        if not deny.report:
            return why, False
        reported = why
    if allow is not None and not found_in(allow.networks, live, host):
        why = (f"{host} is in none of {', '.join(allow.networks)}, which alone listener"
               f" {listener.name} allows")
        if not allow.report:
            return why, False
        reported = reported or why
    return reported, bool(reported)


def _source(host: str) -> bytes:
    """The key that limits by source count an address by (base/source)."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return address.packed[:8]
        address = address.ipv4_mapped
    number = 0xFFFF << 32 | int.from_bytes(address.packed, sys.byteorder)
    return number.to_bytes(8, sys.byteorder)


def rate_of(
    listener: EffectiveListener, live: Live, client: Address | None
) -> tuple[str, bool]:
    """How many connections or sessions a source may begin now, and whether that is none; "": there
    is no limit, or the listener isn't served."""
    udp = listener.udp
    rate = udp.source_rate if udp is not None else listener.source_rate
    known = next((one for one in live.rate_limits() if rate is not None and one.name == rate.name),
                 None)
    if rate is None or known is None or client is None:
        return "", False
    used_ns = known.used_ns(_source(client[0]))
    left = int(rate.burst - used_ns / rate.unit_ns + 1e-6)      # (as _left in filters/rate_limit)
    called = "sessions" if udp is not None else "connections"
    text = f"{called} of {client[0]} at listener {listener.name}: {left} of {rate.burst} left"
    if used_ns:
        text += f", full again in {used_ns / 1e9:.3g} s"
    if left > 0:
        return text, False
    return f"{text}, so that it {'would be reported' if rate.report else 'is refused'}", \
        not rate.report


def denials(listener: EffectiveListener, live: Live, client: Address | None) -> str:
    """How near a source is to a ban; "": there are none, or it was denied nothing of late."""
    ban = listener.ban
    known = next((one for one in live.listeners() if one.name == listener.name), None)
    if ban is None or known is None or known.offences is None or client is None:
        return ""
    n = math.ceil(known.offences.used_ns(_source(client[0])) / ban.unit_ns - 1e-6)
    if n <= 0:
        return ""
    return (f"{client[0]} was denied {n} of the {ban.count} times after which listener"
            f" {listener.name} {'would ban' if ban.report else 'bans'} it")
def unfetched(networks: Iterable[EffectiveNetworks]) -> Iterator[str]:
    """Yield a note about each set that a running process would fetch."""
    for one in networks:
        if one.url:
            yield f"networks {one.name}: {one.source} was not fetched, and is taken to be empty"


def closed(
    listener: EffectiveListener, chosen_by: str, live: bool, method: str, url: str, client: str,
    denied: str, reason: str = "denied",
) -> Explanation:
    """Return the explanation for a client that the listener doesn't serve: it closes a
    connection, or holds it, and drops a datagram."""
    tarpit = listener.tarpit
    if tarpit is not None:
        held = f"held for {show_ms(tarpit.timeout_ms)} at most"
        denied += f", and would be {held}" if tarpit.report else f", and is {held}"
    return Explanation(
        listener=listener.name, mode=listener.scheme, chosen_by=chosen_by, live=live,
        method=method if listener.http is not None else "", url=url, client=client,
        client_ip=client, trusted=False, path="", routes=(), route=None, segments=(), policy=None,
        action="refuse", answer=Answer(0, reason, denied, ""), split=None, pools=(), sent="",
        response_headers=(), services=(), notes=(),
    )
