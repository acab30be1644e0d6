"""Where the requests of an access log would go. Nothing is sent."""

from __future__ import annotations

import gzip
import io
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any, cast

from fastlb._core.base.balancing import BALANCES
from fastlb._core.explain.logs import Replay, Side
from fastlb._core.tables.rates import RateLimit
from fastlb.config.effective import Effective
from fastlb.explain.access import unfetched
from fastlb.explain.explainer import Explainer
from fastlb.explain.wire import choose_listener, parse_url

BLOCK_BYTES = 4 << 20           # read at a time
LINE_BYTES_MAX = 1 << 16        # a longer line is cut, and not understood
NO_ROUTE = "(no route)"
OWN_POOL = "(the listener's pool)"
CHANGES_SHOWN = 1000            # in JSON; the largest
CLIENTS_SHOWN = 10              # that rate limits refuse

Progress = Callable[[int], None]        # bytes of the file that were read since the last time


@dataclass(frozen=True)
class Load:
    requests: int
    bytes: int


@dataclass(frozen=True)
class Diversion:
    """Requests that go elsewhere by the other configuration."""

    kind: str                   # route, pool or server
    before: str
    after: str
    requests: int


@dataclass(frozen=True)
class Listed:
    """A set of networks: requests that it denied, or would have."""

    name: str
    denied: int
    reported: int


@dataclass(frozen=True)
class Limited:
    """What a rate limit would have done to the requests of a log, by their times."""

    name: str
    allowed: int
    refused: int
    reported: int               # would have been refused


@dataclass(frozen=True)
class Spread:
    """Where all go by one configuration; keys of `routes` are LISTENER/ROUTE, and of `servers`
    POOL/SERVER."""

    routes: dict[str, Load]
    pools: dict[str, Load]
    servers: dict[str, Load]
    answers: dict[str, Load]    # by status: what no server is asked
    limits: tuple[Limited, ...]
    clients_refused: dict[str, int]     # by rate limits and lists, those with most requests
    networks: tuple[Listed, ...] = ()


