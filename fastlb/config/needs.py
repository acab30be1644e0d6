"""What a key needs in order to have an effect. Each condition returns why a key has none at a
place, or "". `effects` says which keys have which conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fastlb.config.address import is_ip, parse_server
from fastlb.config.admin import Admin
from fastlb.config.base import Model
from fastlb.config.effective import Effective
from fastlb.config.failing import Limits, Outliers, Retry
from fastlb.config.geography import DATABASES, Geo
from fastlb.config.health import Health
from fastlb.config.http import Route
from fastlb.config.model import Config, Listener, Pool, Server
from fastlb.config.networks import Networks
from fastlb.config.observing import AccessLog
from fastlb.config.positions import Path
from fastlb.config.reached import reached, schemes_of
from fastlb.config.tls import Tickets, Tls
from fastlb.config.units import duration_ms

M = TypeVar("M", bound=Model)


class About:
    """What many conditions ask about a configuration, found out once."""

    def __init__(self, config: Config, values: Effective) -> None:
        self.reach = reached(values)    # by pool: the schemes of the listeners that send to it
        self.schemes = {schemes_of(one)[1] for one in config.listeners.values()}
        self.sniffing = {one.name for one in values.listeners
                         if one.sniffing is not None and not one.sniffing.is_blind}
        self.zoned = any(one.zone for pool in config.pools.values() for one in pool.servers)
        self.routes_retry = any(
            route.retry for one in config.listeners.values() for route in one.routes)
        self.any_queue = any(pool.limits.max_pending for pool in config.pools.values())


@dataclass(frozen=True)
class Place:
    """Where a key stands: the tables around it, the innermost last."""

    config: Config
    about: About
    tables: tuple[Model, ...]
    path: Path

    def table(self, model: type[M]) -> M:
        return next(one for one in reversed(self.tables) if isinstance(one, model))

    def has(self, model: type[Model]) -> bool:
        return any(isinstance(one, model) for one in self.tables)

    @property
    def name(self) -> str:
        """Of the listener or the pool."""
        return str(self.path[1])

    @property
    def scheme(self) -> str:
        return schemes_of(self.table(Listener))[1]


Condition = Callable[[Place], str]


@dataclass(frozen=True)
class For:
    """A condition: the key is for these protocols alone. `schemes` are those of listeners."""

    shown: str
    schemes: tuple[str, ...]

    def __call__(self, at: Place) -> str:
        if at.has(Pool):
            found = at.about.reach[at.name]
            users = f"only {_and(found)} listeners use this pool"
        elif at.has(Listener):
            found, users = {at.scheme}, f"this is a listener for {at.scheme}"
        else:
            found = at.about.schemes
            users = f"there are only {_and(found)} listeners"
        if not found or found & set(self.schemes):
            return ""
        return f"it is for {self.shown}, and {users}"


def _and(names: set[str]) -> str:
    return " and ".join(sorted(names))


HTTP = For("HTTP", ("http",))
HTTP_1 = For("HTTP/1.1", ("http",))
TCP = For("TCP", ("tcp",))
UDP = For("UDP", ("udp",))
CONNECTIONS = For("TCP and HTTP", ("tcp", "http"))
RELAYS = For("TCP and UDP", ("tcp", "udp"))


def http_1(at: Place) -> str:
    return "it is for HTTP/1.1, and protocol is h2" if at.table(Pool).protocol == "h2" else ""


def h2(at: Place) -> str:
    return "" if at.table(Pool).protocol == "h2" else 'it is for protocol = "h2"'


def h2_clients(at: Place) -> str:
    listener = at.table(Listener)
    written = schemes_of(listener)[0]
    return "" if written == "https" or listener.h2c else "clients of http:// need h2c for HTTP/2"


def h2c(at: Place) -> str:
    written = schemes_of(at.table(Listener))[0]
    return "clients of https:// choose HTTP/2 by ALPN" if written == "https" else ""


def fields(at: Place) -> str:
    form = at.table(AccessLog).format
    return "" if form == "json" else f"it is for the format json, and format is {form}"


def udp_listener(at: Place) -> str:
    return "" if "udp" in at.about.schemes else "no listener is UDP"


def zone(at: Place) -> str:
    return "" if at.about.zoned else "no server has a zone"


def server_zone(at: Place) -> str:
    if at.config.zone is not None or at.table(Pool).nearest is not None:
        return ""
    return "there is no zone at the top, and its pool has no nearest"


def refresh(at: Place) -> str:
    server = at.table(Server)
    address = parse_server(server.address or server.dns or "")
    named = address.host is not None and not is_ip(address.host)
    return "" if named else f"{address} is an address, and not a name to be resolved"


def faster(at: Place) -> str:
    health = at.table(Health)
    slow, fast = health.interval, health.fast_interval or health.interval
    return "" if duration_ms(fast) < duration_ms(slow) else f"checks come every {slow} anyway"


def read_networks(at: Place) -> str:
    one = at.table(Networks)
    return "" if one.file or one.url else "this set has neither a file nor a url"


def fetched_networks(at: Place) -> str:
    return "" if at.table(Networks).url else "this set has no url"


def secured_networks(at: Place) -> str:
    url = at.table(Networks).url or ""
    return "" if url.startswith("https:") else "this set's url is not one of https"


def geo_file(at: Place) -> str:
    table = at.table(Geo)
    return "" if any(getattr(table, kind) for kind in DATABASES) else "there is no file"


def admin_mode(at: Place) -> str:
    binds = at.table(Admin).bind
    return "" if any("unix:" in bind for bind in binds) else "no address is a unix socket"


def mode(at: Place) -> str:
    binds = at.table(Listener).bind
    return "" if any("unix:" in bind for bind in binds) \
        else "no address of this listener is a unix socket"


def over_ip(at: Place) -> str:
    if at.has(Pool):
        servers = at.table(Pool).servers
        if servers and all((one.address or "").startswith("unix:") for one in servers):
            return "every server is a unix socket"
    elif at.has(Listener) and all("unix:" in bind for bind in at.table(Listener).bind):
        return "every address of this listener is a unix socket"
    return ""


def sniffs(at: Place) -> str:
    return "" if at.name in at.about.sniffing else "no route asks what clients say first"


def match_body(at: Place) -> str:
    asks = any(one.json_ or one.form for route in at.table(Listener).routes
               for one in (route.match, route.match.not_))
    return "" if asks else "no route has match.json or match.form"


def sessions(at: Place) -> str:
    listener = at.table(Listener)
    if listener.answers is not None:
        return f"with answers = {listener.answers} there are no sessions of clients"
    return 'with pick = "datagram" no session keeps its server' \
        if listener.pick == "datagram" else ""


def sources(at: Place) -> str:
    return "with answers = 0 clients have no sessions" if at.table(Listener).answers == 0 else ""


def pick(at: Place) -> str:
    answers = at.table(Listener).answers
    return "" if answers is None else f"with answers = {answers} each datagram picks a server"


def old_tls(at: Place) -> str:
    return "it is for TLS 1.2, and min_version is 1.3" \
        if getattr(at.tables[-1], "min_version", "") == "1.3" else ""


def new_tls(at: Place) -> str:
    return "it is for TLS 1.3, and max_version is 1.2" \
        if getattr(at.tables[-1], "max_version", "") == "1.2" else ""


def client_auth(at: Place) -> str:
    return 'client_auth is "none"' if at.table(Tls).client_auth == "none" else ""


def rotate(at: Place) -> str:
    return "the keys are in files" if at.table(Tickets).keys else ""


def plain_check(at: Place) -> str:
    given = at.table(Health).tls is False and at.table(Pool).tls in (None, False)
    return "the pool has no tls" if given else ""


def compares(at: Place) -> str:
    outliers = at.table(Outliers)
    return "" if outliers.error_rate or outliers.latency \
        else "neither error_rate nor latency is given"


def ejects(at: Place) -> str:
    outliers = at.table(Outliers)
    found = outliers.consecutive_failures or outliers.error_rate or outliers.latency
    return "" if found else "nothing ejects a server: consecutive_failures is 0"


def failures(at: Place) -> str:
    pool, outliers = at.table(Pool), at.table(Outliers)
    return "" if outliers.consecutive_failures or pool.hedge else "consecutive_failures is 0"


def retries(at: Place) -> str:
    return "attempts is 1" if at.table(Retry).attempts == 1 else ""


def repeats(at: Place) -> str:
    others = set(at.table(Retry).on) - {"connect_failure"}
    return "" if others else "only failed connects are tried again, whatever the method"


def own_budget(at: Place) -> str:
    return "" if at.has(Pool) else "the budget is the pool's"


def retried(at: Place) -> str:
    once = at.table(Pool).retry.attempts == 1 and not at.about.routes_retry
    return "nothing is tried again: retry.attempts is 1" if once else ""


def limited(at: Place) -> str:
    pool = at.table(Pool)
    limited = pool.limits.max_requests or any(one.max_connections for one in pool.servers)
    return "" if limited else "there is always a place: neither limits.max_requests nor a" \
        " server's max_connections is given"


def waits(at: Place) -> str:
    return "" if at.table(Limits).max_pending else "nobody waits: max_pending is 0"


def forwards(at: Place) -> str:
    route = at.table(Route)
    what = "redirect" if route.redirect else "respond" if route.respond else ""
    return f"the route's action is {what}, and no server is asked" if what else ""


def queues(at: Place) -> str:
    route, pools = at.table(Route), at.config.pools
    if route.policy and at.about.any_queue:
        return ""                           # it may name any pool
    for name in (route.pool, *(route.split or ()), at.table(Listener).pool):
        seen: set[str] = set()
        while name and name in pools and name not in seen:
            seen.add(name)
            if pools[name].limits.max_pending:
                return ""
            name = pools[name].fallback
    return "no pool of this route has a queue (limits.max_pending)"
