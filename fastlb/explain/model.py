"""What an explanation consists of. All of it can be made JSON of, and be made of that again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Candidate:
    """A server that may be picked."""

    address: str
    weight: int
    state: str                      # up, warming, failing, ejected, down, draining, maintenance
    in_flight: int
    priority: int
    zone: str
    share: float                    # of picks, as things are: 0 to 1


@dataclass(frozen=True)
class Key:
    """What a server, or a part of a split, is picked by."""

    on: str                         # such as path.doc_id
    value: str                      # what was hashed
    missing: bool                   # the request has no such thing: its client's address was hashed
    hash: int                       # CRC-32 of the value


@dataclass(frozen=True)
class PoolPick:
    """A pool that the request may go to, and the server that it picks."""

    name: str
    share: float                    # how likely it is this pool: 1 but for splits by chance
    balance: str
    key: Key | None                 # of policies that hash
    sticky: str                     # what the pool's cookie does; "" where it has none
    candidates: tuple[Candidate, ...]
    pick: str | None                # the server; None: none can be had
    certain: bool                   # it is this one; else it is the next, if nobody comes before
    why_none: str                   # no_server, servers_full, queue_full; "waits" for a place
    fallbacks: tuple[str, ...]      # the pools that fall in when nobody is there
    picked_in: str                  # the pool that the server is of: this one, or a fallback
    limits: str
    retry: str
    hedge: str


@dataclass(frozen=True)
class RouteTried:
    """A route of the listener, in the order in which they are tried."""

    name: str
    what: str                       # what it asks for
    outcome: str                    # "taken", "no", or "later": it fits, but another comes before
    reasons: tuple[str, ...]        # all that speaks against it; of "taken", which of several
                                    # values the request has


@dataclass(frozen=True)
class Policy:
    """The function that decides."""

    call: str
    asked: bool
    said: str                       # what it returned, where it was asked; what holds where not


@dataclass(frozen=True)
class Answer:
    """What we say ourselves."""

    status: int
    reason: str                     # as in the error header; "responded" for what a route says
    rule: str                       # why, in words
    location: str                   # of a redirect


@dataclass(frozen=True)
class Split:
    on: str                         # "": by chance
    key: Key | None
    shares: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Explanation:
    """Why a request (or a connection, for tcp) goes where it goes. As a text, it is a tree."""

    listener: str
    mode: str                       # http, tcp, udp
    chosen_by: str                  # why this listener
    live: bool                      # servers' states are those of a running process
    method: str
    url: str
    client: str                     # the address that is connected
    client_ip: str                  # who it is said to be, by proxies that are trusted
    trusted: bool                   # whether the client is such a proxy
    path: str                       # normalised, as routes and servers see it
    routes: tuple[RouteTried, ...]
    route: str | None               # "" is the listener's own pool, None: no route
    segments: tuple[tuple[str, str], ...]
    policy: Policy | None
    action: str         # pool, split, redirect, respond, policy, listener, refuse, wait
    answer: Answer | None
    split: Split | None
    pools: tuple[PoolPick, ...]
    sent: str                       # the head that the server gets
    response_headers: tuple[tuple[str, str], ...]       # of our answer; or put into a server's
    services: tuple[str, ...]       # what the route's services do, a line each
    notes: tuple[str, ...]
    tls: str = ""                   # what TLS knows of the client, in words; "" without
    place: str = ""                 # where the client is, in words; "" without databases
    proxy: str = ""                 # what a proxy tells of it, likewise
    says: str = ""                  # of tcp: what its first bytes tell
    handed: str = ""                # the listener that goes on with it

    @property
    def pool(self) -> str | None:
        """The pool, where it is certain."""
        return self.pools[0].name if len(self.pools) == 1 else None

    @property
    def server(self) -> str | None:
        """The server that would be picked; None where none can be had, or a split decides."""
        return self.pools[0].pick if len(self.pools) == 1 else None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Of all pools that it may go to."""
        return tuple(candidate for pool in self.pools for candidate in pool.candidates)

    def as_json(self) -> dict[str, Any]:
        """What json.dumps() takes."""
        made: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return made

    @staticmethod
    def from_json(data: dict[str, Any]) -> Explanation:
        """Of what `as_json` made. Raises ValueError where it isn't that."""
        try:
            made: Explanation = _made(Explanation, data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an explanation: {error!r}") from None
        return made

    def __str__(self) -> str:
        from fastlb.explain.shown import as_text

        return as_text(self)


def _made(kind: Any, data: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{                                 # type: ignore[operator]
            field.name: _made(hints[field.name], data[field.name])
            for field in dataclasses.fields(kind)
        })
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_made(arguments[0], one) for one in data)
        return tuple(_made(k, one) for k, one in zip(arguments, data, strict=True))
    if type(None) in arguments:
        return None if data is None else _made(arguments[0], data)
    if kind is float and isinstance(data, int):
        return float(data)
    if not isinstance(data, kind):
        raise TypeError(f"{data!r} is not {kind.__name__}")
    return data
