"""How routes compare what a request has."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fastlb.config import limits
from fastlb.config.base import Model, Switch, as_list
from fastlb.config.units import show

TEXT = {"type": "string"}
TLS_VERSIONS = ("TLSv1.2", "TLSv1.3")
FINGERPRINT_DIGITS = 64         # of SHA-256


def _compare(value: Any) -> Any:
    """A text is to be equal to, true to be there, false not to be there."""
    if isinstance(value, bool):
        return {"present": value}
    return {"equals": value} if isinstance(value, str) else value


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


Regex = Annotated[str, AfterValidator(_check_regex)]


class Compare(Model):
    """What a value has to be like; exactly one of these."""

    equals: Annotated[str, limits.COMPARE] | None = None
    """The very text."""
    present: Annotated[Switch, limits.COMPARE] | None = None
    """Whether it is there, whatever it is."""
    prefix: Annotated[str, limits.COMPARE] | None = None
    """How it begins."""
    suffix: Annotated[str, limits.COMPARE] | None = None
    """How it ends."""
    contains: Annotated[str, limits.COMPARE] | None = None
    """A part of it."""
    regex: Annotated[Regex, limits.COMPARE] | None = None
    """A regular expression for a part of it; matched in linear time."""


Value = Annotated[
    Compare,
    BeforeValidator(_compare),
    loose({"anyOf": [TEXT, {"type": "boolean"}, {"type": "object"}]}),
]


def _compare_any(value: Any) -> Any:
    """The same, and a list is of texts that it may be."""
    return {"one_of": list(value)} if isinstance(value, (list, tuple)) else _compare(value)


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


class CompareAny(Compare):
    """The same, where a list says what it may be."""

    one_of: Annotated[
        list[str], BeforeValidator(as_list), Field(min_length=1), limits.COMPARE
    ] | None = None
    """One of these; a list by itself says the same."""


AnyValue = Annotated[
    CompareAny,
    BeforeValidator(_compare_any),
    loose({"anyOf": [
        TEXT, {"type": "boolean"}, {"type": "array", "items": TEXT, "minItems": 1},
        {"type": "object"},
    ]}),
]


# What is to be equal to a fact, in its one form.
WHOLE = {
    "sni": _name, "version": _version, "client_subject": _subject,
    "client_fingerprint": _fingerprint, "authority": _name,
}


def _whole(check: Callable[[str], str]) -> AfterValidator:
    """Texts that are to be equal have one form, and could never fit in another."""

    def checked(value: CompareAny) -> CompareAny:
        if value.equals is not None:
            return value.model_copy(update={"equals": check(value.equals)})
        if value.one_of is not None:
            return value.model_copy(update={"one_of": [check(one) for one in value.one_of]})
        return value

    return AfterValidator(checked)


def written_names(value: CompareAny) -> tuple[str, ...]:
    """Those that a name is to be equal to, or with a star lie below; () of another comparison."""
    if value.equals is not None:
        return (value.equals,)
    return tuple(value.one_of or ())


class Secured(Model):
    """What TLS knows of a client, likewise; a list says what it may be."""

    sni: Annotated[AnyValue, _whole(_name), limits.CONDITION] | None = None
    """The name that it asked for, in lower case; `*.example.com` is all below it."""
    version: Annotated[AnyValue, _whole(_version), limits.CONDITION] | None = None
    """`TLSv1.2` or `TLSv1.3`."""
    client_subject: Annotated[AnyValue, _whole(_subject), limits.CONDITION] | None = None
    """The subject of its certificate, as RFC 4514 writes it: `CN=gateway,O=Example`. Only of one
    that was verified; nobody else has any."""
    client_fingerprint: Annotated[AnyValue, _whole(_fingerprint), limits.CONDITION] | None = None
    """SHA-256 of that certificate (DER), in hexadecimal digits."""
    alpn: Annotated[AnyValue, limits.CONDITION] | None = None
    """Of tcp: a protocol that it offers, or behind `tls://` the one that was chosen."""


class Told(Model):
    """What a trusted proxy told of a client, by the PROXY protocol, likewise."""

    authority: Annotated[AnyValue, _whole(_name), limits.CONDITION] | None = None
    """The name that the client asked the proxy for, in lower case; `*.example.com` is all below
    it."""
    unique_id: Annotated[AnyValue, _whole(_printable), limits.CONDITION] | None = None
    """The connection's id at the proxy; what isn't printable ASCII is in hexadecimal digits."""
    alpn: Annotated[AnyValue, _whole(_printable), limits.CONDITION] | None = None
    """The protocol that was chosen there."""
    vpce: Annotated[AnyValue, _whole(_printable), limits.CONDITION] | None = None
    """AWS: the id of the client's VPC endpoint."""
    dst: Annotated[AnyValue, _whole(_destination), limits.CONDITION] | None = None
    """Where the client connected to: `192.0.2.1:443`, `[2001:db8::1]:443`."""
