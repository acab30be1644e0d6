"""Questions to name servers: which server is asked when, and what an answer means.

A and AAAA are asked for together (RFC 1035, RFC 3596), and each has an answer of its own: records,
none (NOERROR without records, or NXDOMAIN), or a failure, which says nothing about the name.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastlb.config.effective import EffectiveDns
from fastlb.control.clock import Clock

if TYPE_CHECKING:
    import dns.message
    import dns.name

HOSTS_FILE = "/etc/hosts"
HOSTS_REFRESH_S = 30.0      # names of the hosts file have no TTL
TTL_MIN_S = 1.0             # a TTL of 0 must not make a loop of queries
TTL_MAX_S = 3600.0          # a mistaken TTL of a week should not outlive lunch
# The next name server is asked after this share of the time budget, as glibc does after a second
# of its five. So one lost packet, or one dead server, costs that much and not all of it.
STEPS = 5
SLOW_S = 30.0               # a name server that kept us waiting is asked last for so long
# Each name has a socket for every name server that was asked: 5 at most. All names of a large
# configuration at once would take every descriptor that the process may have.
NAMES_AT_ONCE = 32
FAMILIES = (4, 6)

NameServer = tuple[str, int]


@dataclass(frozen=True)
class Records:
    """The addresses of one family, sorted; none if the name has no such record."""

    addresses: tuple[str, ...] = ()
    ttl_s: float = TTL_MAX_S


@dataclass
class Answer:
    """What is known of a name now. A family that failed is missing in `families`.

    `others` are addresses to be tried where connects to those of `families` are refused.
    """

    families: dict[int, Records] = field(default_factory=dict)
    why: str = ""               # a family failed, or the name has no address
    others: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        return len(self.families) == len(FAMILIES)

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(a for version in FAMILIES if version in self.families
                     for a in self.families[version].addresses)

    @property
    def ttl_s(self) -> float:
        """How long it holds."""
        ttl_s = min(one.ttl_s for one in self.families.values() if one.addresses)
        return min(max(ttl_s, TTL_MIN_S), TTL_MAX_S)


class Resolver:
    """Asks the name servers of a configuration, and remembers which of them are slow."""

    def __init__(self, dns: EffectiveDns, clock: Clock) -> None:
        self.dns = dns
        self._clock = clock
        self._slow: dict[NameServer, float] = {}        # since when, by the clock
        self._places = asyncio.Semaphore(NAMES_AT_ONCE)
        self._heard_s = 0.0         # when a name server last said anything
        self._silent_s = 0.0        # when none had said anything for as long as a name may take

    async def resolve(self, host: str) -> Answer:
        """Whatever is known of a name. The hosts file comes first, as everywhere."""
        found = in_hosts_file(host)
        if found is not None:
            return found
        asked_s = asyncio.get_running_loop().time()
        async with self._places:
            # Names that waited for their turn while no name server said a word need not wait again.
            if self._silent_s > asked_s and self._heard_s < self._silent_s:
                return Answer(why=self._no_answer())
            return await self._ask(host)

    def _no_answer(self) -> str:
        return f"no answer within {self.dns.timeout_ms} ms"

    async def _ask(self, host: str) -> Answer:
        # Imported when a name is asked for: programs that only use addresses never load it.
        from dns import asyncresolver
        from dns import resolver as results

        try:
            system = asyncresolver.Resolver(configure=not self.dns.nameservers)
        except results.NoResolverConfiguration:
            return Answer(why="no name server is configured in /etc/resolv.conf")
        servers = self.dns.nameservers or tuple((str(where), 53) for where in system.nameservers)
        loop = asyncio.get_running_loop()
        begin_s, deadline_s = loop.time(), loop.time() + self.dns.timeout_ms / 1000
        answer = Answer(why="it has no address")
        for name in _candidates(host, system):
            question = _Question(name, deadline_s)
            await self._ask_all(question, servers)
            answer = Answer(dict(question.found), question.reason() or self._no_answer())
            if answer.addresses or not answer.is_whole:
                break               # (a failure says nothing: the next candidate is another name)
        if not answer.families and self._heard_s < begin_s:
            self._silent_s = loop.time()
        return answer

    def _in_order(self, servers: tuple[NameServer, ...]) -> list[NameServer]:
        """As configured, but for those that kept us waiting of late: they come last."""
        now_s = self._clock.time()
        self._slow = {one: s for one, s in self._slow.items() if now_s < s + SLOW_S}
        return sorted(servers, key=lambda one: self._slow.get(one, 0.0))

    async def _ask_all(self, question: _Question, servers: tuple[NameServer, ...]) -> None:
        """Ask one name server after the other, and listen to all that were asked."""
        loop = asyncio.get_running_loop()
        order = self._in_order(servers)
        turns = max(STEPS, len(order))
        step_s = self.dns.timeout_ms / 1000 / turns
        peers: dict[NameServer, _Peer] = {}
        try:
            for turn in range(turns):
                server = order[turn % len(order)]
                peer = peers.get(server)
                if peer is None:
                    peer = peers[server] = await question.open(server)
                elif peer.is_waiting:
                    peer.ask()              # a packet was lost, maybe
                elif len(peers) == len(order):
                    peer = next((one for one in peers.values() if one.is_waiting), None)
                    if peer is None:
                        return              # every one has said that it can't tell
                last = turn == turns - 1
                await question.wait(
                    None if last else peer, question.deadline_s if last else loop.time() + step_s)
                if not question.missing or loop.time() >= question.deadline_s:
                    return
                if not peer.heard:
                    self._slow.setdefault(server, self._clock.time())
        finally:
            for server, peer in peers.items():
                if peer.heard:
                    self._heard_s = loop.time()
                    self._slow.pop(server, None)
            question.close()


class _Question:
    """A and AAAA of one name, which several name servers may be asked at once."""

    def __init__(self, name: dns.name.Name, deadline_s: float) -> None:
        from dns import message

        self.deadline_s = deadline_s        # by the loop's clock
        self.queries = {4: message.make_query(name, "A"), 6: message.make_query(name, "AAAA")}
        self.found: dict[int, Records] = {}
        self._no_such_name = False
        self._failures: list[str] = []
        self._moved = asyncio.Event()
        self._peers: list[_Peer] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def missing(self) -> list[int]:
        return [version for version in FAMILIES if version not in self.found]

    def reason(self) -> str:
        """Why there is no address, or why a family is missing; "" if nobody said."""
        if self.missing:
            return self._failures[-1] if self._failures else ""
        return "there is no such name" if self._no_such_name else "it has no address"

    async def open(self, server: NameServer) -> _Peer:
        peer = _Peer(self, server)
        self._peers.append(peer)
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: peer, remote_addr=server)
        except OSError as error:
            peer.failed(error)
        return peer

    async def wait(self, peer: _Peer | None, until_s: float) -> None:
        """Until all is known, this name server (None: every one) can say no more, or it is time."""
        loop = asyncio.get_running_loop()
        peers = self._peers if peer is None else [peer]
        while self.missing and any(one.is_waiting for one in peers):
            left_s = min(until_s, self.deadline_s) - loop.time()
            if left_s <= 0:
                return
            self._moved.clear()
            handle = loop.call_later(left_s, self._moved.set)
            try:
                await self._moved.wait()
            finally:
                handle.cancel()

    def moved(self) -> None:
        self._moved.set()

    def fail(self, why: str) -> None:
        self._failures.append(why)

    def close(self) -> None:
        for peer in self._peers:
            peer.close()
        for task in self._tasks:
            task.cancel()

    def take(self, version: int, reply: dns.message.Message) -> bool:
        """Whether a reply says what is asked."""
        from dns import exception, rcode

        code = reply.rcode()
        if code not in (rcode.NOERROR, rcode.NXDOMAIN):
            self.fail(f"a name server says {rcode.to_text(code)}")
            return False
        try:
            chain: Any = reply.resolve_chaining()       # type: ignore[attr-defined]
        except exception.DNSException as error:
            self.fail(" ".join(str(error).split()) or type(error).__name__)
            return False
        self._no_such_name |= code == rcode.NXDOMAIN
        texts = {one.address for one in chain.answer} if chain.answer is not None else set()
        records = Records(sorted_addresses(texts), float(chain.minimum_ttl))
        self.found.setdefault(version, records)
        return True

    def ask_by_tcp(self, peer: _Peer, version: int) -> None:
        """The answer doesn't fit into a datagram."""
        self._tasks.append(asyncio.ensure_future(self._by_tcp(peer, version)))

    async def _by_tcp(self, peer: _Peer, version: int) -> None:
        from dns import asyncquery

        host, port = peer.server
        left_s = self.deadline_s - asyncio.get_running_loop().time()
        try:
            reply = await asyncquery.tcp(self.queries[version], host, left_s, port)
        except Exception as error:          # of the system, or of the library
            self.fail(" ".join(str(error).split()) or type(error).__name__)
            peer.waiting.discard(version)
        else:
            peer.took(version, reply)
        self.moved()


