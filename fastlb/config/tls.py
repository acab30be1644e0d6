"""`tls`: how listeners and pools speak TLS. Files are read once, when they are checked: what was
checked is what is used."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)

from fastlb._core.tables.certificates import AVAILABLE, check_authorities, check_revocations
from fastlb._core.tables.certificates import Certificate as Parsed
from fastlb._core.tables.contexts import check_names
from fastlb.config import limits
from fastlb.config.address import is_host
from fastlb.config.base import Duration, Model, Switch, as_list
from fastlb.config.files import read_file
from fastlb.config.ocsp import good_until
from fastlb.config.units import show, show_ms

Version = Literal["1.2", "1.3"]
# RFC 9325, 4.2: forward secrecy and authenticated encryption alone.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
CIPHER_SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
CURVES = "X25519:P-256:P-384"
TICKET_KEY_BYTES = 80


Seen = tuple[int, ...] | None       # how a file looks from outside; None: it isn't there


class File(str):
    """A path, with what was there when it was read, and how it looked from outside."""

    data: bytes
    seen: Seen

    @classmethod
    def read(cls, path: str) -> File:
        """ValueError says why it can't be, and never what is in it."""
        made = cls(path)
        try:
            made.data, found = read_file(path, limits.PEM_BYTES_MAX)
            made.seen = _seen(found)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ValueError(f"{show(path)} can't be read: {why.lower()}") from None
        if len(made.data) > limits.PEM_BYTES_MAX:
            raise ValueError(f"{show(path)} has more than {limits.PEM_BYTES_MAX} bytes")
        return made

    def looks(self) -> Seen:
        """How it looks now."""
        try:
            return _seen(os.stat(self))
        except OSError:
            return None


def _seen(found: os.stat_result) -> Seen:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _authorities(path: str) -> File:
    return _checked(path, check_authorities)


def _revocations(path: str) -> File:
    return _checked(path, check_revocations)


def _checked(path: str, check: Callable[[bytes], object]) -> File:
    file = File.read(path)
    try:
        check(file.data)
    except ValueError as error:
        raise ValueError(f"{show(path)}: {error}") from None
    return file


def _ticket_key(path: str) -> File:
    file = File.read(path)
    if len(file.data) != TICKET_KEY_BYTES:
        raise ValueError(
            f"{show(path)} has {len(file.data)} bytes, and a key of tickets has"
            f" {TICKET_KEY_BYTES}; make one: openssl rand {TICKET_KEY_BYTES}"
        )
    return file


def _staple(path: str) -> File:
    return _checked(path, good_until)


def _server_name(value: str) -> str:
    if not is_host(value):
        raise ValueError(f'{show(value)} is not a name or an IP address, such as "api.internal"')
    return value


def _ciphers(value: str) -> str:
    # OpenSSL passes over what it doesn't know, as long as it knows anything. What is taken out by
    # "!" or "-", or put in order by "+" or "@", need not be there.
    found = re.split("[:, ]+", value)
    _known([one for one in found if one[:1] not in ("!", "-", "+", "@")], 0)
    return _taken(value, 0)


def _cipher_suites(value: str) -> str:
    _known(value.split(":"), 1)
    return _taken(value, 1)


def _curves(value: str) -> str:
    _known(value.split(":"), 2)
    return _taken(value, 2)


def _known(names: list[str], place: int) -> None:
    for name in filter(None, names):
        if not _is_taken(name, place):
            raise ValueError(f"OpenSSL doesn't know {show(name)}")


def _taken(value: str, place: int) -> str:
    if not _is_taken(value, place):
        raise ValueError(f"OpenSSL doesn't take {show(value)}")
    return value


def _is_taken(value: str, place: int) -> bool:
    given = [b"", b"", b""]
    given[place] = value.encode()
    try:
        check_names(*given)
    except ValueError:
        return False
    return True


def _available(value: Any) -> Any:
    if not AVAILABLE and value is not None and value is not False:
        raise ValueError(
            "this fastlb was built without TLS, as OpenSSL's headers were missing; see"
            " fastlb version -v"
        )
    return value


def _protocols(value: Any) -> Any:
    found = [value] if isinstance(value, str) else as_list(value)
    for name in found:
        if not isinstance(name, str) or not 0 < len(name.encode()) < 256:
            raise ValueError(f"{show(name)} is not the name of a protocol, such as \"http/1.1\"")
    return found


Text = Annotated[str, Field(min_length=1)]
Read = Annotated[Text, AfterValidator(File.read)]
Authorities = Annotated[Text, AfterValidator(_authorities)]
Revocations = Annotated[Text, AfterValidator(_revocations)]
Staple = Annotated[Text, AfterValidator(_staple)]
TicketKey = Annotated[Text, AfterValidator(_ticket_key)]
Protocols = Annotated[
    list[str], BeforeValidator(_protocols),
    WithJsonSchema({"anyOf": [
        {"type": "string"}, {"type": "array", "items": {"type": "string"}},
    ]}),
]


