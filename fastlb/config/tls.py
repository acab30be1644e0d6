"""`tls`: how listeners and pools speak TLS. Files are read once, when they are checked: what was
checked is what is used."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)

from fastlb._core.tables.certificates import H2_AVAILABLE, check_authorities, check_revocations
from fastlb._core.tables.certificates import Certificate as Parsed
from fastlb.config import limits
from fastlb.config.base import Duration, Model, Switch, as_list
from fastlb.config.units import duration_ms, show, show_ms

Version = Literal["1.2", "1.3"]
HTTP_PROTOCOLS = ("h2", "http/1.1") if H2_AVAILABLE else ("http/1.1",)
# RFC 9325, 4.2: forward secrecy and authenticated encryption alone.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
CIPHER_SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
CURVES = "X25519:P-256:P-384"
TICKET_KEY_BYTES = 80


def read(path: str, bytes_max: int = limits.PEM_BYTES_MAX) -> bytes:
    """A file's content; ValueError says why there is none, and never what is in it."""
    try:
        with open(path, "rb") as file:
            data = file.read(bytes_max + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{show(path)} can't be read: {why.lower()}") from None
    if len(data) > bytes_max:
        raise ValueError(f"{show(path)} has more than {bytes_max} bytes")
    return data


def _authorities(path: str) -> str:
    _in_file(path, check_authorities)
    return path


def _revocations(path: str) -> str:
    _in_file(path, check_revocations)
    return path


def _in_file(path: str, check: Any) -> None:
    try:
        check(read(path))
    except ValueError as error:
        said = str(error)
        raise ValueError(said if show(path) in said else f"{show(path)}: {said}") from None


def _protocols(value: Any) -> Any:
    found = [value] if isinstance(value, str) else as_list(value)
    for name in found:
        if not isinstance(name, str) or not 0 < len(name.encode()) < 256:
            raise ValueError(f"{show(name)} is not the name of a protocol, such as \"http/1.1\"")
    return found


Authorities = Annotated[str, AfterValidator(_authorities)]
Revocations = Annotated[str, AfterValidator(_revocations)]
Path = Annotated[str, Field(min_length=1)]
Protocols = Annotated[
    list[str], BeforeValidator(_protocols),
    WithJsonSchema({"anyOf": [
        {"type": "string"}, {"type": "array", "items": {"type": "string"}},
    ]}),
]


class Certificate(Model):
    """A certificate with its key. Files are PEM."""

    cert: Path
    """The certificate, then those of its issuers up to the root's."""
    key: Annotated[Path, limits.TLS_KEY] | None = None
    """Its private key."""
    password: Annotated[str, Field(min_length=1), limits.TLS_PASSWORD] | None = None
    """Of an encrypted key; write `${file:/path}` or `${env:NAME}`."""
    ocsp: Annotated[Path, limits.TLS_OCSP] | None = None
    """An OCSP response (DER) that is stapled."""

    _read: Parsed = PrivateAttr()
    _ocsp: bytes = PrivateAttr(default=b"")

    @model_validator(mode="after")
    def _check(self) -> Certificate:
        self._read = self._load()
        if self.ocsp is not None:
            self._ocsp = read(self.ocsp)
        return self

    def _load(self) -> Parsed:
        cert, key = read(self.cert), read(self.key or self.cert)
        password = self.password.encode() if self.password is not None else None
        try:
            made = Parsed(cert, key, password)
        except ValueError as error:
            said = str(error)
            file = self.key or self.cert if "key" in said else self.cert
            raise ValueError(f"{show(file)}: {said}") from None
        now = time.time()
        if made.not_after < now:
            raise ValueError(f"{show(self.cert)} has expired on {day(made.not_after)}")
        if made.not_before > now:
            raise ValueError(f"{show(self.cert)} is not valid before {day(made.not_before)}")
        return made


class Tickets(Model):
    """What sessions are resumed with (RFC 8446, 2.2; RFC 5077)."""

    keys: Annotated[
        list[Path], BeforeValidator(as_list), Field(max_length=3), limits.TLS_TICKET_KEYS
    ] = Field(default_factory=list)
    """Files of 80 bytes that several processes share; the first one makes new tickets, all are
    taken."""
    rotate: Annotated[str, Duration(limits.TLS_ROTATE)] = show_ms(limits.TLS_ROTATE.default)
    """Without files: after how long there is a new key. Those of the last two are taken too."""

    _keys: tuple[bytes, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _check(self) -> Tickets:
        found = []
        for path in self.keys:
            data = read(path)
            if len(data) != TICKET_KEY_BYTES:
                raise ValueError(
                    f"{show(path)} has {len(data)} bytes, and a key of tickets has"
                    f" {TICKET_KEY_BYTES}; make one: openssl rand {TICKET_KEY_BYTES}"
                )
            found.append(data)
        self._keys = tuple(found)
        return self


class TlsKeys(Model):
    """Keys that listeners and pools have."""

    min_version: Annotated[Version, limits.TLS_MIN_VERSION] = "1.2"
    """The oldest version that is spoken."""
    max_version: Annotated[Version, limits.TLS_MAX_VERSION] = "1.3"
    """The newest one."""
    ciphers: Annotated[str, Field(min_length=1), limits.TLS_CIPHERS] = CIPHERS
    """Of TLS 1.2, by OpenSSL's names, between colons."""
    cipher_suites: Annotated[str, Field(min_length=1), limits.TLS_CIPHERS] = CIPHER_SUITES
    """Of TLS 1.3."""
    curves: Annotated[str, Field(min_length=1), limits.TLS_CURVES] = CURVES
    """For the exchange of keys."""
    key_log: Annotated[Path, limits.TLS_KEY_LOG] | None = None
    """For debugging: a file that the secrets of connections are written to, as SSLKEYLOGFILE."""

    @model_validator(mode="after")
    def _check_versions(self) -> TlsKeys:
        if self.min_version > self.max_version:
            raise ValueError(f"min_version {self.min_version} is above max_version")
        return self


class Tls(TlsKeys):
    """How a listener speaks TLS."""

    certificates: Annotated[
        list[Certificate], BeforeValidator(as_list), Field(min_length=1, max_length=10_000)
    ]
    """One for each set of names, and RSA beside ECDSA; the first is shown to who names nobody."""
    alpn: Annotated[Protocols, limits.TLS_ALPN] | None = None
    """The protocols that a client may choose from, the one we like most first."""
    client_auth: Annotated[
        Literal["none", "optional", "required"], limits.TLS_CLIENT_AUTH
    ] = "none"
    """Whether clients show certificates."""
    client_ca: Annotated[Authorities, limits.TLS_CLIENT_CA] | None = None
    """Whose certificates clients may have (PEM)."""
    client_crl: Annotated[Revocations, limits.TLS_CRL] | None = None
    """Which of them are revoked (PEM)."""
    client_depth: Annotated[int, Field(strict=True, ge=0, le=16), limits.TLS_DEPTH] | None = None
    """How many issuers there may be between a client and an authority."""
    tickets: Annotated[Tickets | Switch, limits.TLS_TICKETS] = True
    """Whether sessions can be resumed."""
    unknown_name: Annotated[Literal["first", "refuse"], limits.TLS_UNKNOWN_NAME] = "first"
    """What becomes of who names a host that no certificate has."""
    handshake_timeout: Annotated[str, Duration(limits.TLS_HANDSHAKE_TIMEOUT)] = show_ms(
        limits.TLS_HANDSHAKE_TIMEOUT.default
    )
    """How long a handshake may take."""

    @model_validator(mode="after")
    def _check_clients(self) -> Tls:
        if self.client_auth != "none" and self.client_ca is None:
            raise ValueError(f'client_auth = "{self.client_auth}" needs a client_ca')
        if self.client_auth == "none" and (self.client_ca or self.client_crl):
            raise ValueError('client_ca and client_crl need client_auth = "required" or "optional"')
        return self


class ServerTls(TlsKeys):
    """How a pool speaks TLS to its servers."""

    ca: Annotated[Authorities, limits.TLS_CA] | None = None
    """Whose certificates servers may have (PEM)."""
    crl: Annotated[Revocations, limits.TLS_CRL] | None = None
    """Which of them are revoked (PEM)."""
    server_name: Annotated[
        str, Field(min_length=1, max_length=255), limits.TLS_SERVER_NAME
    ] | None = None
    """The name that is asked for, and that certificates have to have."""
    verify: Annotated[Switch, limits.TLS_VERIFY] = limits.TLS_VERIFY.default
    """false: take any certificate. Whoever is on the way can read and change everything."""
    certificate: Annotated[Certificate, limits.TLS_OWN] | None = None
    """The certificate that we show."""
    alpn: Annotated[Protocols, limits.TLS_OFFERED] | None = None
    """The protocols that are offered."""


ServerTlsOrNot = ServerTls | Switch


# --- effective ---


@dataclass(frozen=True)
class EffectiveCertificate:
    file: str
    certificate: Parsed
    ocsp: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class EffectiveTickets:
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    rotate_ms: int = limits.TLS_ROTATE.default


@dataclass(frozen=True)
class EffectiveTls:
    certificates: tuple[EffectiveCertificate, ...]
    alpn: tuple[str, ...]
    versions: tuple[str, str]
    ciphers: str
    cipher_suites: str
    curves: str
    key_log: str = ""
    client_auth: str = "none"
    client_ca: bytes = field(default=b"", repr=False)
    client_crl: bytes = field(default=b"", repr=False)
    client_depth: int = -1
    tickets: EffectiveTickets | None = None
    refuses: bool = False
    handshake_timeout_ms: int = limits.TLS_HANDSHAKE_TIMEOUT.default


@dataclass(frozen=True)
class EffectiveServerTls:
    verify: bool
    ca: bytes = field(repr=False)       # empty: the system's
    crl: bytes = field(repr=False)
    server_name: str                    # "": each server's own
    certificate: EffectiveCertificate | None
    alpn: tuple[str, ...]
    versions: tuple[str, str]
    ciphers: str
    cipher_suites: str
    curves: str
    key_log: str = ""


def effective_tls(tls: Tls, mode: str) -> EffectiveTls:
    """`mode`: what is spoken inside, "http" or "tcp"."""
    tickets = Tickets() if tls.tickets is True else tls.tickets
    return EffectiveTls(
        certificates=tuple(_certificate(one) for one in tls.certificates),
        alpn=tuple(tls.alpn if tls.alpn is not None
                   else HTTP_PROTOCOLS if mode == "http" else ()),
        client_auth=tls.client_auth,
        client_ca=read(tls.client_ca) if tls.client_ca else b"",
        client_crl=read(tls.client_crl) if tls.client_crl else b"",
        client_depth=-1 if tls.client_depth is None else tls.client_depth,
        tickets=EffectiveTickets(tickets._keys, duration_ms(tickets.rotate))
        if isinstance(tickets, Tickets) else None,
        refuses=tls.unknown_name == "refuse",
        handshake_timeout_ms=duration_ms(tls.handshake_timeout),
        **_both(tls),
    )


def effective_server_tls(tls: ServerTls | bool | None) -> EffectiveServerTls | None:
    if tls is None or tls is False:
        return None
    tls = ServerTls() if tls is True else tls
    return EffectiveServerTls(
        verify=tls.verify,
        ca=read(tls.ca) if tls.ca else b"",
        crl=read(tls.crl) if tls.crl else b"",
        server_name=tls.server_name or "",
        certificate=_certificate(tls.certificate) if tls.certificate is not None else None,
        alpn=tuple(tls.alpn or ()),
        **_both(tls),
    )


def _both(tls: TlsKeys) -> dict[str, Any]:
    return {
        "versions": (tls.min_version, tls.max_version), "ciphers": tls.ciphers,
        "cipher_suites": tls.cipher_suites, "curves": tls.curves, "key_log": tls.key_log or "",
    }


def _certificate(one: Certificate) -> EffectiveCertificate:
    return EffectiveCertificate(one.cert, one._read, one._ocsp)


def files_of(tls: Tls | ServerTls) -> list[str]:
    """The files that it is made of, which are looked at while it runs."""
    found: list[str | None] = []
    if isinstance(tls, Tls):
        for one in tls.certificates:
            found += [one.cert, one.key, one.ocsp]
        found += [tls.client_ca, tls.client_crl]
        found += tls.tickets.keys if isinstance(tls.tickets, Tickets) else []
    else:
        if tls.certificate is not None:
            found += [tls.certificate.cert, tls.certificate.key]
        found += [tls.ca, tls.crl]
    return [path for path in found if path]


def day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
