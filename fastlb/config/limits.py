"""Every default and bound that users meet, once, with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """`default`, and the least and most allowed; ms for timeouts, bytes for sizes."""

    default: int
    low: int
    high: int
    reason: str


HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

THREADS_MAX = 64            # ENGINES_MAX of the core
WEIGHT_MAX = 256            # as HAProxy's; finer shares than 1/256 are noise
SERVERS_MAX = 65_535        # of a pool; the core counts them in 16 bits
NAME_MAX = 100              # of a listener or a pool: it has to fit in a log line
FILE_BYTES_MAX = 16 << 20   # of a configuration; more is a mistake

IDLE_TIMEOUT = Limit(
    300_000, 0, 30 * DAY_MS,
    "as long as most firewalls remember a silent connection; 0s switches it off",
)
CONNECT_TIMEOUT = Limit(
    500, 1, 10 * 60_000,
    "a server in the same network answers within a few ms, and another one is tried after it",
)
SHUTDOWN_TIMEOUT = Limit(
    30_000, 0, DAY_MS, "as long as systemd and Kubernetes wait before they kill",
)
DNS_TIMEOUT = Limit(2_000, 10, 60_000, "two tries of a resolver that answers within a second")
DNS_REFRESH = Limit(0, 100, DAY_MS, 'the default, "ttl", holds an answer as long as it says')
BUFFER_SIZE = Limit(
    16 << 10, 4 << 10, 1 << 20,
    "holds any message that is not bulk, and stays in the processor's cache; a power of two",
)
BULK_BUFFER_SIZE = Limit(
    256 << 10, 4 << 10, 1 << 20,
    "for flows that fill buffer_size and can't be spliced: fewer, larger reads",
)
BACKLOG = 4096              # Linux' own limit (net.core.somaxconn), which caps it
# 90 s after its last word a vanished peer is found, well before idle_timeout.
KEEPALIVE_IDLE = Limit(60_000, 1000, 32_767_000, "found well before idle_timeout is over")
KEEPALIVE_INTERVAL = Limit(10_000, 1000, 32_767_000, "lost probes must not look like a lost peer")