class Certificate(Model):
    """A certificate with its key. Files are PEM."""

    cert: Read
    """The certificate, then those of its issuers up to the root's."""
    key: Annotated[Read, limits.TLS_KEY] | None = None
    """Its private key."""
    password: Annotated[str, Field(min_length=1), limits.TLS_PASSWORD] | None = Field(
        default=None, repr=False
    )
    """Of an encrypted key; write `${file:/path}` or `${env:NAME}`."""
    ocsp: Annotated[Staple, limits.TLS_OCSP] | None = None
    """An OCSP response (DER) that is stapled."""

    _parsed: Parsed = PrivateAttr()

    @model_validator(mode="after")
    def _check(self) -> Certificate:
        self._parsed = self._parse()
        return self

    @property
    def parsed(self) -> Parsed:
        """The certificate and the key as OpenSSL has them."""
        return self._parsed

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate alone, in hex."""
        return self._parsed.fingerprint

    @property
    def files(self) -> tuple[File, File, File | None]:
        """Of the certificate, its key, and its OCSP response."""
        return self.cert, self.key or self.cert, self.ocsp  # type: ignore[return-value]

    def _parse(self) -> Parsed:
        cert, key, _ = self.files
        password = self.password.encode() if self.password is not None else None
        try:
            made = Parsed(cert.data, key.data, password)
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
        list[TicketKey], BeforeValidator(as_list), Field(max_length=3), limits.TLS_TICKET_KEYS
    ] = Field(default_factory=list)
    """Files of 80 bytes that several processes share; the first one makes new tickets, all are
    taken."""
    rotate: Annotated[str, Duration(limits.TLS_ROTATE)] = show_ms(limits.TLS_ROTATE.default)
    """Without files: after how long there is a new key. Those of the last two are taken too."""


class TlsKeys(Model):
    """Keys that listeners and pools have."""

    min_version: Annotated[Version, limits.TLS_MIN_VERSION] = "1.2"
    """The oldest version that is spoken."""
    max_version: Annotated[Version, limits.TLS_MAX_VERSION] = "1.3"
    """The newest one."""
    ciphers: Annotated[Text, AfterValidator(_ciphers), limits.TLS_CIPHERS] = CIPHERS
    """Of TLS 1.2, by OpenSSL's names, between colons."""
    cipher_suites: Annotated[
        Text, AfterValidator(_cipher_suites), limits.TLS_CIPHERS
    ] = CIPHER_SUITES
    """Of TLS 1.3."""
    curves: Annotated[Text, AfterValidator(_curves), limits.TLS_CURVES] = CURVES
    """For the exchange of keys."""
    key_log: Annotated[Text, limits.TLS_KEY_LOG] | None = None
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
    max_handshakes: Annotated[
        int, Field(strict=True, ge=limits.HANDSHAKES.low, le=limits.HANDSHAKES.high),
        limits.HANDSHAKES,
    ] = limits.HANDSHAKES.default
    """Handshakes at a time, exact over all threads; others are closed at once. 0: no limit."""
    max_handshakes_per_source: Annotated[
        int, Field(strict=True, ge=limits.SOURCE_HANDSHAKES.low,
                   le=limits.SOURCE_HANDSHAKES.high), limits.SOURCE_HANDSHAKES,
    ] = limits.SOURCE_HANDSHAKES.default
    """How many handshakes one IPv4 address, or one /64 of IPv6, may have under way; 0: no limit."""
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
        str, AfterValidator(_server_name), limits.TLS_SERVER_NAME
    ] | None = None
    """The name that is asked for, and that certificates have to have."""
    verify: Annotated[Switch, limits.TLS_VERIFY] = limits.TLS_VERIFY.default
    """false: take any certificate. Whoever is on the way can read and change everything."""
    certificate: Annotated[Certificate, limits.TLS_OWN] | None = None
    """The certificate that we show."""
    alpn: Annotated[Protocols, limits.TLS_OFFERED] | None = None
    """The protocols that are offered."""

    @model_validator(mode="after")
    def _check_verified(self) -> ServerTls:
        if not self.verify and (self.ca or self.crl):
            raise ValueError("ca and crl say nothing with verify = false")
        return self


ListenerTls = Annotated[Tls, BeforeValidator(_available)]
PoolTls = Annotated[ServerTls | Switch, BeforeValidator(_available)]


def files_of(tls: Tls | ServerTls | bool | None) -> list[File]:
    """The files that it is made of, which are looked at while it runs."""
    found: list[Any] = []
    if isinstance(tls, Tls):
        for one in tls.certificates:
            found += one.files
        found += [tls.client_ca, tls.client_crl]
        found += tls.tickets.keys if isinstance(tls.tickets, Tickets) else []
    elif isinstance(tls, ServerTls):
        found += tls.certificate.files if tls.certificate is not None else ()
        found += [tls.ca, tls.crl]
    return [file for file in found if file is not None]


def day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
