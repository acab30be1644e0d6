"""What routes are written in: paths, hosts, templates and keys, each with what is wrong with it."""

from __future__ import annotations

import re

from fastlb._core.facts.registry import FACTS, OTHERS, FactInfo
from fastlb.config import limits
from fastlb.config.units import show

TOKEN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"            # RFC 9110, 5.6.2
SEGMENT_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
HOST = r"^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$"
PATH = r"^/\S*$"


def _of(kind: str) -> tuple[str, ...]:
    return tuple(name.removeprefix(kind) for name in FACTS if name.startswith(kind))


TLS_FACTS = tuple(fact for fact in _of("tls.") if fact != "alpn")
PROXY_FACTS = _of("proxy.")
# Facts by what they can be used for; those of NAMED need a name behind a dot.
NAMED = tuple(name for name, fact in FACTS.items() if fact.is_named)
PLAIN_KEYS = tuple(
    name for name, fact in FACTS.items()
    if not (fact.is_named or fact.in_templates or fact.in_match))
REQUEST_KEYS = tuple(name for name in PLAIN_KEYS if not FACTS[name].in_bytes)
PLAIN_VARIABLES = tuple(
    name for name, fact in FACTS.items() if not (fact.is_named or fact.in_match or fact.in_bytes))
# Those that have registered beside the built-in ones; by what stands before their dots.
OTHER_FACTS = tuple(
    name for name, fact in FACTS.items() if fact.number >= OTHERS and not fact.is_named)
OTHER_KINDS: dict[str, list[str]] = {}
for _kind, _, _name in (fact.partition(".") for fact in OTHER_FACTS):
    OTHER_KINDS.setdefault(_kind, []).append(_name)
FACT_NAME = "[A-Za-z0-9_-]+"
_NAMED_KEY = rf"({'|'.join(NAMED)})\.{FACT_NAME}"


def _one_of(names: tuple[str, ...]) -> str:
    return rf"^({'|'.join(map(re.escape, names))}|{_NAMED_KEY})$"


REQUEST_KEY = _one_of(REQUEST_KEYS)
KEY = _one_of(PLAIN_KEYS)
_VARIABLE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
# Framing and the connection are ours; a host is rewritten by `rewrite`.
OURS = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "upgrade", "keep-alive", "te",
        "trailer", "proxy-connection",
    }
)


def listed(names: tuple[str, ...]) -> str:
    """These facts and those that have names, for an error."""
    return ", ".join((*names, *(f"{kind}.NAME" for kind in NAMED)))


def fact_of(key: str) -> FactInfo | None:
    """What is known of a fact by its name; None: there is no such fact."""
    found = FACTS.get(key)
    if found is None:
        kind, dot, _ = key.partition(".")
        found = FACTS.get(kind) if dot else None
        return found if found is not None and found.is_named else None
    return found if not found.is_named else None


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
        if name not in PLAIN_VARIABLES and not re.fullmatch(_NAMED_KEY, name):
            raise ValueError(f"{show(template)}: {show(name)} is not a variable. One of: "
                             + listed(PLAIN_VARIABLES))
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
