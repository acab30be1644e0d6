"""`plan`: a Python function that gives each key of a rate limit a limit of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from fastlb.config import limits
from fastlb.config.base import Duration, Model
from fastlb.config.policy import FUNCTION, check_call
from fastlb.config.units import duration_ms, show_ms


def _plan(value: Any) -> Any:
    return value if isinstance(value, (Mapping, Plan)) else {"call": value}


class Plan(Model):
    """A Python function that gives a key its limit, or the function's name."""

    call: Annotated[
        Any, AfterValidator(check_call),
        WithJsonSchema({"type": "string", "pattern": f"^{FUNCTION}$"}),
    ]
    """The function, as "module:function"; in Python also the function itself. It gets the key's
    value and returns a `fastlb.Limit`, a rate such as "500/m", or None for the limit as it is
    configured. `async def` runs on the control plane's loop, and `def` on a thread."""
    cache_ttl: Annotated[str, Duration(limits.PLAN_CACHE_TTL)] = show_ms(
        limits.PLAN_CACHE_TTL.default
    )
    """How long its answer is good. After that the key keeps it until the next answer is there."""
    deadline: Annotated[str, Duration(limits.PLAN_DEADLINE)] = show_ms(
        limits.PLAN_DEADLINE.default
    )
    """How long it may take. A call that fails or takes longer changes nothing, and is made again
    a second later."""


@dataclass(frozen=True)
class EffectivePlan:
    call: str | Callable[[str], Any]
    cache_ms: int
    deadline_ms: int


def effective_plan(plan: Plan) -> EffectivePlan:
    return EffectivePlan(plan.call, duration_ms(plan.cache_ttl), duration_ms(plan.deadline))


AnyPlan = Annotated[
    Plan,
    BeforeValidator(_plan),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": f"^{FUNCTION}$"}, {"type": "object"}]}),
]
