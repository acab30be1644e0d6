"""Header fields by name, in any case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


class Fields(Mapping[str, str]):
    """Names are in lower case, and may be asked for in any. Of several of a name, the values are
    joined with ", "; `getlist(name)` has each."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, list[str]] = {}
        for name, value in pairs:
            self._fields.setdefault(name.lower(), []).append(value)

    @classmethod
    def parsed(cls, lines: Iterable[str]) -> Fields:
        """Of lines such as "Host: a"."""
        parts = (line.partition(":") for line in lines)
        return cls((name, value.strip(" \t")) for name, _, value in parts)

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._fields[name.lower()])

    def getlist(self, name: str) -> list[str]:
        return list(self._fields.get(name.lower(), ()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Fields({dict(self)!r})"
