"""Plain keys: those that engines read as a number, by the key's own name and unit.

One annotation says so, and all else follows from it: the value that holds in the end, the member of
the core's struct, what `check` shows, and what the key is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from fastlb.config.base import Duration, Measure, Model, Size
from fastlb.config.limits import Limit


@dataclass(frozen=True)
class Plain:
    """`of` is what the key is for, by a name in `effects.KINDS` ("": everything). `zero` is how 0
    is shown. A `timer` is a duration that engines wait for."""

    of: str = ""
    zero: str = ""
    timer: bool = False


@dataclass(frozen=True)
class PlainKey:
    name: str
    plain: Plain
    measure: Measure | None             # of a text with a unit
    built_in: int

    @property
    def core_name(self) -> str:
        """The member of the core's struct: the key, and its unit."""
        if self.plain.timer:
            return f"{self.name}_timer"
        if isinstance(self.measure, Duration):
            return f"{self.name}_ms"
        return f"{self.name}_bytes" if isinstance(self.measure, Size) else self.name

    def number(self, value: Any) -> int:
        """Of a value as it is written; None: it isn't given."""
        if value is None:
            return self.built_in
        return self.measure.parse(value) if self.measure is not None else int(value)

    def shown(self, number: int) -> str:
        """As `check` prints it."""
        if number == 0 and self.plain.zero:
            return self.plain.zero
        return self.measure.show(number) if self.measure is not None else str(number)


def plain_keys(model: type[Model]) -> Iterator[PlainKey]:
    """The plain keys of a table, in its order."""
    for name, field in model.model_fields.items():
        notes = [*field.metadata, *_notes(field.annotation)]
        plain = next((one for one in notes if isinstance(one, Plain)), None)
        if plain is not None:
            measure = next((one for one in notes if isinstance(one, Measure)), None)
            limit = measure.limit if measure is not None else next(
                one for one in notes if isinstance(one, Limit))
            yield PlainKey(name, plain, measure, limit.default)


def _notes(annotation: Any) -> Iterator[Any]:
    """What annotates the parts of a union."""
    for part in get_args(annotation):
        if get_origin(part) is Annotated:
            yield from get_args(part)[1:]


def plain_numbers(model: type[Model], look: Callable[[str, Any], Any]) -> Mapping[str, int]:
    """What holds for each plain key of a table, by its name in the core; `look` finds what was
    written, or returns its second argument."""
    return {key.core_name: key.number(look(key.name, None)) for key in plain_keys(model)}
