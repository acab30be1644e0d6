"""Which of very many servers a process uses, so that not everybody is connected to everybody."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence


def subset(names: Sequence[str], size: int, instance: int | str) -> set[str]:
    """`size` of the names, or all if there are no more.

    Processes that are numbered from 0 share the names out evenly: so many in a row as there are
    subsets use every name once, but for those that no whole subset is left for; the next row has
    other subsets (deterministic subsetting: Beyer et al., Site Reliability Engineering, 2016,
    chapter 20). A named one takes those that score highest with its name, so that a server that
    comes or goes changes one place at most.
    """
    if len(names) <= size:
        return set(names)
    if isinstance(instance, str):
        scored = sorted(names, key=lambda name: _score(instance, name), reverse=True)
        return set(scored[:size])
    row, place = divmod(instance, len(names) // size)
    shuffled = sorted(names)
    random.Random(row).shuffle(shuffled)
    return set(shuffled[place * size : (place + 1) * size])


def _score(instance: str, name: str) -> bytes:
    return hashlib.blake2b(f"{instance}\0{name}".encode(), digest_size=8).digest()
