"""The JSON schema of a configuration, made from the model."""

from __future__ import annotations

from typing import Any

from fastlb.config import limits
from fastlb.config.base import Model
from fastlb.config.effects import EFFECTS, shown_for
from fastlb.config.hints import NAME
from fastlb.config.meanings import meanings
from fastlb.config.model import Config

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "A configuration of fastlb"
VARIABLE = r"\$\{(env:[^}]+|file:[^}]+)\}"


def schema() -> dict[str, Any]:
    """Draft 2020-12. What one value says about another (a pool's name) is beyond a schema, and
    checked by `fastlb check`."""
    made = Config.model_json_schema()
    servers = made["$defs"]["Pool"]["properties"]["servers"]
    address = made["$defs"]["Server"]["properties"]["address"]["anyOf"][0]
    servers["items"] = {"anyOf": [{**address}, servers["items"]]}
    made["$defs"]["Server"]["oneOf"] = [{"required": ["address"]}, {"required": ["dns"]}]
    # hash_on belongs to a hash, and the policy is round_robin where it isn't said.
    made["$defs"]["Pool"]["dependentSchemas"] = {
        "hash_on": {
            "required": ["balance"],
            "properties": {"balance": {"not": {"const": limits.BALANCE.default}}},
        }
    }
    made["$defs"]["Listener"]["anyOf"] = [{"required": ["pool"]}, {"required": ["routes"]}]
    names = {"pattern": NAME, "maxLength": limits.NAME_MAX}
    for section in ("listeners", "pools"):
        made["properties"][section]["propertyNames"] = names
    # Of a file, as `fastlb check` wants it; in Python a pool can be filled while running.
    made["required"] = ["listeners", "pools"]
    made["properties"]["listeners"]["minProperties"] = 1
    made["$defs"]["Pool"]["required"] = ["servers"]
    servers["minItems"] = 1
    _say_meanings({**made["$defs"], Config.__name__: made})
    _say_what_for(made["$defs"])
    _tidy(made)
    return {"$schema": DRAFT, **made, "title": TITLE}


def _say_meanings(tables: dict[str, Any]) -> None:
    models = list(Model.__subclasses__())
    for model in models:
        models += model.__subclasses__()
        properties = tables.get(model.__name__, {}).get("properties", {})
        meaning = meanings(model)
        for name, field in model.model_fields.items():
            key = field.alias or name
            if key in properties and name in meaning:
                properties[key]["description"] = meaning[name]


def _say_what_for(tables: dict[str, Any]) -> None:
    for model in EFFECTS:
        for name, key in tables.get(model.__name__, {}).get("properties", {}).items():
            only = shown_for(model, name)
            if only:
                key["description"] = f"For {only}. {key['description']}"


def _tidy(node: Any) -> None:
    """Without the null that TOML hasn't got, and titles that only repeat a key; with variables."""
    if isinstance(node, list):
        for item in node:
            _tidy(item)
    if not isinstance(node, dict):
        return
    options = node.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        options.remove({"type": "null"})
        if len(options) == 1:
            node.update(node.pop("anyOf")[0])
    if node.get("default", ...) is None:
        del node["default"]
    for key, value in list(node.items()):
        if key == "properties":
            for named in value.values():
                named.pop("title", None)
        _tidy(value)
    if "pattern" in node and node.get("type") == "string":
        node["pattern"] = f"{node['pattern']}|{VARIABLE}"
    if "enum" in node and node.get("type") == "string":
        choices = {"enum": node.pop("enum"), "type": node.pop("type")}
        node["anyOf"] = [choices, {"type": "string", "pattern": VARIABLE}]
