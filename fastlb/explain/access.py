"""Lists of networks while connections and requests are explained."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from fastlb._core.tables.live import Live
from fastlb.compile.networks import literal_set
from fastlb.config.effective import EffectiveListener
from fastlb.config.networks import EffectiveNetworks, is_network
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


def unfetched(networks: Iterable[EffectiveNetworks]) -> Iterator[str]:
    """Yield a note about each set that a running process would fetch."""
    for one in networks:
        if one.url:
            yield f"networks {one.name}: {one.source} was not fetched, and is taken to be empty"


def closed(
    listener: EffectiveListener, chosen_by: str, live: bool, method: str, url: str, client: str,
    denied: str,
) -> Explanation:
    """Return the explanation for a client that the listener doesn't serve: it closes a
    connection, and drops a datagram."""
    return Explanation(
        listener=listener.name, mode=listener.scheme, chosen_by=chosen_by, live=live,
        method=method if listener.http is not None else "", url=url, client=client,
        client_ip=client, trusted=False, path="", routes=(), route=None, segments=(), policy=None,
        action="refuse", answer=Answer(0, "denied", denied, ""), split=None, pools=(), sent="",
        response_headers=(), services=(), notes=(),
    )
