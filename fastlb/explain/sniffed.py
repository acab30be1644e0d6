"""Routes of a tcp listener in words: what each asks for, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fastlb.config.effective_sniffing import SniffRoute
from fastlb.config.sniffing import PROTOCOLS
from fastlb.explain.model import RouteTried
from fastlb.explain.tried import against, quoted, rated, wanted_of, which

# As fastlb._core.explain.connections has it:
# of each condition whether it is met, and what is there.
Seen = Sequence[tuple[bool, "bytes | None"]]


def asks_for(route: SniffRoute) -> str:
    """What a client must say, in one line."""
    parts = [_protocols(route), f"tls.sni {route.sni}" if route.sni else ""]
    parts += [wanted_of(condition) for condition in route.conditions]
    return ", ".join(part for part in parts if part) or "everything"


def _protocols(route: SniffRoute) -> str:
    missing = [one for one in PROTOCOLS if one not in route.protocols]
    if route.protocols and len(missing) < len(route.protocols):
        return f"not {' or '.join(missing)}"
    return " or ".join(route.protocols)


def _has_name(wanted: str, name: str) -> bool:
    if wanted.startswith("*"):
        return name.endswith(wanted[1:]) and len(name) > len(wanted) - 1
    return not wanted or name == wanted


def _reasons(route: SniffRoute, seen: Seen, protocol: str, name: str) -> Iterator[str]:
    if route.protocols and protocol not in route.protocols:
        yield f"it speaks {protocol}" if protocol != "unknown" else "nobody knows what it speaks"
    if not _has_name(route.sni, name):
        yield f"it asks for {quoted(name)}, not {quoted(route.sni)}" if name \
            else "it asks for no name"
    for condition, (met, value) in zip(route.conditions, seen, strict=True):
        if not met:
            yield against(condition, value)


def tried(
    routes: Sequence[SniffRoute], seen: Sequence[Seen], taken: int, protocol: str, name: str
) -> tuple[RouteTried, ...]:
    """All routes of a listener; `taken` is the one that was, or -1. `name` is what the client asks
    for by TLS."""
    return rated([
        (route.name, asks_for(route),
         tuple(which(route.conditions, one) if i == taken
               else _reasons(route, one, protocol, name)))
        for i, (route, one) in enumerate(zip(routes, seen, strict=True))
    ], taken)


def in_words(protocol: str, facts: Mapping[str, str]) -> str:
    """What the first bytes tell."""
    what = f"speaks {protocol}" if protocol != "unknown" else \
        "says nothing, or nothing that is known"
    return ", ".join([what, *(f"{name} {value}" for name, value in facts.items() if value)])
