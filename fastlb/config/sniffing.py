"""The part of the model about what clients of TCP listeners speak."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from fastlb._core.tables.numbers import PROTOCOLS as NUMBERS
from fastlb.config import limits
from fastlb.config.base import Duration, Model
from fastlb.config.compare import TEXT, Value, loose, one_or_list
from fastlb.config.units import show_ms

PROTOCOLS = tuple(NUMBERS)
HTTP = ("http/1.1", "h2", "websocket")      # what a listener of http can go on with
Protocol = Literal[
    "unknown", "tls", "http/1.1", "h2", "websocket", "mqtt", "rtmp", "ssh", "redis", "postgres"
]
Protocols = Annotated[
    list[Protocol],
    BeforeValidator(one_or_list),
    Field(min_length=1),
    loose({"anyOf": [
        {"enum": list(PROTOCOLS)},
        {"type": "array", "items": {"enum": list(PROTOCOLS)}, "minItems": 1},
    ]}),
    limits.CONDITION,
]
MQTT_FACTS = ("client_id", "username")


class Mqtt(Model):
    """What a client of MQTT says in its CONNECT; a list says what it may be."""

    client_id: Annotated[Value, limits.CONDITION] | None = None
    """The client identifier: a text to be equal to, a list, or a comparison."""
    username: Annotated[Value, limits.CONDITION] | None = None
    """The user name, likewise."""
    level: (
        Annotated[
            list[Literal["3.1", "3.1.1", "5"]],
            BeforeValidator(one_or_list),
            Field(min_length=1),
            loose({"anyOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}]}),
            limits.CONDITION,
        ]
        | None
    ) = None
    """The version of the protocol: "3.1", "3.1.1" or "5", or a list."""


class SniffKeys(Model):
    """What only tcp listeners have."""

    sniff_timeout: Annotated[str, Duration(limits.SNIFF_TIMEOUT)] = show_ms(
        limits.SNIFF_TIMEOUT.default
    )
    """With routes: how long a client that says nothing is waited for; then its protocol is
    "unknown", as of those whose servers speak first."""
    sniff_whole_timeout: Annotated[str, Duration(limits.SNIFF_WHOLE_TIMEOUT)] = show_ms(
        limits.SNIFF_WHOLE_TIMEOUT.default
    )
    """With routes: how long one that has begun is waited for, until its protocol can be told."""
