"""The meaning of each key: the docstring below its field in the model's source.

It is read when it is asked for: to read all sources at each start would be a sixth of the start.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys

from fastlb.config.base import Model


def meanings(model: type[Model]) -> dict[str, str]:
    """The meaning of each field by its name, inherited fields too; of none where the sources
    aren't installed."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, Model):
            found.update(_in_module(one.__module__).get(one.__name__, {}))
    found.update({name: field.description for name, field in model.model_fields.items()
                  if field.description is not None})
    return found


@functools.cache
def _in_module(name: str) -> dict[str, dict[str, str]]:
    try:
        source = inspect.getsource(sys.modules[name])
    except OSError:
        return {}
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return {node.name: _below_fields(node) for node in classes}


def _below_fields(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = inspect.cleandoc(below.value.value)
    return found
