"""`deny` and `allow` of routes: the parts, which differ in little more than their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastlb.config.base import Model
from fastlb.config.hints import Found
from fastlb.config.networks import (
    AnyNetworkRule,
    EffectiveRule,
    NetworkRule,
    check_rule,
    effective_rule,
    show_rule,
)
from fastlb.config.part import Checking, Compiling, Part, Place
from fastlb.config.positions import Path


def _effective(given: NetworkRule, place: Place) -> EffectiveRule | None:
    return effective_rule(given)


def _check(path: Path, value: Any, checking: Checking) -> Iterator[Found]:
    yield from check_rule(path, value, checking.tables("networks"))


@dataclass(frozen=True)
class RuleSpec:
    networks: object            # NetworksSpec
    report: bool


def _compile(rule: EffectiveRule, compiling: Compiling) -> RuleSpec:
    return RuleSpec(compiling.networks(rule.networks), rule.report)


def network_part(
    key: str, meaning: str, explained: str, tables: tuple[tuple[str, type[Model]], ...] = ()
) -> Part:
    """The part `key`. `explained` says what the list means, and its networks follow."""

    def explain(rule: EffectiveRule, facts: Mapping[str, Any]) -> str:
        return f"{explained} {show_rule(rule)}"

    return Part(
        key=key, kind=AnyNetworkRule, meaning=meaning, filter=key, routes_only=True, switch=False,
        answers=True, check=_check, effective=_effective, compile=_compile, show=show_rule,
        explain=explain, tables=tables,
    )