class _Peer(asyncio.DatagramProtocol):
    """One name server that is asked. The socket is connected: nobody else is heard."""

    def __init__(self, question: _Question, server: NameServer) -> None:
        self.server = server
        self.heard = False
        self.waiting = set(question.missing)
        self._question = question
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def is_waiting(self) -> bool:
        return bool(self.waiting & set(self._question.missing))

    def ask(self) -> None:
        if self._transport is not None:
            for version in self.waiting & set(self._question.missing):
                self._transport.sendto(self._question.queries[version].to_wire())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport         # type: ignore[assignment]
        self.ask()

    def datagram_received(self, data: bytes, addr: object) -> None:
        from dns import flags, message

        try:
            reply = message.from_wire(data, ignore_trailing=True)
        except Exception:                   # (of the library, for bytes that make no sense)
            return                          # whoever sent it, the answer may still come
        for version in tuple(self.waiting):
            if self._question.queries[version].is_response(reply):
                self.heard = True
                if reply.flags & flags.TC:
                    self._question.ask_by_tcp(self, version)
                else:
                    self.took(version, reply)
        self._question.moved()

    def took(self, version: int, reply: dns.message.Message) -> None:
        self.heard = True
        self._question.take(version, reply)
        self.waiting.discard(version)

    def error_received(self, error: Exception) -> None:
        self.failed(error)

    def failed(self, error: Exception) -> None:
        """Nobody listens there, or we have no descriptor."""
        self._question.fail(str(getattr(error, "strerror", "") or error).lower())
        self.waiting.clear()
        self._question.moved()