@dataclass(frozen=True)
class Replayed:
    lines: int
    unknown: int                # lines that were not understood
    unknown_first: tuple[str, ...]
    requests: int
    connections: int            # of tcp, among them
    bytes: int
    clients: int                # that differ
    clients_unknown: int        # lines whose client is no IP address
    keys: int                   # that differ, of pools that hash
    keys_missing: int           # requests without what their pool hashes
    no_route: int
    no_route_first: tuple[str, ...]
    refused: int
    policies: int               # requests that a policy would decide on: None was assumed
    spread: Spread
    against: Spread | None
    changed: int                # requests that go to another pool, or to their key's other server
    clients_moved: int
    keys_moved: int
    changes: tuple[Diversion, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def replay(
    values: Effective, log: IO[bytes], against: Effective | None = None, host: str = "",
    listener: str | None = None, progress: Progress | None = None,
) -> Replayed:
    """Run all lines of a log: JSON as fastlb writes it, common or combined. `host` is asked for
    where the log says none: a name, with a port or not, or a URL. Lines that name no listener are
    of `listener`, else of the one that `host` reaches. Raises ValueError where there is none."""
    ids: dict[str, int] = {}
    ours = _Side(values, host, listener, ids)
    theirs = _Side(against, host, listener, ids) if against is not None else None
    run = Replay(ours.side, theirs.side if theirs is not None else None)
    for block in _blocks(log, progress):
        run.feed(block)
    return _result(run, ours, theirs)


def open_log(path: str) -> IO[bytes]:
    """A file, gzipped or not; "-" is stdin. Raises OSError."""
    raw = io.BufferedReader(
        io.FileIO(sys.stdin.fileno(), closefd=False) if path == "-" else io.FileIO(path)
    )
    if raw.peek(2)[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    return raw


def _blocks(log: IO[bytes], progress: Progress | None) -> Iterator[bytes]:
    """Of whole lines; one that is too long is cut."""
    rest = b""
    while block := log.read(BLOCK_BYTES):
        if progress is not None:
            progress(len(block))
        end = block.rfind(b"\n") + 1
        if not end:
            rest += block
            if len(rest) > LINE_BYTES_MAX:
                rest = rest[: LINE_BYTES_MAX + 1]
            continue
        yield rest + block[:end]
        rest = block[end:]
    if rest:
        yield rest


class _Side:
    """A configuration, compiled, with the names of what the core counts by number."""

    def __init__(
        self, values: Effective, host: str, listener: str | None, ids: dict[str, int]
    ) -> None:
        self.values = values
        self.explainer = Explainer.offline(values)
        snapshot = self.explainer.snapshot
        names = [one.name for one in values.listeners]
        if not names:
            raise ValueError("there is no listener")
        where = parse_url(host if "://" in host else f"http://{host}")
        bind = 0                        # (where all is tcp, lines name their listener, or fit none)
        if host or listener is not None or any(one.http is not None for one in values.listeners):
            binds = {one.name: one.binds for one in values.listeners}
            found, _ = choose_listener(values.listeners, binds, where, listener)
            bind = names.index(found.name)
        self.servers = [f"{server.pool}/{server.address}" for server in snapshot.servers]
        self.pools = [pool.name for pool in values.pools]
        self.has_hosts = any(
            route.host for one in values.listeners if one.http is not None
            for route in one.http.routes
        )

        def number(name: str) -> int:
            return ids.setdefault(name, len(ids))

        self.side = Side(
            self.explainer.reasons, [name.encode() for name in names], list(range(len(names))),
            bind, (where.authority or "localhost").encode(), array("I", map(number, self.pools)),
            array("I", (number(server.address) for server in snapshot.servers)),
        )

    def route(self, where: tuple[int, ...]) -> str:
        bind, status, route = where[:3]
        listener = self.values.listeners[bind]
        if listener.http is None:
            return listener.name
        routes = listener.http.routes
        if route < 0:
            name = NO_ROUTE if status == 404 else f"(refused with {status})"
        else:
            name = routes[route].name if route < len(routes) else OWN_POOL
        return f"{listener.name}/{name}"

    def pool(self, where: tuple[int, ...]) -> str:
        return self.pools[where[3]] if where[3] >= 0 else f"(answered with {where[1]})"

    def server(self, where: tuple[int, ...]) -> str:
        return self.servers[where[4]] if where[4] >= 0 else f"(answered with {where[1]})"


def _result(run: Replay, ours: _Side, theirs: _Side | None) -> Replayed:
    totals = run.totals
    counted = run.counted()
    changes: dict[tuple[str, str, str], int] = Counter()
    if theirs is not None:
        for one, other, requests, _ in counted:
            for kind, before, after in (
                ("route", ours.route(one), theirs.route(other)),
                ("pool", ours.pool(one), theirs.pool(other)),
                ("server", ours.server(one), theirs.server(other)),
            ):
                if before != after:
                    changes[kind, before, after] += requests
    largest = sorted(changes.items(), key=lambda item: (item[0][0], -item[1], item[0]))
    return Replayed(
        **{key: totals[key] for key in (
            "lines", "unknown", "requests", "connections", "bytes", "clients", "clients_unknown",
            "keys", "keys_missing", "no_route", "refused", "policies", "changed", "clients_moved",
            "keys_moved")},
        unknown_first=_texts(run.unknown), no_route_first=_texts(run.lost),
        spread=_spread(ours, ((one, n, size) for one, _, n, size in counted)),
        against=_spread(theirs, ((other, n, size) for _, other, n, size in counted))
        if theirs is not None else None,
        changes=tuple(Diversion(*names, n) for names, n in largest[:CHANGES_SHOWN]),
        notes=(*_notes(totals, ours), *_left_out(ours, theirs or ours), *dict.fromkeys(
            note for side in (ours, theirs) if side is not None
            for note in unfetched(side.values.networks))),
    )


def _texts(lines: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(line.decode("utf-8", "backslashreplace") for line in lines)


def _spread(side: _Side, counted: Iterable[tuple[tuple[int, ...], int, int]]) -> Spread:
    tables: tuple[dict[str, list[int]], ...] = ({}, {}, {}, {})
    for server in side.servers:             # those that get nothing are worth seeing too
        tables[2].setdefault(server, [0, 0])
    for where, requests, size in counted:
        names = [side.route(where), None, None, None]
        if where[3] >= 0:
            names[1] = side.pool(where)
        if where[4] >= 0:
            names[2] = side.server(where)
        else:
            names[3] = str(where[1])
        for table, name in zip(tables, names, strict=True):
            if name is not None:
                load = table.setdefault(name, [0, 0])
                load[0] += requests
                load[1] += size
    made = [
        {name: Load(*load) for name, load in sorted(table.items())} for table in tables
    ]
    limits = (
        Limited(one.name, totals["allowed"], totals["refused"], totals["reported"])
        for one in _of_requests(side) for totals in [one.totals()])
    routes, pools, servers, answers = made
    return Spread(
        routes, pools, servers, answers, tuple(sorted(limits, key=lambda one: one.name)),
        dict(side.side.refused_most()[:CLIENTS_SHOWN]),
        tuple(Listed(one.name, **one.totals()) for one in sorted(
            side.explainer.snapshot.live.networks(), key=lambda one: one.name)))


def _left_out(*sides: _Side) -> Iterator[str]:
    """Say what nothing is known of, in any of the configurations."""
    if any(one.source_rate or one.ban for side in sides for one in side.values.listeners):
        yield ("a log doesn't say which requests shared a connection: rates of connections, and the"
               " bans that come of refusals, were left out")


def _of_requests(side: _Side) -> list[RateLimit]:
    """The rate limits of requests; those of connections have a colon in their names."""
    return [one for one in side.explainer.snapshot.live.rate_limits() if ":" not in one.name]


def _notes(totals: dict[str, int], side: _Side) -> Iterator[str]:
    balances = sorted({pool.balance for pool in side.values.pools})
    loads = [name for name in balances if BALANCES[name].by_load]
    if loads:
        yield (
            f"a log doesn't say what was in flight: every request had ended before the next one"
            f" came, so {', '.join(loads)} shows the share of idle servers"
        )
    if any(pool.bounded_load for pool in side.values.pools):
        yield "for the same reason, bounded_load never sends a key elsewhere"
    if _of_requests(side):
        if totals["timeless"]:
            yield f"{totals['timeless']} lines have no time: for rate limits, none had gone by"
        if totals["disordered"]:
            yield (f"{totals['disordered']} lines are a minute older than one before them: sort"
                   " the log by time, as rate limits go by it")
        yield "for rate limits, a log has no header fields: without its key, a client is counted"
    if any(one.http is not None and one.http.trusted and (one.deny or one.allow)
           for one in side.values.listeners):
        yield ("a log doesn't say which proxy was connected: lists of listeners with"
               " forwarded.trusted were left out")
    if totals["policies"]:
        yield f"{totals['policies']} requests have a policy: it wasn't asked, and None was assumed"
    if totals["unknown"] and not any(one.http is not None for one in side.values.listeners):
        yield "no listener speaks HTTP, so a line about a request is not understood"
    if side.has_hosts:
        yield "routes ask for hosts: a log in common or combined format has none, see --host"
    if totals["uncounted"]:
        yield f"{totals['uncounted']} requests went more ways than are told apart"
