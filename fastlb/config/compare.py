"""How routes compare what a request has."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fastlb.config import limits
from fastlb.config.base import Model, Switch, as_list
from fastlb.config.units import show

TEXT = {"type": "string"}
TLS_VERSIONS = ("TLSv1.2", "TLSv1.3")
FINGERPRINT_DIGITS = 64         # of SHA-256


def one_or_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else as_list(value)


def _check_regex(value: str) -> str:
    from fastlb.config.regex import compile_regex

    try:
        compile_regex(value, whole=True)
    except ValueError as error:
        raise ValueError(f"{show(value)}: {error}") from None
    return value


def loose(schema: Any) -> WithJsonSchema:
    return WithJsonSchema(schema)


def _check_texts(values: list[str]) -> list[str]:
    """Values of a list are kept a line each."""
    for value in values:
        if "\n" in value:
            raise ValueError(f"{show(value)} has a line break")
    return values


def _check_regexes(values: list[str]) -> list[str]:
    for value in values:
        _check_regex(value)
    any_of("regex", values)
    return _check_texts(values)


TEXT_OR_LIST = {"anyOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}]}
Regex = Annotated[str, AfterValidator(_check_regex)]
Listed = Annotated[
    list[str], BeforeValidator(one_or_list), Field(min_length=1, max_length=limits.MATCH_VALUES_MAX)
]
# One text, or several of which any will do.
Texts = Annotated[Listed, AfterValidator(_check_texts), loose(TEXT_OR_LIST)]
Regexes = Annotated[Listed, AfterValidator(_check_regexes), loose(TEXT_OR_LIST)]


def any_of(op: str, values: Sequence[str]) -> str:
    """A regular expression for a text that has any of these as its prefix, suffix, or part."""
    from fastlb.config.regex import compile_regex

    begin, end = {"prefix": ("^", ""), "suffix": ("", "$")}.get(op, ("", ""))
    parts = values if op == "regex" else [re.escape(value) for value in values]
    made = f"{begin}(?:{'|'.join(f'(?:{part})' for part in parts)}){end}"
    try:
        compile_regex(made, whole=False)
    except ValueError as error:
        raise ValueError(f"these {len(values)} values together: {error}") from None
    return made


def _compare(value: Any) -> Any:
    """A text, or one of a list, is to be equal to; true is to be there, false not to be there."""
    if isinstance(value, bool):
        return {"present": value}
    if isinstance(value, (list, tuple)):
        return {"one_of": list(value)}
    return {"equals": value} if isinstance(value, str) else value


class Compare(Model):
    """What a value has to be like; exactly one of these. Of a list, any will do."""

    equals: Annotated[str, limits.COMPARE] | None = None
    """The very text."""
    present: Annotated[Switch, limits.COMPARE] | None = None
    """Whether it is there, whatever it is."""
    prefix: Annotated[Texts, limits.COMPARE] | None = None
    """How it begins: a text, or a list of which any will do, as below."""
    suffix: Annotated[Texts, limits.COMPARE] | None = None
    """How it ends."""
    contains: Annotated[Texts, limits.COMPARE] | None = None
    """A part of it."""
    regex: Annotated[Regexes, limits.COMPARE] | None = None
    """A regular expression for a part of it; matched in linear time."""
    one_of: Annotated[Texts, limits.COMPARE] | None = None
    """One of these texts; a list by itself says the same."""


Value = Annotated[
    Compare,
    BeforeValidator(_compare),
    loose({"anyOf": [
        TEXT, {"type": "boolean"}, {"type": "array", "items": TEXT, "minItems": 1},
        {"type": "object"},
    ]}),
]


def _name(value: str) -> str:
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_.-]{1,253}", value):
        raise ValueError(f'{show(value)} is not a host; write it like "example.com" or'
                         ' "*.example.com"')
    return value.lower()


def _version(value: str) -> str:
    if value not in TLS_VERSIONS:
        raise ValueError(f"{show(value)} is not a version. One of: {', '.join(TLS_VERSIONS)}")
    return value


def _subject(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError(
            f"{show(value)}: what isn't printable ASCII is escaped in a subject, as \\C3\\A9 for é"
        )
    return value


def _fingerprint(value: str) -> str:
    """As we write it; OpenSSL has colons and capitals."""
    found = value.replace(":", "").lower()
    if not re.fullmatch(f"[0-9a-f]{{{FINGERPRINT_DIGITS}}}", found):
        raise ValueError(
            f"{show(value)} is not a fingerprint: {FINGERPRINT_DIGITS} hexadecimal digits (SHA-256)"
        )
    return found


def _printable(value: str) -> str:
    if not re.fullmatch("[!-~]+", value):
        raise ValueError(f"{show(value)}: what isn't printable ASCII is written in hexadecimal"
                         " digits, as 6120 for 'a '")
    return value


def destination(value: str) -> tuple[str, int]:
    """The address and the port of "IP:PORT", as the core writes them. ValueError."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})", value)
    try:
        if found is None or int(found[3]) > 65535:
            raise ValueError
        host = ipaddress.ip_address(found[1] or found[2])
        if (host.version == 6) != bool(found[1]):
            raise ValueError
    except ValueError:
        raise ValueError(f'{show(value)} is not an address; write it like "192.0.2.1:443" or'
                         ' "[2001:db8::1]:443"') from None
    family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
    return socket.inet_ntop(family, host.packed), int(found[3])


