"""How listeners and pools speak TLS in the end, with what was in the files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastlb._core.tables.certificates import H2_AVAILABLE
from fastlb._core.tables.certificates import Certificate as Parsed
from fastlb.config import limits
from fastlb.config.tls import Certificate, File, ServerTls, Tickets, Tls, TlsKeys
from fastlb.config.units import duration_ms

# (clients that offer http/1.0 alone are refused where it isn't taken: RFC 7301, 3.2)
HTTP_PROTOCOLS = ("h2", "http/1.1", "http/1.0") if H2_AVAILABLE else ("http/1.1", "http/1.0")


@dataclass(frozen=True)
class EffectiveCertificate:
    file: str
    certificate: Parsed
    ocsp: bytes = field(default=b"", repr=False)
    # As it was read: the certificate's file, its key's, and the key's password. (Equal keys follow
    # from equal certificates.)
    pem: tuple[bytes, bytes, str | None] = field(
        default=(b"", b"", None), repr=False, compare=False
    )


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
    handshakes_max: int = 0             # at a time; 0: no limit
    source_handshakes_max: int = 0      # the same of one source
    handshake_timeout_ms: int = limits.TLS_HANDSHAKE_TIMEOUT.default
    origins: dict[str, str] = field(default_factory=dict, compare=False)


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
    origins: dict[str, str] = field(default_factory=dict, compare=False)


def effective_tls(tls: Tls, mode: str) -> EffectiveTls:
    """`mode`: what is spoken inside, "http" or "tcp"."""
    tickets = Tickets() if tls.tickets is True else tls.tickets
    return EffectiveTls(
        certificates=tuple(_certificate(one) for one in tls.certificates),
        alpn=tuple(tls.alpn if tls.alpn is not None
                   else HTTP_PROTOCOLS if mode == "http" else ()),
        client_auth=tls.client_auth,
        client_ca=_data(tls.client_ca),
        client_crl=_data(tls.client_crl),
        client_depth=-1 if tls.client_depth is None else tls.client_depth,
        tickets=EffectiveTickets(tuple(map(_data, tickets.keys)), duration_ms(tickets.rotate))
        if isinstance(tickets, Tickets) else None,
        refuses=tls.unknown_name == "refuse",
        handshakes_max=tls.max_handshakes,
        source_handshakes_max=tls.max_handshakes_per_source,
        handshake_timeout_ms=duration_ms(tls.handshake_timeout),
        origins=_origins(tls, "listener"),
        **_both(tls),
    )


def effective_server_tls(
    tls: ServerTls | bool | None, protocol: str = "http/1.1",
) -> EffectiveServerTls | None:
    if tls is None or tls is False:
        return None
    tls = ServerTls() if tls is True else tls
    return EffectiveServerTls(
        verify=tls.verify,
        ca=_data(tls.ca),
        crl=_data(tls.crl),
        server_name=tls.server_name or "",
        certificate=_certificate(tls.certificate) if tls.certificate is not None else None,
        alpn=tuple(tls.alpn or (("h2",) if protocol == "h2" else ())),
        origins=_origins(tls, "pool"),
        **_both(tls),
    )


def _origins(tls: TlsKeys, own: str) -> dict[str, str]:
    given = tls.model_fields_set
    return {key: own if key in given else "built in" for key in type(tls).model_fields}


def _data(file: str | None) -> bytes:
    return file.data if isinstance(file, File) else b""


def _both(tls: TlsKeys) -> dict[str, Any]:
    return {
        "versions": (tls.min_version, tls.max_version), "ciphers": tls.ciphers,
        "cipher_suites": tls.cipher_suites, "curves": tls.curves, "key_log": tls.key_log or "",
    }


def _certificate(one: Certificate) -> EffectiveCertificate:
    cert, key, ocsp = one.files
    return EffectiveCertificate(
        str(cert), one.parsed, _data(ocsp), (cert.data, key.data, one.password)
    )
