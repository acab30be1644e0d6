"""The part of the model that is about policies: functions that decide where requests and
connections go."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fastlb.config import limits
from fastlb.config.base import Duration, Model, Size, Switch
from fastlb.config.patterns import REQUEST_KEY, REQUEST_KEYS, listed
from fastlb.config.units import duration_ms, show, show_bytes, show_ms, size_bytes

FUNCTION = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"


def check_call(value: Any) -> Any:
    """Return a function, or its name as it is written. ValueError: it is neither."""
    if callable(value):
        return value
    if not isinstance(value, str) or re.fullmatch(FUNCTION, value, re.ASCII) is None:
        raise ValueError(f'{show(value)} is not a function; write it like "my_module:by_tenant"')
    return value


def _check_key(value: str) -> str:
    if not re.fullmatch(REQUEST_KEY, value):
        raise ValueError(
            f"{show(value)} is not a part of a request. One of: {listed(REQUEST_KEYS)}")
    return value


def _policy(value: Any) -> Any:
    """The short form."""
    if isinstance(value, (Mapping, Policy)):
        return value
    return {"call": value}


class Policy(Model):
    """A Python function that decides about requests or connections, or its name."""

    call: Annotated[
        Any, AfterValidator(check_call),
        WithJsonSchema({"type": "string", "pattern": f"^{FUNCTION}$"}),
    ]
    """The function, as "module:function"; in Python also the function itself. `async def` runs on
    the loop of the control plane, and `def` on the engine's thread."""
    deadline: Annotated[str, Duration(limits.POLICY_DEADLINE)] = show_ms(
        limits.POLICY_DEADLINE.default
    )
    """How long it may take."""
    on_error: Annotated[
        str, Field(min_length=1, max_length=limits.NAME_MAX), limits.POLICY_ON_ERROR
    ] | None = None
    """The pool that is used when it fails or takes too long; 503 if not given."""
    cache_on: Annotated[str, AfterValidator(_check_key), limits.POLICY_CACHE_ON] | None = None
    """What its decisions are kept by, such as "header.authorization": each thread goes by what was
    decided for the same value. Without that value, it is asked."""
    cache_ttl: Annotated[str, Duration(limits.POLICY_CACHE_TTL)] = show_ms(
        limits.POLICY_CACHE_TTL.default
    )
    """For how long."""
    blocking: Annotated[Switch, limits.POLICY_BLOCKING] = False
    """A `def` that waits for something: it runs in a pool of threads."""
    max_pending: Annotated[
        int,
        Field(strict=True, ge=limits.POLICY_PENDING.low, le=limits.POLICY_PENDING.high),
        limits.POLICY_PENDING,
    ] = limits.POLICY_PENDING.default
    """Requests that wait for it; for more, it has failed."""
    body: Annotated[str, Size(limits.POLICY_BODY)] = show_bytes(limits.POLICY_BODY.default)
    """How much of a request's body it sees; the request waits for that."""
    first_bytes: Annotated[str, Size(limits.POLICY_FIRST)] = show_bytes(limits.POLICY_FIRST.default)
    """How much it sees of what the client sends first. It is asked as soon as
    some of that is here, and can ask for more."""
    first_bytes_timeout: Annotated[str, Duration(limits.POLICY_FIRST_TIMEOUT)] = show_ms(
        limits.POLICY_FIRST_TIMEOUT.default
    )
    """How long they are waited for; then it is asked with what there is."""


@dataclass(frozen=True)
class EffectivePolicy:
    call: str | Callable[..., Any]
    deadline_ms: int
    on_error: str               # "": 503
    cache_on: str               # "": nothing is kept
    cache_ms: int
    blocking: bool
    pending_max: int
    body_bytes: int
    first_bytes: int
    first_ms: int


def effective_policy(policy: Policy) -> EffectivePolicy:
    return EffectivePolicy(
        call=policy.call,
        deadline_ms=duration_ms(policy.deadline),
        on_error=policy.on_error or "",
        cache_on=policy.cache_on or "",
        cache_ms=duration_ms(policy.cache_ttl),
        blocking=policy.blocking,
        pending_max=policy.max_pending,
        body_bytes=size_bytes(policy.body),
        first_bytes=size_bytes(policy.first_bytes),
        first_ms=duration_ms(policy.first_bytes_timeout),
    )


AnyPolicy = Annotated[
    Policy,
    BeforeValidator(_policy),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": f"^{FUNCTION}$"}, {"type": "object"}]}),
]
