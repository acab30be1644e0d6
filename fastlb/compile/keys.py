"""What is hashed, as the core knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastlb.config.patterns import PROXY_FACTS, TLS_FACTS

# The numbers of base/routing.pxd.
HASH_ON = {
    "client.ip": 1, "client.address": 2, "path": 3, "query": 4, "header": 5, "cookie": 6, "tls": 8,
    "mqtt": 9, "proxy": 10,
}
HASH_NOTHING = 7
SEGMENT_BY_NAME = 255
# In the order of TlsFact, SniffedKey and ProxyFact.
FACTS = {"tls": TLS_FACTS, "mqtt": ("client_id", "username"), "proxy": PROXY_FACTS}


@dataclass(frozen=True)
class KeySpec:
    on: int = 0                 # 0: none
    segment: int = 0
    name: bytes = b""
    fact: int = 0


def hash_key(text: str, names: Sequence[str] = ()) -> KeySpec:
    """The key of "client.ip", "header.x-user" or "path.doc_id"; `names` are of the segments."""
    if not text:
        return KeySpec()
    if text in HASH_ON:
        return KeySpec(HASH_ON[text])
    kind, _, name = text.partition(".")
    if kind in FACTS:
        return KeySpec(HASH_ON[kind], fact=FACTS[kind].index(name))
    if kind == "path":
        # Of a pool, the routes that lead to it have the segment in different places, or not at all.
        segment = names.index(name) if name in names else SEGMENT_BY_NAME
        return KeySpec(HASH_ON["path"], segment, name.encode())
    return KeySpec(HASH_ON[kind], 0, (name.lower() if kind == "header" else name).encode())