def _candidates(host: str, system: Any) -> Iterator[dns.name.Name]:
    """The names that a short one may stand for, in the resolver's order (resolv.conf(5))."""
    from dns import name as names

    given = names.from_text(host, None)
    if given.is_absolute():
        yield given
        return
    whole = given.concatenate(names.root)
    search = system.search or ([system.domain] if system.domain != names.root else [])
    dots = 1 if system.ndots is None else system.ndots
    if len(given) > dots or not search:
        yield whole
    for suffix in search:
        try:
            yield given.concatenate(suffix)
        except names.NameTooLong:
            pass
    if not (len(given) > dots or not search):
        yield whole


def is_host_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a server can be there. Not everybody who fills a zone with 0.0.0.0 to say "nobody"
    means this machine, which is who would be connected to."""
    return not (
        address.is_unspecified or address.is_multicast
        or (address.version == 4 and int(address) == 0xFFFF_FFFF)
        # (which of our links it is on, a name can't say)
        or (address.version == 6 and address.is_link_local)
    )


def sorted_addresses(texts: set[str]) -> tuple[str, ...]:
    """Those that a server can have, in a stable order, as everybody writes them."""
    found = set()
    for text in texts:
        address = ipaddress.ip_address(text)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if is_host_address(address):
            found.add(address)
    return tuple(str(one) for one in sorted(found, key=lambda one: (one.version, int(one))))


def in_hosts_file(host: str) -> Answer | None:
    """What /etc/hosts says of a name; None if it doesn't know it.

    Few local services listen on both 127.0.0.1 and ::1, though the file calls both "localhost". So
    IPv6 addresses are only tried where the IPv4 ones refuse.
    """
    texts: set[str] = set()
    try:
        with open(HOSTS_FILE, encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.partition("#")[0].split()
                if len(fields) > 1 and host.lower() in (name.lower() for name in fields[1:]):
                    texts.add(fields[0])
    except OSError:
        pass                                # no such file: only DNS knows names
    if host.lower() == "localhost":
        texts |= {"::1"} if texts else {"127.0.0.1", "::1"}     # RFC 6761, 6.3
    if not texts:
        return None
    found = sorted_addresses({text for text in texts if _is_ip(text)})
    v4 = tuple(one for one in found if ":" not in one)
    v6 = tuple(one for one in found if ":" in one)
    return Answer({
        4: Records(v4, HOSTS_REFRESH_S), 6: Records(() if v4 else v6, HOSTS_REFRESH_S),
    }, "the hosts file has no address for it that a server can have", v6 if v4 else ())


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
