"""What all parts of the model are made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from fastlb.config import limits
from fastlb.config.limits import Limit
from fastlb.config.units import (
    DURATION,
    SHORT,
    SIZE,
    duration_ms,
    duration_us,
    show,
    show_bytes,
    show_ms,
    show_us,
    size_bytes,
)

Switch = Annotated[bool, Field(strict=True)]


def _mode(value: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError(f'{show(value)} is not a file mode; write it like "0660"')
    return value


Mode = Annotated[
    str, AfterValidator(_mode), WithJsonSchema({"type": "string", "pattern": "^0?[0-7]{3}$"})
]


def as_list(value: Any) -> list[Any] | tuple[Any, ...]:
    """Not of a set, whose order is anyone's, nor of what can be read once alone."""
    if not isinstance(value, (list, tuple)):
        raise PydanticCustomError("list_type", "not a list")
    return value


class Measure:
    """Annotates a text with a unit, within a limit."""

    kind = ""

    def __init__(
        self, parse: Callable[[Any], int], show: Callable[[int], str], pattern: str, limit: Limit
    ) -> None:
        self.parse = parse
        self.show = show
        self._pattern = pattern
        self.limit = limit

    def _check(self, value: Any) -> str:
        low, high = self.limit.low, self.limit.high
        if not low <= self.parse(value) <= high:
            raise ValueError(f"{show(value)} is not from {self.show(low)} to {self.show(high)}")
        return str(value)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": self._pattern}


class Duration(Measure):
    kind = "duration"

    def __init__(self, limit: Limit) -> None:
        super().__init__(duration_ms, show_ms, DURATION, limit)


class Short(Measure):
    """A duration that may be shorter than a millisecond."""

    kind = "duration"

    def __init__(self, limit: Limit) -> None:
        super().__init__(duration_us, show_us, SHORT, limit)


class Size(Measure):
    kind = "size"

    def __init__(self, limit: Limit) -> None:
        super().__init__(size_bytes, show_bytes, SIZE, limit)


class Whole(Limit):
    """Annotates a whole number: its limit, which it is checked against."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.int_schema(strict=True, ge=self.low, le=self.high)


if TYPE_CHECKING:
    _Given = BaseModel          # as checkers know it: with keywords for fields
else:

    class _Told(type(BaseModel)):
        def __call__(cls, *args: Any, **keys: Any) -> Any:
            try:
                return super().__call__(*args, **keys)
            except ValidationError as error:
                from fastlb.config.check import told

                raise told(cls, keys, error) from None

    class _Given(BaseModel, metaclass=_Told):
        """What is wrong with `Retry(attemps=2)` is told as of a whole file, by a ConfigError."""


class Model(_Given):
    model_config = ConfigDict(
        extra="forbid", frozen=True, str_max_length=limits.TEXT_MAX
    )


Given = TypeVar("Given")


def copied(value: Given) -> Given:
    """A copy whose tables and lists are its own. What only somebody else can copy, such as a
    policy's function, is shared."""
    made: Any = value
    if isinstance(value, Model):
        made = value.model_copy()
        made.__dict__.update({key: copied(one) for key, one in value.__dict__.items()})
    elif isinstance(value, dict):
        made = {key: copied(one) for key, one in value.items()}
    elif isinstance(value, list):
        made = [copied(one) for one in value]
    return cast(Given, made)
