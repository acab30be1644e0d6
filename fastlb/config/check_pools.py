"""What values of a pool say about each other, and about other pools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastlb.config import limits
from fastlb.config.address import parse_server
from fastlb.config.check_routes import HASHES
from fastlb.config.effective_tls import HTTP_PROTOCOLS
from fastlb.config.health import check_health
from fastlb.config.hints import Found, no_pool
from fastlb.config.positions import Path

LEAST, MOST = limits.TABLE_SIZE.low, limits.TABLE_SIZE.high     # the model tells of others


def is_prime(n: int) -> bool:
    return n > 1 and all(n % i for i in range(2, int(n**0.5) + 1))


def _fallback(
    path: Path, pool: Mapping[str, Any], pools: Mapping[str, Mapping[str, Any]]
) -> Iterator[Found]:
    """It exists, and doesn't lead back."""
    first = pool.get("fallback")
    if not isinstance(first, str):
        return
    if first not in pools:
        yield no_pool((*path, "fallback"), first, tuple(pools))
        return
    seen = [str(path[1])]
    name: Any = first
    while isinstance(name, str) and name in pools:
        seen.append(name)
        if name in seen[:-1]:
            yield (*path, "fallback"), f"it leads back: {' -> '.join(seen)}", ()
            return
        if len(seen) > limits.FALLBACKS_MAX + 1:
            yield (*path, "fallback"), (
                f"more than {limits.FALLBACKS_MAX} pools fall in one after the other"
            ), ()
            return
        name = pools[name].get("fallback")


def _speaks_h2(path: Path, pool: Mapping[str, Any]) -> Iterator[Found]:
    if "h2" not in HTTP_PROTOCOLS:
        yield (*path, "protocol"), (
            "this fastlb was built without HTTP/2; see fastlb version -v"), ("http/1.1",)
    tls = pool.get("tls")
    offered = tls.get("alpn") if isinstance(tls, Mapping) else None
    if offered and "h2" not in ((offered,) if isinstance(offered, str) else offered):
        yield (*path, "tls", "alpn"), "protocol is h2, and it isn't offered", ("h2",)


def check_pool(
    path: Path, pool: Mapping[str, Any], pools: Mapping[str, Mapping[str, Any]], from_file: bool
) -> Iterator[Found]:
    servers = pool.get("servers")
    if from_file and not servers:
        yield path, "the pool has no servers; write servers = [\"HOST:PORT\"]", ()
    balance = pool.get("balance", "round_robin")
    for key in ("hash_on", "bounded_load"):
        if key in pool and isinstance(balance, str) and balance not in HASHES:
            yield (*path, key), (
                f"{key} belongs to a hashing method, and balance is {balance!r};"
                f" one of: {', '.join(HASHES)}"
            ), HASHES
    if balance in HASHES and pool.get("slow_start") not in (None, "0s"):
        yield (*path, "slow_start"), (
            f"slow_start would send keys elsewhere and back, and balance is {balance!r}"
        ), ()
    size = pool.get("table_size")
    if size is not None and isinstance(balance, str) and balance != "maglev":
        yield (*path, "table_size"), f"table_size belongs to maglev, and balance is {balance!r}", ()
    elif type(size) is int and LEAST <= size <= MOST and not is_prime(size):
        yield (*path, "table_size"), (
            f"{size} is not a prime number, and maglev's table needs one; the next is"
            f" {next(n for n in range(size, size * 2 + 3) if is_prime(n))}"
        ), ()
    hedge = pool.get("hedge")
    if isinstance(hedge, Mapping) and ("delay" in hedge) == ("percentile" in hedge):
        yield (*path, "hedge"), "hedge has either a delay or a percentile", ("delay", "percentile")
    if "hedge" in pool and "sticky" in pool:
        yield (*path, "hedge"), (
            "second tries go to other servers, and sticky binds clients to one: it is either"
        ), ("hedge", "sticky")
    if pool.get("protocol") == "h2":
        yield from _speaks_h2(path, pool)
        if pool.get("proxy_protocol") is not None:
            yield (*path, "proxy_protocol"), (
                "its header tells of one client, and connections of HTTP/2 are shared"
            ), ()
    yield from _fallback(path, pool, pools)
    health = pool.get("health")
    if isinstance(health, Mapping):
        yield from check_health((*path, "health"), health)
        if health.get("grpc") and pool.get("protocol") != "h2":
            yield (*path, "health", "grpc"), "gRPC is HTTP/2, and protocol is http/1.1", ()
    datagrams = isinstance(health, Mapping) and isinstance(health.get("udp"), Mapping)
    seen: set[str] = set()
    for i, server in enumerate(servers if isinstance(servers, (list, tuple)) else ()):
        table = {"address": server} if isinstance(server, str) else server
        if isinstance(table, Mapping):
            yield from _server((*path, "servers", i), table, seen)
            where = table.get("address")
            if datagrams and isinstance(where, str) and where.startswith("unix:"):
                yield (*path, "servers", i), (
                    f"{where}: checks with datagrams (health.udp) need HOST:PORT"
                ), ()


def _server(
    path: Path, server: Mapping[str, Any], seen: set[str]
) -> Iterator[Found]:
    if (server.get("address") is None) == (server.get("dns") is None):
        yield path, "a server has either an address or a dns name", ("address", "dns")
        return
    where = server["dns"] if server.get("address") is None else server["address"]
    try:
        address = parse_server(where)
    except (ValueError, AttributeError, TypeError):
        return                          # told already
    if address.port == 0:
        yield path, f"{where!r}: a server's port is not 0", ()
    if str(address) in seen:
        yield path, f"{where} is in this pool already; give it a weight instead", ()
    seen.add(str(address))
