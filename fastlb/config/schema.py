"""The JSON schema of a configuration, made from the model."""

from __future__ import annotations

from typing import Any

from fastlb.config.model import Config

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Draft 2020-12. What one value says about another (a pool's name) is beyond a schema, and
    checked by `fastlb check`."""
    made = Config.model_json_schema()
    servers = made["$defs"]["Pool"]["properties"]["servers"]
    address = made["$defs"]["Server"]["properties"]["address"]["anyOf"][0]
    servers["items"] = {"anyOf": [{**address, "title": "Address"}, servers["items"]]}
    made["$defs"]["Server"]["oneOf"] = [{"required": ["address"]}, {"required": ["dns"]}]
    # A key that isn't given is left out: there is no null in TOML.
    _without_null(made)
    return {"$schema": DRAFT, "title": "fastlb configuration", **made}


def _without_null(node: Any) -> None:
    if isinstance(node, dict):
        options = node.get("anyOf")
        if isinstance(options, list) and {"type": "null"} in options:
            options.remove({"type": "null"})
            if len(options) == 1:
                node.update(node.pop("anyOf")[0])
        if node.get("default", ...) is None:
            del node["default"]
        for value in list(node.values()):
            _without_null(value)
    elif isinstance(node, list):
        for item in node:
            _without_null(item)
