"""Bans: sources that were denied too often are added to a set of networks, for a time."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastlb._core.tables.live import Live
from fastlb.config.effective import EffectiveListener
from fastlb.config.proxy_protocol import Network, normal_network
from fastlb.config.sources import EffectiveBan
from fastlb.config.units import show_ms
from fastlb.control.clock import Clock
from fastlb.control.events import Event, Events
from fastlb.control.networks import NetworkSets

log = logging.getLogger("fastlb.networks")

LINES_MAX = 20          # in LINES_S: an attack may come from very many sources
LINES_S = 60.0
OUTCOMES = ("banned", "reported", "protected", "full")


@dataclass
class _Listener:
    ban: EffectiveBan
    trusted: tuple[Network, ...]        # proxies, which speak for others
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))


class Bans:
    """Those of a running balancer. For the control loop's thread alone."""

    def __init__(self, live: Live, networks: NetworkSets, events: Events, clock: Clock) -> None:
        self._live, self._networks = live, networks
        self._events, self._clock = events, clock
        self._listeners: dict[str, _Listener] = {}
        self._lines, self._lines_until_s = 0, 0.0

    def follow(self, listeners: Sequence[EffectiveListener]) -> None:
        """These listeners are served from now on."""
        before, self._listeners = self._listeners, {}
        for one in listeners:
            if one.ban is None:
                continue
            made = _Listener(one.ban, tuple(_trusted(one)))
            if one.name in before:
                made.totals = before[one.name].totals
            self._listeners[one.name] = made

    def look(self) -> None:
        """Ban the sources that engines have told of since the last look."""
        for listener in self._live.listeners():
            known = self._listeners.get(listener.name)
            if listener.offences is None:
                continue
            for source in listener.offences.take():
                if known is not None:           # (or a reload has ended it meanwhile)
                    self._ban(listener.name, known, source)

    def totals(self) -> Iterator[tuple[str, str, dict[str, int]]]:
        """Yield each listener with bans, the name of its set, and its sources by outcome."""
        for name, known in self._listeners.items():
            yield name, known.ban.networks, known.totals

    def _ban(self, name: str, known: _Listener, source: str) -> None:
        ban = known.ban
        denied = f"{ban.count} denial{'s' if ban.count != 1 else ''}"
        if why := _protected(source, known.trusted):
            known.totals["protected"] += 1
            self._say(f"listener {name}: {source} isn't banned after {denied}: {why}")
            return
        if ban.report:
            known.totals["reported"] += 1
            self._say(f"listener {name}: {source} would be banned for {show_ms(ban.for_ms)}"
                      f" after {denied}")
            return
        try:
            made = self._networks.extend(
                ban.networks, normal_network(source), ban.for_ms / 1000)
        except KeyError:                        # a reload is about to remove the set
            return
        except ValueError as error:
            known.totals["full"] += 1
            self._say(f"listener {name}: {source} isn't banned after {denied}: {error}")
            return
        made.add_done_callback(lambda done: done.cancelled() or done.exception())
        known.totals["banned"] += 1
        text = f"{source} is banned for {show_ms(ban.for_ms)} after {denied} (networks" \
            f" {ban.networks})"
        self._events.put(Event("", "", "banned", f"listener {name}: {text}"))
        self._say(f"listener {name}: {text}")

    def _say(self, text: str) -> None:
        """Log it, unless there are too many lines of late."""
        now_s = self._clock.time()
        if now_s >= self._lines_until_s:
            if self._lines > LINES_MAX:
                log.warning("%d more lines about bans were left out", self._lines - LINES_MAX)
            self._lines, self._lines_until_s = 0, now_s + LINES_S
        self._lines += 1
        if self._lines <= LINES_MAX:
            log.warning("%s", text)


def _trusted(listener: EffectiveListener) -> Iterator[Network]:
    if listener.proxy_protocol is not None:
        yield from listener.proxy_protocol.trusted
    if listener.http is not None:
        yield from listener.http.trusted


def _protected(source: str, trusted: Sequence[Network]) -> str:
    """Why a source is never banned; "": it may be."""
    network = ipaddress.ip_network(source)
    for one in trusted:
        if one.version == network.version and one.overlaps(network):
            return "it is a trusted proxy's"
    if network.is_loopback or _is_own(network):
        return "it is this machine's, which health checks come from"
    return ""


def _is_own(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    """Whether this machine has an address in a network."""
    if isinstance(network, ipaddress.IPv6Network):
        return any(address in network for address in _own_v6())
    # A socket that is connected to an address of this machine has that one itself. (A connect of a
    # datagram's socket sends nothing.)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((str(network.network_address), 9))
        except OSError:
            return False
        return bool(sock.getsockname()[0] == str(network.network_address))


def _own_v6() -> Iterator[ipaddress.IPv6Address]:
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        digits = line.split(maxsplit=1)[0]
        if len(digits) == 32:
            yield ipaddress.IPv6Address(int(digits, 16))
