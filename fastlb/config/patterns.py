"""What routes are written in: paths, hosts, templates and keys, each with what is wrong with it."""

from __future__ import annotations

import re

from fastlb.config import limits
from fastlb.config.units import show

TOKEN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"            # RFC 9110, 5.6.2
SEGMENT_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
HOST = r"^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$"
PATH = r"^/\S*$"
TLS_FACTS = ("sni", "version", "client_subject", "client_fingerprint")
TLS_KEYS = tuple(f"tls.{fact}" for fact in TLS_FACTS)
PROXY_FACTS = ("authority", "unique_id", "alpn", "vpce", "dst")
PROXY_KEYS = tuple(f"proxy.{fact}" for fact in PROXY_FACTS)
MQTT_KEYS = ("mqtt.client_id", "mqtt.username")
_FACT = rf"tls\.({'|'.join(TLS_FACTS)})|proxy\.({'|'.join(PROXY_FACTS)})"
REQUEST_KEY = rf"^({_FACT}|(path|query|header|cookie)\.[A-Za-z0-9_-]+)$"
KEY = (
    rf"^(client\.(ip|address)|{_FACT}|mqtt\.(client_id|username)"
    r"|(path|query|header|cookie)\.[A-Za-z0-9_-]+)$"
)
_VARIABLE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
PLAIN_VARIABLES = (
    "client.ip", "client.port", "request.id", "request.host", "request.hostname", "request.path",
    "request.query", "request.uri", "request.method", "route", "path.rest", "host.rest",
    *TLS_KEYS,
    *PROXY_KEYS,
)
KINDS = ("path", "query", "header", "cookie")
# Framing and the connection are ours; a host is rewritten by `rewrite`.
OURS = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "upgrade", "keep-alive", "te",
        "trailer", "proxy-connection",
    }
)


def check_path(path: str) -> list[str]:
    """The names of a pattern's segments. ValueError says what is wrong with it."""
    if not re.fullmatch(PATH, path):
        raise ValueError(f'{show(path)} is not a path; write it like "/docs/{{id}}/*"')
    if "?" in path or "#" in path:
        raise ValueError(f"{show(path)}: a path has no query; write match.query")
    segments = path[1:].split("/")
    if len(segments) > limits.SEGMENTS_MAX:
        raise ValueError(f"{show(path)} has more than {limits.SEGMENTS_MAX} segments")
    names = []
    for i, segment in enumerate(segments):
        if segment == "*" and i == len(segments) - 1:
            continue
        found = re.fullmatch(rf"\{{({SEGMENT_NAME})\}}", segment)
        if found:
            names.append(found[1])
        elif "*" in segment:
            raise ValueError(f'{show(path)}: "*" stands alone at the end, as in "/docs/*"')
        elif "{" in segment or "}" in segment:
            raise ValueError(f"{show(path)}: {show(segment)} is not a named segment like {{id}}")
        elif segment in (".", ".."):
            raise ValueError(f"{show(path)}: requests never have the segment {show(segment)}")
    if len(set(names)) < len(names):
        raise ValueError(f"{show(path)} names a segment twice")
    return names


def check_host(host: str) -> str:
    """In lower case. ValueError says what is wrong with it."""
    # (labels and names as RFC 1035, 2.3.4, has them)
    if not re.fullmatch(HOST, host) or ".." in host or len(host) > 253 or any(
            len(label) > 63 for label in host.split(".")):
        raise ValueError(f'{show(host)} is not a host; write it like "example.com" or'
                         ' "*.example.com", without a port')
    return host.lower()


def variables(template: str) -> list[str]:
    """The variables of a template. ValueError says what is wrong with it."""
    found = []
    for match in _VARIABLE.finditer(template):
        name = match[1]
        if match[0] in ("{{", "}}"):
            continue
        if name is None:
            raise ValueError(f"{show(template)} has a single brace; write {{{{ or }}}} for one")
        kind, dot, rest = name.partition(".")
        if name not in PLAIN_VARIABLES and not (
                kind in KINDS and dot and re.fullmatch("[A-Za-z0-9_-]+", rest)):
            valid = [*PLAIN_VARIABLES, *(f"{kind}.NAME" for kind in KINDS)]
            raise ValueError(f"{show(template)}: {show(name)} is not a variable. One of: "
                             + ", ".join(valid))
        found.append(name)
    if any(ord(c) < 32 or ord(c) == 127 for c in template):
        raise ValueError(f"{show(template)} has a control character")
    return found


def check_template(template: str) -> str:
    variables(template)
    return template


def check_field_name(name: str) -> str:
    if not re.fullmatch(TOKEN, name):
        raise ValueError(f"{show(name)} is not the name of a header field")
    return name.lower()


def check_edited_name(name: str) -> str:
    # (to servers that make dashes of underscores it is the same field, and to us when we edit)
    if check_field_name(name).replace("_", "-") in OURS:
        how = "; write rewrite.host" if name.lower() == "host" else ""
        raise ValueError(f"{show(name)} is not for routes to change{how}")
    return name.lower()


def segment_names(texts: list[str]) -> set[str]:
    """The segments that keys and templates speak of."""
    found = set()
    for text in texts:
        names = [text] if re.fullmatch(KEY, text) else variables(text)
        found |= {n.removeprefix("path.") for n in names if n.startswith("path.")}
    return found - {"rest"}