def _destination(value: str) -> str:
    host, port = destination(value)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# What is to be equal to a fact, in its one form.
WHOLE = {
    "sni": _name, "version": _version, "client_subject": _subject,
    "client_fingerprint": _fingerprint, "authority": _name,
}


def _whole(check: Callable[[str], str]) -> AfterValidator:
    """Texts that are to be equal have one form, and could never fit in another."""

    def checked(value: Compare) -> Compare:
        if value.equals is not None:
            return value.model_copy(update={"equals": check(value.equals)})
        if value.one_of is not None:
            return value.model_copy(update={"one_of": [check(one) for one in value.one_of]})
        return value

    return AfterValidator(checked)


def written_names(value: Compare) -> tuple[str, ...]:
    """Those that a name is to be equal to, or with a star lie below; () of another comparison."""
    if value.equals is not None:
        return (value.equals,)
    return tuple(value.one_of or ())


class Secured(Model):
    """What TLS knows of a client, likewise; a list says what it may be."""

    sni: Annotated[Value, _whole(_name), limits.CONDITION] | None = None
    """The name that it asked for, in lower case; `*.example.com` is all below it."""
    version: Annotated[Value, _whole(_version), limits.CONDITION] | None = None
    """`TLSv1.2` or `TLSv1.3`."""
    client_subject: Annotated[Value, _whole(_subject), limits.CONDITION] | None = None
    """The subject of its certificate, as RFC 4514 writes it: `CN=gateway,O=Example`. Only of one
    that was verified; nobody else has any."""
    client_fingerprint: Annotated[Value, _whole(_fingerprint), limits.CONDITION] | None = None
    """SHA-256 of that certificate (DER), in hexadecimal digits."""
    alpn: Annotated[Value, limits.CONDITION] | None = None
    """Of tcp: a protocol that it offers, or behind `tls://` the one that was chosen."""


class Told(Model):
    """What a trusted proxy told of a client, by the PROXY protocol, likewise."""

    authority: Annotated[Value, _whole(_name), limits.CONDITION] | None = None
    """The name that the client asked the proxy for, in lower case; `*.example.com` is all below
    it."""
    unique_id: Annotated[Value, _whole(_printable), limits.CONDITION] | None = None
    """The connection's id at the proxy; what isn't printable ASCII is in hexadecimal digits."""
    alpn: Annotated[Value, _whole(_printable), limits.CONDITION] | None = None
    """The protocol that was chosen there."""
    vpce: Annotated[Value, _whole(_printable), limits.CONDITION] | None = None
    """AWS: the id of the client's VPC endpoint."""
    dst: Annotated[Value, _whole(_destination), limits.CONDITION] | None = None
    """Where the client connected to: `192.0.2.1:443`, `[2001:db8::1]:443`."""
