"""Templates and edits of header fields made into tables.

A template is a list of parts: text, and variables that the core finds in the request at hand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastlb.compile.keys import FACTS
from fastlb.config.effective_http import EffectiveRoute, HeaderOp

if TYPE_CHECKING:
    from fastlb.config.captures import Captures

# The numbers of base/routing.pxd.
PARTS = {
    "client.ip": 2, "client.port": 3, "request.id": 4, "request.host": 5, "request.path": 6,
    "request.method": 7, "request.query": 15, "request.uri": 16, "request.hostname": 17,
}
PART_TEXT, PART_SEGMENT, PART_REST, PART_KEPT_QUERY = 1, 8, 9, 18
PART_ROUTE, PART_NAMED, PART_CAPTURE, PART_HOST_REST = 19, 20, 21, 22
NAMED_PARTS = {"query": 10, "header": 11, "cookie": 12, "tls": 13, "proxy": 14}
EDITS = {"set": 1, "add": 2, "remove": 3}

Parts = Sequence[tuple[int, int, bytes]]       # kind, segment, text
EditSpecs = Sequence[tuple[int, bytes, Parts]]  # what is done, and to which field
_VARIABLE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


class Scope:
    """What the variables of a route's templates mean, or of those that are no route's."""

    def __init__(
        self, route: EffectiveRoute | None = None, names: Sequence[str] = ()
    ) -> None:
        self.route = route
        self.names = names
        self.captures: Captures | None = None       # once a template asks for one

    def part(self, variable: str) -> tuple[int, int, bytes]:
        kind, _, name = variable.partition(".")
        if variable in PARTS:
            return PARTS[variable], 0, b""
        if variable == "route":
            return PART_ROUTE, 0, b""
        if kind in FACTS:
            return NAMED_PARTS[kind], FACTS[kind].index(name), b""
        if variable == "path.rest":
            return PART_REST, 0, b""
        if variable == "host.rest":
            return PART_HOST_REST, len(self.route.host) - 1 if self.route is not None else 0, b""
        if kind == "path":
            return self._path(name)
        return NAMED_PARTS[kind], 0, (name.lower() if kind == "header" else name).encode()

    def _path(self, name: str) -> tuple[int, int, bytes]:
        if self.route is None:
            return PART_NAMED, 0, name.encode()
        if name in self.names:
            return PART_SEGMENT, self.names.index(name), b""
        if self.route.path_regex:
            from fastlb.config.captures import compile_captures  # few configurations need it

            captures = self.captures or compile_captures(self.route.path_regex)
            if name in captures.names:
                self.captures = captures
                return PART_CAPTURE, captures.names[name], b""
        return PART_NAMED, 0, name.encode()     # of a listener: this route has no such thing


def template(text: str, scope: Scope) -> Parts:
    """The parts of "{client.ip} of {path.tenant}"; `{{` and `}}` are braces."""
    parts: list[tuple[int, int, bytes]] = []
    literal = ""
    end = 0
    for found in _VARIABLE.finditer(text):
        literal += text[end : found.start()]
        end = found.end()
        variable = found[1]
        if variable is None:
            literal += found[0][0]
            continue
        if variable == "route" and scope.route is not None:
            literal += scope.route.name
            continue
        if literal:
            parts.append((PART_TEXT, 0, literal.encode()))
            literal = ""
        parts.append(scope.part(variable))
    literal += text[end:]
    if literal:
        parts.append((PART_TEXT, 0, literal.encode()))
    return parts


def compile_edits(
    ops: Sequence[HeaderOp], scope: Scope | None = None
) -> EditSpecs:
    scope = scope or Scope()
    return [(EDITS[op.op], op.name.lower().encode(), template(op.value, scope)) for op in ops]
