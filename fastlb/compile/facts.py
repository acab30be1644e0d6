"""Facts by their names, as the core knows them."""

from __future__ import annotations

from collections.abc import Sequence

from fastlb._core.facts.registry import FACTS, UNNAMED

FactSpec = tuple[int, int, bytes]       # number, index, name
NO_FACT: FactSpec = (0, 0, b"")


def literal(text: str) -> FactSpec:
    """A part of a template that stands for itself."""
    return 0, 0, text.encode()


def unnamed(what: str, index: int = 0, name: str = "") -> FactSpec:
    """What only a route knows by these words: see UNNAMED."""
    return UNNAMED[what], index, name.encode()


def fact_spec(text: str, names: Sequence[str] = ()) -> FactSpec:
    """The fact of "client.ip", "header.x-user" or "path.doc_id"; `names` are those of the segments
    of the route's path. Of a pool, the routes that lead to it have a segment in different places,
    or not at all: then it is found by its name."""
    if not text:
        return NO_FACT
    if text in FACTS:
        return FACTS[text].number, 0, b""
    kind, _, name = text.partition(".")
    if kind == "path" and name in names:
        return unnamed("segment", names.index(name))
    number = UNNAMED[kind] if kind in UNNAMED else FACTS[kind].number
    return number, 0, (name.lower() if kind == "header" else name).encode()
