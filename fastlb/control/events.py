"""What happens to servers and pools: a log line for each change, and an event for who asks."""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from dataclasses import dataclass, field

log = logging.getLogger("fastlb.health")

WAITING_MAX = 1000      # events that a slow reader is behind; then the oldest are dropped


@dataclass(frozen=True)
class Event:
    """A change of a server, of a whole pool where `server` is empty, or of the process where `pool`
    is empty, too.

    `state` is one of up, down (health checks), failing (can't be connected to), ejected (fails too
    often), draining, maintenance, added, removed and reweighted; of a pool serving, unserved (no
    server can be connected to) and panic (so few are up that all are used); of the process
    reloaded, refused (a reload that changed nothing) and banned (a source, by a listener). `text`
    is the line of the log, without the names.
    """

    pool: str
    server: str
    state: str
    text: str
    time: float = field(default_factory=time.time)     # seconds since 1970


class Events:
    """Tells every subscriber, and the log."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def tell(self, level: int, pool: str, server: str, state: str, text: str) -> None:
        where = f"pool {pool}: server {server}" if server else f"pool {pool}:"
        log.log(level, "%s %s", where, text)
        self.put(Event(pool, server, state, text))

    def put(self, event: Event) -> None:
        """Tell subscribers alone. Of any thread."""
        for subscription in tuple(self._subscriptions):
            subscription.put(event)

    def subscribe(self) -> Subscription:
        subscription = Subscription(self)
        self._subscriptions.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def end(self) -> None:
        """Nothing will happen any more."""
        for subscription in tuple(self._subscriptions):
            subscription.put(None)
        self._subscriptions.clear()


class Subscription:
    """Events from now on: `async for event in subscription`. It ends when the balancer does.

    `dropped` counts events that were not read in time: a slow reader holds 1,000 at most.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._waiting: collections.deque[Event | None] = collections.deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self.dropped = 0

    def put(self, event: Event | None) -> None:
        self._waiting.append(event)
        if len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self.dropped += 1
        loop = self._loop                   # another one than ours, where it serves in a thread
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._arrived.set)

    def close(self) -> None:
        """Get no more events."""
        self._events.forget(self)
        self.put(None)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        self._loop = asyncio.get_running_loop()
        while not self._waiting:
            self._arrived.clear()
            if not self._waiting:           # (it may have come between the two)
                await self._arrived.wait()
        event = self._waiting.popleft()
        if event is None:
            self._waiting.append(None)      # whoever asks again is told the same
            raise StopAsyncIteration
        return event
