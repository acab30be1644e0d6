"""Names of servers: resolved at start, and again as their TTL or a set interval says."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

from fastlb.config.effective import EffectiveDns
from fastlb.control.tasks import end

log = logging.getLogger("fastlb.dns")

HOSTS_FILE = "/etc/hosts"
HOSTS_REFRESH_S = 30.0      # names of the hosts file have no TTL
TTL_MIN_S = 1.0             # a TTL of 0 must not make a loop of queries
TTL_MAX_S = 3600.0          # a mistaken TTL of a week should not outlive lunch
RETRY_S = 1.0               # after a failure; doubled each time
RETRY_MAX_S = 30.0


class NotResolved(Exception):
    """Why a name has no address, in one line."""


@dataclass
class Name:
    """One name that servers stand behind, and the last good answer."""

    host: str
    refresh_s: float | None                 # None: as the TTL says
    addresses: tuple[str, ...] = ()
    failures: int = 0


class Discovery:
    """Keeps the addresses of names. `changed` is called when those of any name have changed."""

    def __init__(self, dns: EffectiveDns, changed: Callable[[], object]) -> None:
        self._dns = dns
        self._changed = changed
        self._names: dict[str, Name] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def addresses(self, host: str) -> tuple[str, ...]:
        """The last good answer, sorted; empty if there never was one."""
        name = self._names.get(host)
        return name.addresses if name is not None else ()

    async def learn(self, wanted: Mapping[str, float | None]) -> None:
        """Ask for every name that isn't known yet, and go on asking in the background. The values
        are how often (s), or None: as the TTL says."""
        new = [Name(host, refresh_s) for host, refresh_s in wanted.items()
               if host not in self._names]
        for host, refresh_s in wanted.items():
            if host in self._names:
                self._names[host].refresh_s = refresh_s
        self._names.update({name.host: name for name in new})
        try:
            waits = await asyncio.gather(*(self._ask(name) for name in new))
        except BaseException:
            for name in new:
                del self._names[name.host]
            raise
        for name, wait_s in zip(new, waits, strict=True):
            self._tasks[name.host] = asyncio.create_task(self._follow(name, wait_s))

    def keep(self, wanted: Container[str]) -> None:
        """Ask for no others any more."""
        for host in [host for host in self._names if host not in wanted]:
            del self._names[host]
            task = self._tasks.pop(host, None)
            if task is not None:
                task.cancel()

    def configure(self, dns: EffectiveDns) -> None:
        """Ask so from the next time on."""
        self._dns = dns

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, {}
        await end(tasks.values())

    async def _follow(self, name: Name, wait_s: float) -> None:
        while True:
            await asyncio.sleep(wait_s)
            before = name.addresses
            wait_s = await self._ask(name)
            if name.addresses != before:
                log.info("%s is now %s", name.host, ", ".join(name.addresses))
                self._changed()

    async def _ask(self, name: Name) -> float:
        """Ask once, keep a good answer, and return how long it holds (s)."""
        try:
            addresses, ttl_s = await resolve(name.host, self._dns)
        except NotResolved as error:
            name.failures += 1
            if name.failures == 1:
                kept = ", ".join(name.addresses)
                rest = f"keeping {kept}" if kept else "no server until it can"
                log.warning("%s; %s; asking again", error, rest)
            return min(RETRY_S * 2.0 ** (name.failures - 1), RETRY_MAX_S)
        if name.failures:
            log.info("%s resolves again: %s", name.host, ", ".join(addresses))
            name.failures = 0
        name.addresses = addresses
        return name.refresh_s if name.refresh_s is not None else ttl_s


async def resolve(host: str, dns: EffectiveDns) -> tuple[tuple[str, ...], float]:
    """The addresses of a name, sorted, IPv4 first, and how long they hold (s).

    The hosts file comes first, as everywhere; then A and AAAA queries (RFC 1035, RFC 3596).
    """
    found = _in_hosts_file(host)
    if found:
        return found, HOSTS_REFRESH_S
    return await _query(host, dns)


def _in_hosts_file(host: str) -> tuple[str, ...]:
    found: set[str] = set()
    try:
        with open(HOSTS_FILE, encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.partition("#")[0].split()
                if len(fields) > 1 and host.lower() in (name.lower() for name in fields[1:]):
                    found.add(fields[0].partition("%")[0])
    except OSError:
        pass                                # no such file: only DNS knows names
    if not found and host.lower() == "localhost":
        found = {"127.0.0.1", "::1"}        # RFC 6761, 6.3
    # Few local services listen on both 127.0.0.1 and ::1, though the file names both "localhost".
    return _sorted({a for a in found if ":" not in a} or found)


def _sorted(addresses: Sequence[str] | set[str]) -> tuple[str, ...]:
    return tuple(
        str(address)
        for address in sorted(
            (ipaddress.ip_address(text) for text in addresses),
            key=lambda address: (address.version, int(address)),
        )
    )


async def _query(host: str, dns: EffectiveDns) -> tuple[tuple[str, ...], float]:
    # Imported when a name is asked for: programs that only use addresses never load it.
    from dns import asyncresolver, exception
    from dns import resolver as results

    try:
        resolver = asyncresolver.Resolver(configure=not dns.nameservers)
    except results.NoResolverConfiguration:
        raise NotResolved(f"{host}: no name server is configured in /etc/resolv.conf") from None
    if dns.nameservers:
        resolver.nameservers = [where for where, _ in dns.nameservers]
        resolver.nameserver_ports = dict(dns.nameservers)
    resolver.lifetime = dns.timeout_ms / 1000
    answers = await asyncio.gather(
        resolver.resolve(host, "A", search=True),
        resolver.resolve(host, "AAAA", search=True),
        return_exceptions=True,
    )
    addresses: list[str] = []
    ttls: list[float] = []
    why = "it has no address"
    for answer in answers:
        if isinstance(answer, results.NXDOMAIN):
            why = "there is no such name"
        elif isinstance(answer, results.NoAnswer):
            pass
        elif isinstance(answer, exception.Timeout):
            why = f"no answer within {dns.timeout_ms} ms"
        elif isinstance(answer, (exception.DNSException, OSError)):
            why = " ".join(str(answer).split()) or type(answer).__name__
        elif isinstance(answer, BaseException):
            raise answer
        else:
            addresses += [record.address for record in answer]
            ttls.append(float(answer.rrset.ttl) if answer.rrset is not None else TTL_MIN_S)
    if not addresses:
        raise NotResolved(f"{host} can't be resolved: {why}")
    return _sorted(addresses), min(max(min(ttls), TTL_MIN_S), TTL_MAX_S)
