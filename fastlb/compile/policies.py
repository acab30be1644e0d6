"""Policies made into what the engines go by."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastlb._core.tables.caller import Caller
from fastlb.compile.facts import FactSpec, fact_spec

if TYPE_CHECKING:
    from fastlb.config.policy import EffectivePolicy


@dataclass(frozen=True)
class PolicySpec:
    caller: Caller
    is_sync: bool
    on_close: int                       # of a route: what a client that closes cancels
    deadline_ms: int
    on_error: int                       # -1: 503
    pending_max: int
    body_max: int                       # of tcp: of the first bytes
    cache_on: FactSpec
    cache_ms: int
    first_ms: int                       # how long a client's first bytes are waited for; 0: not


def is_async(function: Callable[..., object]) -> bool:
    """`async def`, or an object whose `__call__` is."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        type(function).__call__
    )


def compile_policy(
    policy: EffectivePolicy, names: tuple[str, ...], pool_index: Callable[[str], int],
    caller: Caller, on_close: int = 0,
) -> PolicySpec:
    return PolicySpec(
        caller=caller,
        is_sync=not policy.blocking and not is_async(caller.function),
        on_close=on_close,
        deadline_ms=policy.deadline_ms,
        on_error=pool_index(policy.on_error) if policy.on_error else -1,
        pending_max=policy.pending_max,
        body_max=policy.body_bytes or policy.first_bytes,
        cache_on=fact_spec(policy.cache_on, names),
        cache_ms=policy.cache_ms,
        first_ms=policy.first_ms if policy.first_bytes else 0,
    )
