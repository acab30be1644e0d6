"""Templates and edits of header fields made into tables.

A template is a list of parts: text, and variables that the core finds in the request at hand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastlb._core.facts.registry import FACTS
from fastlb._core.tables.numbers import EDITS
from fastlb.compile.facts import FactSpec, fact_spec, literal, unnamed
from fastlb.config.effective_http import EffectiveRoute, HeaderOp

if TYPE_CHECKING:
    from fastlb.config.captures import Captures

EditSpecs = Sequence[tuple[int, bytes, "Parts"]]    # what is done, and to which field
Parts = Sequence[FactSpec]
_VARIABLE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


class Scope:
    """What the variables of a route's templates mean, or of those that are no route's."""

    def __init__(
        self, route: EffectiveRoute | None = None, names: Sequence[str] = ()
    ) -> None:
        self.route = route
        self.names = names
        self.captures: Captures | None = None       # once a template asks for one

    def part(self, variable: str) -> FactSpec:
        kind, _, name = variable.partition(".")
        if variable == "host.rest":
            return FACTS[variable].number, len(self.route.host) - 1 if self.route else 0, b""
        if kind == "path" and variable not in FACTS:
            return self._path(name)
        return fact_spec(variable)

    def _path(self, name: str) -> FactSpec:
        if self.route is not None and name not in self.names and self.route.path_regex:
            from fastlb.config.captures import compile_captures  # few configurations need it

            captures = self.captures or compile_captures(self.route.path_regex)
            if name in captures.names:
                self.captures = captures
                return unnamed("capture", captures.names[name])
        return fact_spec(f"path.{name}", self.names)    # (of a listener: this route may lack it)


def template(text: str, scope: Scope) -> Parts:
    """The parts of "{client.ip} of {path.tenant}"; `{{` and `}}` are braces."""
    parts: list[FactSpec] = []
    text_so_far = ""
    end = 0
    for found in _VARIABLE.finditer(text):
        text_so_far += text[end : found.start()]
        end = found.end()
        variable = found[1]
        if variable is None:
            text_so_far += found[0][0]
            continue
        if variable == "route" and scope.route is not None:
            text_so_far += scope.route.name
            continue
        if text_so_far:
            parts.append(literal(text_so_far))
            text_so_far = ""
        parts.append(scope.part(variable))
    text_so_far += text[end:]
    if text_so_far:
        parts.append(literal(text_so_far))
    return parts


def compile_edits(
    ops: Sequence[HeaderOp], scope: Scope | None = None
) -> EditSpecs:
    scope = scope or Scope()
    return [(EDITS[op.op], op.name.lower().encode(), template(op.value, scope)) for op in ops]
